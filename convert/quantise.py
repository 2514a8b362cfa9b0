"""Trained networks become the integer files that the device runs, or a reason why not."""

from __future__ import annotations

import importlib.metadata
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from convert import head as heads
from convert import interface, parity, streams, tflite
from convert.child import worked
from convert.converter import FLOATING, QUANTISED, Inputs, Precision, Request
from convert.data import Data, normalise, spread
from convert.errors import ConversionError
from convert.finetune import FinetuneSettings, finetune
from convert.gates import Allowed, ParityRecord
from convert.interface import Interface
from convert.parity import Converted
from convert.run import Quantised, record_bytes, sha256_of, write_together, write_whole
from convert.streams import LEARNING
from convert.train import load_network
from edge.bundle import ModelFile
from edge.datatypes import Float32Array, UInt8Array

CALIBRATION_TILES = 500
CALIBRATION_STREAMS = 30
LIMIT_S = 600.0

_TOOLCHAIN = ("tensorflow", "keras", "numpy", "ai-edge-litert")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseSettings:
    """How networks are quantised and what they are held to.

    Attributes
    ----------
    head_precision : str
        The frame model is always int8.
    percentile : float or None
        How much of each tensor's values its range holds; see `convert.converter.Request`.
    finetune_epochs : int
        How long to train the frame model for its quantised arithmetic before; see
        `convert.finetune`.
    limit_s : float
        How long one conversion may take, in seconds.
    allowed : dict
        Gates whose bar is lowered; see `convert.gates`.
    """

    head_precision: Precision = "int16x8"
    percentile: float | None = None
    finetune_epochs: int = 0
    limit_s: float = LIMIT_S
    allowed: Allowed = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What `quantise` leaves: its record and what the parity gates measured."""

    record: Quantised
    parity: ParityRecord

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The files, as a manifest states them."""
        return tuple(each for each in (self.record.frame, self.record.head) if each is not None)


def quantise(
    run: Path,
    faces: Data,
    settings: QuantiseSettings = QuantiseSettings(),  # frozen
    *,
    calibration: UInt8Array | None = None,
) -> Made:
    """Quantise the networks of a run folder, and hold the files against them.

    Leaves `frame.tflite`, `head.tflite` if there is a head, `quantised.json` and `parity.json`;
    after a failure nothing is there that was not before.

    Parameters
    ----------
    run
        With `frame.keras`, and `head.keras` if it has a head.
    faces
        Labelled tiles of the networks' size and labels. `train` says which values occur, `val`
        is what the answers are compared on.
    settings
        How.
    calibration
        Typical tiles in place of those of `train`, uint8 [n, size, size].

    Raises
    ------
    RunError
        A network is missing or damaged.
    ConversionError
        The converter crashed or hung, or what it wrote is not what the device needs.
    ParityError
        The files answer otherwise than the networks.
    """
    taken = interface.read(run)
    stems = [stem for stem in ("frame", "head") if stem == "frame" or _has_head(run)]
    networks = {stem: load_network(run / f"{stem}.keras") for stem in stems}
    if calibration is None:
        tiles, whose = spread(faces.train, CALIBRATION_TILES).pixels, "tiles of train"
    else:
        tiles, whose = calibration, "pictures of its own"
    with tempfile.TemporaryDirectory(prefix="mien-") as scratch:
        bench = _Bench(Path(scratch), settings)
        files = bench.all_of(run, networks, taken, faces, tiles)
        record = parity.measure(
            files["frame"], files.get("head"), taken, faces,
            head_precision=settings.head_precision, allowed=settings.allowed,
        )  # fmt: skip
        parity.refuse(record)
        contents = {stem: tflite.read(each.file) for stem, each in files.items()}
        whole = {f"{stem}.tflite": each.file.read_bytes() for stem, each in files.items()}
    if (run / "head-source.json").exists():
        heads.measure(run, faces)
    quantised = Quantised(
        frame=contents["frame"].signature,
        head=contents["head"].signature if "head" in contents else None,
        source_sha256={f"{stem}.keras": sha256_of(run / f"{stem}.keras") for stem in contents},
        head_precision=settings.head_precision,
        calibration=f"{len(tiles)} {whose}",
        percentile=settings.percentile,
        finetune_epochs=settings.finetune_epochs,
        size={stem: each.model.size for stem, each in contents.items()},
        parameters={stem: each.count_params() for stem, each in networks.items()},
        macs={stem: each.model.macs for stem, each in contents.items()},
        toolchain={name: importlib.metadata.version(name) for name in _TOOLCHAIN},
    )
    records = {"parity.json": record_bytes(record), "quantised.json": record_bytes(quantised)}
    write_together(run, {**whole, **records})
    return Made(quantised, record)


@dataclass(frozen=True, slots=True)
class _Bench:
    """A scratch folder in which networks are converted, and how."""

    folder: Path
    settings: QuantiseSettings

    def all_of(
        self,
        run: Path,
        networks: dict[str, keras.Model],
        taken: Interface,
        faces: Data,
        tiles: UInt8Array,
    ) -> dict[str, Converted]:
        """Convert every network, and refuse what the device could not run; by their stems."""
        trained, path = networks["frame"], run / "frame.keras"
        typical = pinned(tiles, taken)
        if self.settings.finetune_epochs:
            trained, path = self._finetuned(trained, taken, faces, typical)
        files = {"frame": self._converted(path, networks["frame"], {"face": typical}, "int8")}
        tflite.check_frame(tflite.read(files["frame"].file), taken)
        if "head" in networks:
            seen = {"embedding": embeddings(trained, faces, taken)}
            head, precision = networks["head"], self.settings.head_precision
            files["head"] = self._converted(run / "head.keras", head, seen, precision)
            tflite.check_head(tflite.read(files["head"].file))
        return files

    def _finetuned(
        self, frame: keras.Model, taken: Interface, faces: Data, typical: Float32Array
    ) -> tuple[keras.Model, Path]:
        """Train a frame model for its quantised arithmetic; return it and its file."""
        trained = finetune(
            frame,
            normalise(faces.train.pixels, taken.device_mean, taken.std),
            faces.train.labels,
            typical,
            FinetuneSettings(
                epochs=self.settings.finetune_epochs, percentile=self.settings.percentile
            ),
        )
        path = self.folder / "frame.keras"
        write_whole(path, trained.save)
        return trained, path

    def _converted(
        self, path: Path, network: keras.Model, typical: Inputs, precision: Precision
    ) -> Converted:
        """Convert the network in a `.keras` file, in another process."""
        values, file = self.folder / f"{path.stem}.npz", self.folder / f"{path.stem}.tflite"
        # Through memory, for a ZipFile that a full disk cut short complains once more as it goes.
        packed = io.BytesIO()
        # numpy 2 would take an input named allow_pickle for its own.
        np.savez(packed, **typical)  # type: ignore[arg-type]
        self._keep(values, packed.getvalue())
        request = Request(
            network=str(path.absolute()),
            calibration=str(values),
            precision=precision,
            percentile=self.settings.percentile,
        )
        with worked("convert.converter", request, path.name, self.settings.limit_s) as made:
            self._keep(file, (made / QUANTISED).read_bytes())
            floating = (made / FLOATING).read_bytes()
        return Converted(network, floating, file, tflite.read(file).signature)

    def _keep(self, file: Path, data: bytes) -> None:
        try:
            file.write_bytes(data)
        except OSError as exc:
            raise ConversionError(
                f"{self.folder}: cannot write it ({exc.strerror}); make room there, or set TMPDIR"
            ) from exc


def _has_head(run: Path) -> bool:
    return (run / "head.keras").exists()


def pinned(tiles: UInt8Array, taken: Interface) -> Float32Array:
    """Return normalised tiles, and before them an all-black and an all-white one.

    Their extremes make the input's scale exactly `1 / std` and its zero point `mean - 128`, so
    that a pixel becomes an input by subtracting a whole number.
    """
    black = np.zeros((1, *tiles.shape[1:]), np.uint8)
    pixels = np.concatenate([black, black + 255, tiles])
    return normalise(pixels, taken.device_mean, taken.std)


def embeddings(frame: keras.Model, faces: Data, taken: Interface) -> Float32Array:
    """Return what a float frame model says of composed streams of `train`, [n, width]."""
    shown = [
        streams.looks(faces.train, LEARNING, np.random.default_rng([0, index]), len(taken.labels))
        for index in range(CALIBRATION_STREAMS)
    ]
    pixels = normalise(np.concatenate(shown), taken.mean, taken.std)
    return np.asarray(frame.predict(pixels, verbose=0)[0])
