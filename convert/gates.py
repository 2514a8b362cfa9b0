"""The bars that a conversion has to reach, and the figures held against them; numbers only.

A conversion whose answers changed is not a conversion. A bar can be lowered by name, and the
bundle then says so for as long as it lives.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from convert import metrics
from convert.data import Labels
from convert.report import table
from edge.datatypes import Float32Array
from edge.errors import MienError, UsageError
from edge.networks import softmax

SAMPLES = 2000
STEPS = 1000
INT8_STATE_DRIFT = 0.03
_Z_ONE_SIDED = 1.644854

Allowed: TypeAlias = dict[str, float]
"""Bars that were lowered, by the name of their gate."""


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A figure and the bar it has to reach; `allowed` says that the bar was lowered."""

    name: str
    value: float
    bar: float
    side: Literal["at least", "at most"]
    allowed: bool = False

    @property
    def passed(self) -> bool:
        """Whether the bar is reached; what is no number never is."""
        return self.value >= self.bar if self.side == "at least" else self.value <= self.bar


class LayerNoise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The signal-to-quantisation-noise ratio of what one operator gives.

    Attributes
    ----------
    operator
        Its kind, and its place in the file.
    tensor
        What it gives, by name.
    sqnr_db
        `10 log10(sum(float^2) / sum((float - quantised)^2))`, noise from before it included.
    fall_db
        By how much that is less than in the worst of its inputs: its own part.
    """

    operator: str
    tensor: str
    sqnr_db: float
    fall_db: float


class ParityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured, on which files: `parity.json` of a run folder.

    Attributes
    ----------
    sha256
        Of the quantised files, by their stems (`frame`, `head`).
    data_sha256, split, n
        Which tiles; of `train` only as many as `val` was short of.
    gates
        In the order in which they are told.
    figures
        What was measured besides; see `frame_figures` and `head_figures`.
    layers
        The noise of each layer, by the file's stem.
    """

    sha256: dict[str, str]
    data_sha256: str
    split: str
    n: int
    gates: tuple[Gate, ...]
    figures: dict[str, float]
    layers: dict[str, tuple[LayerNoise, ...]]

    @property
    def failed(self) -> tuple[Gate, ...]:
        """The gates whose bar was not reached."""
        return tuple(gate for gate in self.gates if not gate.passed)


class ParityError(MienError):
    """The quantised files do not answer as the float networks did; `record` has all figures."""

    def __init__(self, message: str, record: ParityRecord) -> None:
        super().__init__(message)
        self.record = record


BARS: dict[str, tuple[float, Literal["at least", "at most"]]] = {
    "samples": (SAMPLES, "at least"),
    "agreement": (0.97, "at least"),
    "accuracy-drop": (0.01, "at most"),
    "logit-sqnr": (15.0, "at least"),
    "head-steps": (STEPS, "at least"),
    "head-agreement": (0.97, "at least"),
    "state-drift": (0.01, "at most"),
}
"""Every gate with its bar. `accuracy-drop` is an upper bound at 95 %. `logit-sqnr`, in decibels,
holds how sure the answers are, which twice the logits would change and leave every answer as it
was. `state-drift` is for int16x8, and three times as much for int8."""


def parse_allowed(texts: list[str]) -> Allowed:
    """Return the bars that a command line lowers: each text is `NAME=VALUE`.

    Raises
    ------
    UsageError
        There is no such gate, or the value is no number.

    Examples
    --------
    >>> parse_allowed(["agreement=0.95"])
    {'agreement': 0.95}
    """
    allowed = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in BARS or not math.isfinite(number):
            raise UsageError(
                f"--allow {text}: write NAME=VALUE, where NAME is one of {', '.join(BARS)}"
            )
        allowed[name] = number
    return allowed


def gate(name: str, value: float, allowed: Allowed, bar: float | None = None) -> Gate:
    """Hold a figure against its bar, or against the one allowed in its place."""
    usual, side = BARS[name]
    return Gate(
        name=name,
        value=value,
        bar=allowed.get(name, usual if bar is None else bar),
        side=side,
        allowed=name in allowed,
    )


def gates_table(record: ParityRecord) -> str:
    """Return a row for each gate: its figure, its bar, and whether that was reached."""
    rows = [
        [
            each.name,
            _spelt(each.value),
            f"{each.side} {each.bar:g}{' (lowered)' if each.allowed else ''}",
            "passed" if each.passed else "FAILED",
        ]
        for each in record.gates
    ]
    return table(["gate", "measured", "bar", ""], rows)


def figures_table(record: ParityRecord) -> str:
    """Return what was measured besides."""
    shown = {f"{each.name}".replace("-", "_") for each in record.gates}
    rows = [
        [name.replace("_", " "), _spelt(value)]
        for name, value in record.figures.items()
        if name not in shown
    ]
    return table(["float against the device's file", ""], rows)


def _spelt(value: float) -> str:
    """Write a figure in four digits, or as many as a whole number has."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004  # digits


def layers_table(record: ParityRecord, stem: str) -> str:
    """Return the signal-to-quantisation-noise ratio of each layer of one file."""
    rows = [
        [f"{layer.operator} ({layer.tensor})", f"{layer.sqnr_db:.1f}", f"{layer.fall_db:.1f}"]
        for layer in record.layers[stem]
    ]
    return table([f"{stem}.tflite", "SQNR, dB", "its own part, dB"], rows)


def tables(record: ParityRecord) -> str:
    """Return everything that was measured."""
    parts = [gates_table(record), figures_table(record)]
    parts += [layers_table(record, stem) for stem in record.layers]
    return "\n\n".join(parts)


def frame_figures(floating: Float32Array, device: Float32Array, labels: Labels) -> dict[str, float]:
    """Compare logits, float32 [n, labels] each, of the same tiles.

    Returns
    -------
    dict
        `agreement`: share of equal answers. `accuracy_drop` and `accuracy_drop_upper`: see
        `drop_bound`. `mean_logit_difference` and `max_logit_difference`: absolute.
        `logit_sqnr`: signal-to-noise ratio of the logits, each sample's about its mean, which
        softmax does not see, in decibels.
        `kl_divergence`: mean of KL(float || device) of the softmaxes, in nats. `ece_float` and
        `ece_device`: expected calibration errors.
    """
    right = [logits.argmax(axis=1) == labels for logits in (floating, device)]
    apart = np.abs(floating - device)
    wanted, given = (softmax(logits, 1.0).astype(np.float64) for logits in (floating, device))
    ratio = np.log(np.maximum(wanted, 1e-12)) - np.log(np.maximum(given, 1e-12))
    drop, upper = drop_bound(*right)
    return {
        "agreement": agreement(floating, device),
        "accuracy_float": float(right[0].mean()),
        "accuracy_device": float(right[1].mean()),
        "accuracy_drop": drop,
        "accuracy_drop_upper": upper,
        "mean_logit_difference": float(apart.mean()),
        "max_logit_difference": float(apart.max()),
        "logit_sqnr": logit_sqnr(floating, device),
        "kl_divergence": float((wanted * ratio).sum(axis=1).mean()),
        "ece_float": metrics.calibration_error(softmax(floating, 1.0), labels),
        "ece_device": metrics.calibration_error(softmax(device, 1.0), labels),
    }


def drop_bound(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return by how much the share of right answers fell, and the upper 95 % bound of that.

    One-sided, for paired answers: see `metrics.matched`.

    Examples
    --------
    >>> import numpy as np
    >>> drop, upper = drop_bound(np.ones(2000, bool), np.ones(2000, bool))
    >>> drop, round(upper, 5)
    (0.0, 0.00082)
    """
    fall, spread = metrics.matched(before, after)
    return float(before.mean() - after.mean()), fall + _Z_ONE_SIDED * spread


def logit_sqnr(floating: Float32Array, device: Float32Array) -> float:
    """Return the signal-to-noise ratio of centred logits, [n, labels], in decibels.

    Equal logits have the ratio of 16 bits, the most that is told.
    """
    wanted, given = (
        (logits - logits.mean(axis=1, keepdims=True)).astype(np.float64)
        for logits in (floating, device)
    )
    signal, noise = float(np.square(wanted).sum()), float(np.square(wanted - given).sum())
    most = 2.0**32
    return 10 * math.log10(max(signal, 1e-30) / max(noise, max(signal, 1e-30) / most))


def head_figures(
    floating: Float32Array,
    device: Float32Array,
    float_states: list[Float32Array],
    device_states: list[Float32Array],
) -> dict[str, float]:
    """Compare two heads that ran freely over the same embeddings.

    Parameters
    ----------
    floating, device
        Logits, float32 [steps, labels].
    float_states, device_states
        For each state, float32 [steps, units].

    Returns
    -------
    dict
        `head_steps`; `head_agreement`: share of equal answers; `state_drift` and
        `state_drift_max`: mean and largest absolute difference in the state that is worst;
        `state_drift_end`: the mean over the last tenth of the steps, which is no more where
        nothing adds up. A state that goes beyond -1 to 1, as the cell of an LSTM does, is
        measured in its own range.
    """
    drift = [
        np.abs(wanted - given) / max(1.0, float(np.abs(wanted).max()))
        for wanted, given in zip(float_states, device_states, strict=True)
    ]
    return {
        "head_steps": float(len(floating)),
        "head_agreement": agreement(floating, device),
        "state_drift": max(float(each.mean()) for each in drift),
        "state_drift_max": max(float(each.max()) for each in drift),
        "state_drift_end": max(float(each[-max(1, len(each) // 10) :].mean()) for each in drift),
    }


def culprit(layers: tuple[LayerNoise, ...]) -> LayerNoise:
    """Return the layer that adds most noise of its own."""
    return max(layers, key=lambda layer: layer.fall_db)


def agreement(floating: Float32Array, device: Float32Array) -> float:
    """Return the share of equal answers of logits, float32 [n, labels] each."""
    return float((floating.argmax(axis=1) == device.argmax(axis=1)).mean())
