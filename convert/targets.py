"""Whether a model can run on a board, and what stands against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from convert import edgetpu
from convert.compiler import PROGRAM, Compiled, compared
from convert.edgetpu_rules import PER_CHANNEL_DENSE
from convert.graph import Model, Operator, Tensor

Target = Literal["raspberry-pi", "jetson", "coral"]
Role = Literal["frame", "head", "model"]

RUNTIME_CUSTOM = {
    "AudioSpectrogram",
    "Mfcc",
    "NumericVerify",
    "TFLite_Detection_PostProcess",
}
"""Custom operators that the runtime has all the same (tensorflow/lite/core/kernels/register.cc)."""

OLD_RUNTIME = (2, 14)
"""tflite-runtime's last version, which 32-bit boards have to use."""

LIBEDGETPU = (
    "libedgetpu must be built against the TensorFlow version of the runtime that loads it: "
    "Google's own package (16.0, for TensorFlow 2.5) crashes tflite-runtime 2.12 and newer "
    "(https://github.com/google-coral/edgetpu/issues/812)"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operator that keeps a model from a target; `index` is its place in its graph."""

    index: int
    operator: str
    output: str
    reason: str
    rewrite: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known about one model on one target.

    Attributes
    ----------
    fine : bool
        Everything runs where it should.
    summary : str
        One line.
    refusals : tuple of Refusal
        What stands against it.
    mapped : mapping
        How many operators of each kind the Edge TPU runs, as predicted.
    notes : tuple of str
        What else to know: known traps, limits of this answer.
    compiled : Compiled or None
        What `edgetpu_compiler` said, where it is installed.
    """

    target: Target
    fine: bool
    summary: str
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    mapped: Mapping[str, int] = field(default_factory=dict)
    compiled: Compiled | None = None


def judge(model: Model, target: Target, *, role: Role, compiled: Compiled | None) -> Verdict:
    """Judge one model on one target.

    Parameters
    ----------
    role
        The head of a bundle runs on the CPU even where there is an Edge TPU.
    compiled
        What the Edge TPU's compiler made of it, for `coral`; None where it is not installed. Its
        word counts more than the prediction.

    Raises
    ------
    ConversionError
        The file is damaged in a way that shows only here.
    """
    if target != "coral":
        return _cpu(model, target)
    if role == "head":
        verdict = _cpu(model, target)
        note = "the head steps on the CPU by design; only the frame model goes to the Edge TPU"
        return Verdict(target, verdict.fine, verdict.summary, verdict.refusals, (note,))
    return _coral(model, compiled)


def precision(model: Model) -> str:
    """Name the arithmetic of a model in a few words.

    Examples are `int8`, `int16x8`, `float32`, `float32 with float16 weights`.
    """
    floats = [operator for operator in model.operators if _computes_in_float(operator)]
    if not floats:
        kinds = {tensor.dtype for operator in model.operators for tensor in _activations(operator)}
        names = {"int16": "int16x8", "int8": "int8", "uint8": "uint8"}
        return next((name for kind, name in names.items() if kind in kinds), "integer")
    weights = {
        tensor.dtype
        for operator in model.operators
        for tensor in operator.inputs
        if tensor and tensor.constant
    }
    if any(_computes_in_integers(operator) for operator in model.operators):
        return f"mixed: {', '.join(sorted({operator.name for operator in floats}))} in float"
    if "int8" in weights:
        return "float32 with int8 weights (dynamic range)"
    return "float32 with float16 weights" if "float16" in weights else "float32"


def _cpu(model: Model, target: Target) -> Verdict:
    refusals = tuple(_foreign(op) for op in model.operators if op.custom and not _known(op))
    kind = precision(model)
    notes = []
    if kind not in {"int8", "uint8", "int16x8", "integer"}:
        notes.append("runs in float (XNNPACK); int8 is smaller, and on ARM faster")
    if any(tensor.dynamic for graph in model.graphs for tensor in graph.inputs):
        notes.append("an input's shape may vary; a bundle needs fixed shapes and a batch of 1")
    if target == "raspberry-pi" and _version(model.min_runtime) > OLD_RUNTIME:
        notes.append(
            f"needs TensorFlow Lite {model.min_runtime}; 32-bit systems have tflite-runtime 2.14"
        )
    if target == "jetson":
        notes.append("runs on the CPU; this runtime does not use the Jetson's GPU")
    summary = f"runs on the CPU, {kind}" if not refusals else "the runtime lacks operators"
    return Verdict(target, not refusals, summary, refusals, tuple(notes))


def _known(operator: Operator) -> bool:
    return operator.name in RUNTIME_CUSTOM


def _foreign(operator: Operator) -> Refusal:
    if operator.name == edgetpu.COMPILED:
        reason = "was compiled for the Edge TPU, which alone can run it"
        return _refusal(operator, reason, "use the file from before edgetpu_compiler")
    if operator.name.startswith("Flex"):
        reason = "is a TensorFlow operator (Flex), which the device's runtime does not have"
        return _refusal(
            operator, reason, "convert with TFLITE_BUILTINS alone, without SELECT_TF_OPS"
        )
    reason = "is a custom operator, which the device's runtime does not have"
    return _refusal(operator, reason, "build it of standard layers")


def _coral(model: Model, compiled: Compiled | None) -> Verdict:
    placed = edgetpu.place(model)
    refusals = tuple(
        _refusal(each.operator, each.reason, each.rewrite) for each in placed if not each.mapped
    )
    operators, macs = edgetpu.mapped_share(placed)
    fine = bool(placed) and not refusals
    if compiled:
        compiled = compared(compiled, placed)
        fine = compiled.whole
    mapped = Counter(each.operator.name for each in placed if each.mapped)
    summary = (
        f"{mapped.total()} of {len(placed)} operators on the Edge TPU ({operators:.1%}), "
        f"{macs:.1%} of the MACs"
    )
    notes = _coral_notes(model, placed)
    if compiled is None:
        notes = (f"{PROGRAM} is not installed (it is for x86-64): this is a prediction", *notes)
    return Verdict("coral", fine, summary, refusals, notes, mapped, compiled)


def _coral_notes(model: Model, placed: tuple[edgetpu.Placement, ...]) -> tuple[str, ...]:
    share = model.parameter_bytes / edgetpu.CACHE_BYTES
    fits = "fit" if share <= 1 else "do not fit, so that the rest is sent anew for every inference,"
    notes = [f"parameters {fits} into the chip's memory of about 8 MB: {share:.1%} of it"]
    if runtime := edgetpu.runtime_needed(placed):
        notes.append(f"needs Edge TPU runtime {runtime} or newer")
    notes += [f"{name}: {text}" for name, text in edgetpu.open_limits(placed).items()]
    if any(PER_CHANNEL_DENSE in each.reason for each in placed):
        notes.append(
            "what read such dense weights with one scale gave wrong answers without a word "
            "(https://github.com/tensorflow/tflite-micro/pull/2602)"
        )
    return (*notes, LIBEDGETPU, f"table: {edgetpu.SOURCE}")


def _refusal(operator: Operator, reason: str, rewrite: str) -> Refusal:
    output = operator.outputs[0].name if operator.outputs else ""
    return Refusal(operator.index, operator.name, output, reason, rewrite)


def _activations(operator: Operator) -> list[Tensor]:
    return [
        tensor for tensor in (*operator.inputs, *operator.outputs) if tensor and not tensor.constant
    ]


def _computes_in_float(operator: Operator) -> bool:
    made = {tensor.dtype for tensor in operator.outputs}
    return bool(made & {"float16", "float32", "float64"}) and operator.name != "DEQUANTIZE"


def _computes_in_integers(operator: Operator) -> bool:
    made = {tensor.dtype for tensor in operator.outputs}
    return bool(made & {"int8", "uint8", "int16"}) and operator.name != "QUANTIZE"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
