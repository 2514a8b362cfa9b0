"""The run folder: where the commands leave their results for the next one.

```
frame.keras  head.keras         the trained networks, best epoch
frame.json   head.json          how each was trained: settings, seed, figures of every epoch
frame-source.json, head-source.json   or, in their place, what each was read from
interface.json                  what the networks take and give, where that is not the usual
frame-N.keras  head-N.keras     the newest epoch with its optimizer, to resume from
frame-N.pt                      the same, where PyTorch trains; answers-*.npy: what teachers said
frame.tflite  head.tflite       the quantised networks
quantised.json                  their signatures
parity.json                     how far their answers are from the float networks'
evaluation.json                 what was measured on them
```

Records are written beside their place and then renamed, so that a stopped command leaves the
state before or the state after, never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from convert.errors import RunError
from convert.metrics import Bin, Interval, Published, Scores
from convert.recipe import Policy
from edge.bundle import ModelFile

Content = bytes | Callable[[Path], object]
"""What a file is to hold: the bytes, or a function that writes the file it is given."""

Figures = dict[str, float]
"""Named measurements of one epoch."""


class Ancestor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training whose weights another one started or learned from.

    Attributes
    ----------
    sha256
        Of its `frame.keras`.
    options
        Of `mien-convert train`.
    data_sha256
        As in `TrainingRecord`.
    seconds
        What it took.
    """

    sha256: str
    options: str
    data_sha256: str
    seconds: float


class TrainingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a network was trained; nothing here tells the machine or its folders.

    Attributes
    ----------
    settings
        Everything that decides the result, seed included: same settings and data, same weights.
    data_sha256
        Of the data folder's `labels.csv`.
    tiles
        How many of each split were used.
    epochs
        Figures of each epoch that is done, `seconds` among them.
    best_epoch
        Counted from 1; its weights are the ones kept.
    toolchain
        Versions of the packages that trained it.
    machine
        What kind of machine it was begun on, so that the seconds mean something.
    ancestors
        The trainings whose weights it started or learned from, and theirs, oldest first, as far
        as their run folders told.
    """

    settings: dict[str, str | int | float]
    data_sha256: str
    tiles: dict[str, int]
    toolchain: dict[str, str]
    machine: str
    epochs: tuple[Figures, ...] = ()
    best_epoch: int = 0
    ancestors: tuple[Ancestor, ...] = ()

    @property
    def seconds(self) -> float:
        """Time spent in all epochs."""
        return sum(figures["seconds"] for figures in self.epochs)


class Certainty(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well a network knows how often it is right, on streams; see `convert.calibration`.

    Attributes
    ----------
    temperature, fold_temperatures
        Fitted on all folds, and without each.
    ece_before, ece_fitted, ece
        The calibration error without a temperature; with the one fitted on the same steps, which
        is too kind; and cross-fitted, which is the one to believe.
    ece_interval
        Of the last, 95 %; see `calibration.error_interval`.
    reliability
        Cross-fitted; see `metrics.reliability`.
    """

    temperature: float
    fold_temperatures: tuple[float, ...]
    ece_before: float
    ece_fitted: float
    ece: float
    ece_interval: Interval
    reliability: tuple[Bin, ...]


class Doubt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a bundle's doubt; see `convert.calibration`.

    Attributes
    ----------
    folds, streams, steps
        How many there were of each; of steps, those that show one still alone.
    head, frame
        Of the head, and of the frame model alone on the same steps.
    abstain_below
        Which threshold the curve speaks for.
    curve
        (threshold, share of steps answered, accuracy of those), of the head, cross-fitted.
    """

    folds: int
    streams: int
    steps: int
    head: Certainty
    frame: Certainty
    abstain_below: float
    curve: tuple[tuple[float, float, float], ...]


class StreamReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Head against frame model on composed streams of validation stills.

    Accuracies and flips count only steps on which one still is shown alone. `coverage` holds
    (threshold, share of steps answered, accuracy of those). `doubt` is of the files that a device
    runs, and absent where those were not what was measured.
    """

    streams: int
    steps: int
    frame_accuracy: float
    head_accuracy: float
    frame_flips_a_minute: float
    head_flips_a_minute: float
    temperature: float
    ece_before: float
    ece: float
    coverage: tuple[tuple[float, float, float], ...]
    doubt: Doubt | None = None


class ThroughCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The same faces as tiles of the data set and as the device would cut them out.

    Of `tiles` faces the detector found `found`; both scores are over those.
    """

    tiles: int
    found: int
    direct: Scores
    cropped: Scores


class Quantised(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `quantise` made, and from what.

    `size` (bytes), `parameters` and `macs` are by the stem of the file (`frame`, `head`).
    `calibration` says what the ranges come from, `percentile` how much of it they hold (None:
    all), `finetune_epochs` how long the frame model was trained for its quantised arithmetic.
    """

    frame: ModelFile
    head: ModelFile | None
    source_sha256: dict[str, str]
    head_precision: str
    calibration: str
    percentile: float | None
    finetune_epochs: int
    size: dict[str, int]
    parameters: dict[str, int]
    macs: dict[str, int]
    toolchain: dict[str, str]


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured, and on which files. Scores are of the frame model, tile by tile.

    `policy` is what counted as right; see `convert.policies`. `published` is of the int8 frame
    model, where that was consensus.
    """

    frame_sha256: str
    head_sha256: str
    data_sha256: str
    split: str
    policy: Policy = "labels"
    floating: Scores
    quantised: Scores
    streams: StreamReport
    through_crop: ThroughCrop | None = None
    published: Published | None = None


Record = TypeVar("Record", bound=msgspec.Struct)


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a struct as indented JSON with keys in a fixed order."""
    write_whole(path, record_bytes(record))


def record_bytes(record: msgspec.Struct) -> bytes:
    """Return what `write_record` writes."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(path: Path, kind: type[Record], *, made_by: str) -> Record:
    """Read what `write_record` wrote.

    Raises
    ------
    RunError
        The file is missing or damaged; the message names the command that makes it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as exc:
        raise RunError(f"{path}: {exc.strerror}; run mien-convert {made_by} first") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RunError(f"{path}: damaged ({exc}); run mien-convert {made_by} again") from exc


def write_whole(path: Path, content: Content) -> None:
    """Write a file beside `path`, then put it in place at once; its folder is made.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    write_together(path.parent, {path.name: content})


def write_together(folder: Path, files: Mapping[str, Content]) -> None:
    """Write several files, by their names, all of them or none; the folder is made.

    Raises
    ------
    RunError
        The folder cannot be made or written.
    """
    path, beside = folder, dict[Path, Path]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            beside[path] = path.with_name(f".{path.stem}.partial{path.suffix}")
            if isinstance(content, bytes):
                beside[path].write_bytes(content)
            else:
                content(beside[path])
        # A rename needs no room: a disk that is full was full before.
        for path, written in beside.items():
            written.replace(path)
    except OSError as exc:
        raise RunError(
            f"{path}: cannot write it ({exc.strerror or exc}); choose another folder"
        ) from exc
    finally:
        for written in beside.values():
            with contextlib.suppress(OSError):
                written.unlink()


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal digits."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise RunError(f"{path}: {exc.strerror}; an earlier command makes it") from exc
