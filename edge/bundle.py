"""Bundles: a folder that holds a model and everything the device must know about it.

`convert.package` writes them, this module reads them, and nothing about a model is known
anywhere else. The face detectors are bundles too. A bundle is refused, with the reason, when
its manifest has unknown or missing keys, was written for a newer schema, or when a file's
sha256 is not the manifest's; and, where a key is given, when `edge.signature` does not find it
signed by that key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.coherence import check_detector, check_stream
from edge.errors import BundleError
from edge.files import read_at_most
from edge.signature import PublicKey

SCHEMA = "mien-bundle/1"
MANIFEST = "manifest.json"

MOST_MANIFEST_BYTES = 1_000_000
MOST_BYTES = 256_000_000
"""Of a manifest, and of every other file: what is larger would not run on a small computer."""

# `$` alone is satisfied before a line end too.
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
BundleName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*(?!\n)$", max_length=64)]
Words = Annotated[str, msgspec.Meta(pattern=r"^[^\u0000-\u001f\u007f]+(?!\n)$", max_length=64)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
# Beyond these, arithmetic in single precision overflows or a device would not keep up.
Mean = Annotated[float, msgspec.Meta(ge=-10_000.0, le=10_000.0)]
Spread = Annotated[float, msgspec.Meta(ge=0.001, le=10_000.0)]
Temperature = Annotated[float, msgspec.Meta(ge=0.01, le=100.0)]
StepHz = Annotated[float, msgspec.Meta(ge=0.1, le=240.0)]
ResetAfter = Annotated[float, msgspec.Meta(gt=0.0, le=60.0)]
FaceLength = Annotated[float, msgspec.Meta(ge=0.01, le=10.0)]
AnchorScale = Annotated[float, msgspec.Meta(ge=1.0, le=100_000.0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manner of every manifest struct."""


class TensorSpec(_Strict, frozen=True):
    """One input or output: `real = scale * (stored - zero_point)`; floats have no scale."""

    name: str
    role: Literal["image", "face", "embedding", "state", "logits", "boxes", "scores"]
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    dtype: Literal["int8", "int16", "float32"]
    scale: Positive | None = None
    zero_point: int = 0


class ModelFile(_Strict, frozen=True):
    """A .tflite file and its signature."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+\.tflite(?!\n)$")]
    sha256: Sha256
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class DataFile(_Strict, frozen=True):
    """A file that is not a model, such as the golden vectors."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+(?!\n)$")]
    sha256: Sha256


class StatePair(_Strict, frozen=True):
    """An output that is fed back as an input at the next step, bit for bit."""

    input: str
    output: str


class CropSpec(_Strict, frozen=True):
    """How a face is framed: see `edge.crop`. Lengths are fractions of the tile's side."""

    centre_line: Share
    face_length: FaceLength


class FaceInput(_Strict, frozen=True):
    """What the expression network is shown: `(pixel - mean) / std`, pixels in 0..255."""

    size: Annotated[int, msgspec.Meta(ge=8, le=512)]
    colour: Literal["luma"]
    mean: Mean
    std: Spread
    crop: CropSpec


class ImageInput(_Strict, frozen=True):
    """What a face detector is shown: the whole frame, letterboxed to a square."""

    size: Annotated[int, msgspec.Meta(ge=8, le=1024)]
    colour: Literal["rgb"]
    mean: Mean
    std: Spread


class CalibrationMeasured(_Strict, frozen=True):
    """What a calibration is founded on: so many `steps` of composed `streams` of validation stills.

    `ece` is the calibration error with each of `folds` judged by the temperature of the others,
    `ece_interval` its 95 % interval; `ece_fitted` is that with the one fitted on the same steps,
    `ece_before` with none. `curve` has (threshold, share of steps answered, accuracy of those).
    """

    folds: Annotated[int, msgspec.Meta(ge=1)]
    streams: Annotated[int, msgspec.Meta(ge=1)]
    steps: Annotated[int, msgspec.Meta(ge=1)]
    ece_before: Share
    ece_fitted: Share
    ece: Share
    ece_interval: tuple[Share, Share]
    curve: tuple[tuple[Share, Share, Share], ...]


class Calibration(_Strict, frozen=True):
    """`softmax(logits / temperature)`; an answer below `abstain_below` is `unsure`."""

    temperature: Temperature
    abstain_below: Share
    measured: CalibrationMeasured | None = None


class AnchorLayer(_Strict, frozen=True):
    """`per_cell` square anchors at the centre of each cell of a `cells` x `cells` grid."""

    cells: Annotated[int, msgspec.Meta(ge=1)]
    per_cell: Annotated[int, msgspec.Meta(ge=1)]


class Anchors(_Strict, frozen=True):
    """How raw boxes become boxes: offsets are in pixels of the input, divided by `scale`."""

    layers: tuple[AnchorLayer, ...]
    scale: AnchorScale


class Thresholds(_Strict, frozen=True):
    """Where the detector's answers are cut: a face's score, and overlap in suppression."""

    score: Share
    overlap: Share


class Metrics(_Strict, frozen=True):
    """How well the model does: accuracies are shares, intervals are 95 %."""

    data: str
    split: str
    n: Annotated[int, msgspec.Meta(ge=1)]
    float_accuracy: Share
    int8_accuracy: Share
    int8_accuracy_interval: tuple[Share, Share]
    macro_f1: Share
    ece: Share
    per_class_recall: dict[str, Share]


class Parity(_Strict, frozen=True):
    """How far the files' answers are from the float networks', as measured by `convert.parity`.

    `gates` has each figure that could have refused the bundle; `allowed` those bars that were
    lowered for it, by name.
    """

    split: str
    gates: dict[str, float]
    mean_logit_difference: float
    max_logit_difference: float
    kl_divergence: float
    allowed: dict[str, float] = {}


class Unmapped(_Strict, frozen=True):
    """An operator the Edge TPU would leave to the CPU, and why."""

    operator: str
    reason: str


class EdgeTpu(_Strict, frozen=True):
    """Whether the Edge TPU can run the frame model whole."""

    mappable: bool
    unmapped: tuple[Unmapped, ...] = ()


class Provenance(_Strict, frozen=True):
    """Where the weights come from."""

    framework: str
    source_sha256: dict[str, Sha256]
    toolchain: dict[str, str]
    training: dict[str, str | int | float | bool]
    licence: str
    origin: str


class StreamManifest(_Strict, frozen=True, tag_field="kind", tag="stream"):
    """A frame model with a recurrent head that steps at `step_hz`."""

    schema: Literal["mien-bundle/1"]
    name: BundleName
    version: Words
    created: str
    labels: Annotated[tuple[Words, ...], msgspec.Meta(min_length=2)]
    input: FaceInput
    frame: ModelFile
    head: ModelFile
    golden: DataFile
    states: Annotated[tuple[StatePair, ...], msgspec.Meta(min_length=1)]
    step_hz: StepHz
    reset_after_s: ResetAfter
    calibration: Calibration
    provenance: Provenance
    metrics: Metrics | None = None
    parity: Parity | None = None
    edgetpu: EdgeTpu | None = None


class DetectorManifest(_Strict, frozen=True, tag_field="kind", tag="detector"):
    """A BlazeFace-like single-shot face detector with six keypoints."""

    schema: Literal["mien-bundle/1"]
    name: BundleName
    version: Words
    created: str
    input: ImageInput
    frame: ModelFile
    anchors: Anchors
    thresholds: Thresholds
    provenance: Provenance


Manifest = StreamManifest | DetectorManifest


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and verified: its folder, its manifest, its manifest's sha256."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def ident(self) -> str:
        """Name, version and the first twelve digits of the manifest's sha256."""
        return f"{self.manifest.name}@{self.manifest.version}+{self.sha256[:12]}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The expressions it tells apart; a detector none."""
        manifest = self.manifest
        return () if isinstance(manifest, DetectorManifest) else manifest.labels

    def read(self, entry: ModelFile | DataFile) -> bytes:
        """Return the bytes of one of the bundle's files.

        Raises
        ------
        BundleError
            The file is missing or is not the one the manifest names.
        """
        return _verified(self.path / entry.file, entry.sha256)


def locate(name_or_path: str) -> Path:
    """Return the folder of a bundle: a path as it is, a bare name among the shipped ones.

    Raises
    ------
    BundleError
        It cannot be the name of a folder.
    """
    try:
        if "/" in name_or_path or Path(name_or_path).is_dir():
            return Path(name_or_path).expanduser()
    except (OSError, RuntimeError) as exc:
        # A name that is too long; the home of somebody who does not exist.
        raise BundleError(
            f"bundle {name_or_path}: no such folder ({exc}); give the folder of a bundle"
        ) from exc
    return Path(str(resources.files("edge") / "bundles" / name_or_path))


def shipped() -> list[str]:
    """Names of the bundles that came with the package."""
    root = Path(str(resources.files("edge") / "bundles"))
    return sorted(path.parent.name for path in root.glob(f"*/{MANIFEST}"))


def load(name_or_path: str, *, key: PublicKey | None = None, sha256: str | None = None) -> Bundle:
    """Read a bundle and verify every file its manifest names.

    Parameters
    ----------
    name_or_path
        As `locate` takes it.
    key
        Whose signature the bundle must carry; without one, none is looked for.
    sha256
        Of its manifest, where it must be one that was read before.

    Raises
    ------
    BundleError
        Anything missing, altered, unknown, newer than this program, or not signed by `key`.
    """
    path = locate(name_or_path)
    file = path / MANIFEST
    try:
        raw = read_at_most(file, MOST_MANIFEST_BYTES)
    except FileNotFoundError:
        have = ", ".join(shipped())
        raise BundleError(
            f"bundle {name_or_path}: no {MANIFEST} in {path}; give the folder of a bundle, "
            f"or the name of a shipped one ({have})"
        ) from None
    except OSError as exc:
        raise BundleError(f"bundle {name_or_path}: cannot read {file}: {exc.strerror}") from exc
    if key is not None:
        key.verify(raw, path)
    found = hashlib.sha256(raw).hexdigest()
    if sha256 not in (None, found):
        raise BundleError(f"bundle {name_or_path}: is another one by now; try again")
    manifest = parse_manifest(raw, source=str(file))
    bundle = Bundle(path, manifest, found)
    for entry in files_of(manifest):
        bundle.read(entry)
    return bundle


def load_stream(
    name_or_path: str, *, key: PublicKey | None = None
) -> tuple[Bundle, StreamManifest]:
    """`load`, refusing all but a bundle of `kind: stream`."""
    bundle = load(name_or_path, key=key)
    if not isinstance(bundle.manifest, StreamManifest):
        raise BundleError(
            f"bundle {name_or_path}: it is a face detector; name an expression bundle "
            "(kind: stream) as [emotion] bundle"
        )
    return bundle, bundle.manifest


def load_detector(
    name_or_path: str, *, key: PublicKey | None = None
) -> tuple[Bundle, DetectorManifest]:
    """`load`, refusing all but a bundle of `kind: detector`."""
    bundle = load(name_or_path, key=key)
    if not isinstance(bundle.manifest, DetectorManifest):
        raise BundleError(
            f"bundle {name_or_path}: it is an expression model; name a face detector "
            "(kind: detector) as [detector] bundle"
        )
    return bundle, bundle.manifest


def files_of(manifest: Manifest) -> tuple[ModelFile | DataFile, ...]:
    """Return every file a manifest names."""
    if isinstance(manifest, StreamManifest):
        return (manifest.frame, manifest.head, manifest.golden)
    return (manifest.frame,)


def parse_manifest(raw: bytes, *, source: str) -> Manifest:
    """Validate the text of a manifest.

    Parameters
    ----------
    raw
        The file's bytes.
    source
        How the file is named in an error.

    Raises
    ------
    BundleError
        Not JSON, another schema, unknown or missing keys, or parts that contradict each other.
    """
    try:
        # Decoded first: msgspec reports bytes that are no UTF-8 only where it looks at them.
        text = raw.decode()
        schema = msgspec.json.decode(text, type=_Versioned).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BundleError(f"{source}: not a bundle manifest: {exc}; package it again") from exc
    if schema != SCHEMA:
        raise BundleError(
            f"{source}: schema is {schema!r}, this program reads {SCHEMA!r}; "
            "update mien, or package the bundle again with the mien that is installed"
        )
    try:
        manifest: Manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.ValidationError as exc:
        raise BundleError(
            f"{source}: {exc}; package the bundle again rather than editing it"
        ) from exc
    if isinstance(manifest, StreamManifest):
        check_stream(manifest, source)
    else:
        check_detector(manifest, source)
    return manifest


class _Versioned(msgspec.Struct):
    """Just enough of a manifest to know who can read it."""

    schema: str


def _verified(path: Path, sha256: str) -> bytes:
    try:
        data = read_at_most(path, MOST_BYTES)
    except OSError as exc:
        raise BundleError(
            f"{path}: {exc.strerror}, and the manifest needs it; copy the whole bundle again"
        ) from exc
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BundleError(
            f"{path}: sha256 is {found[:12]}…, the manifest says {sha256[:12]}…; "
            "the file was altered or cut short: copy the whole bundle again"
        )
    return data
