"""What of a model the Edge TPU can run, by its documentation.

The table, its restrictions and the model requirements are those of "TensorFlow models on the Edge
TPU" (https://coral.ai/docs/edgetpu/models-intro/, sections Model requirements and Supported
operations), for the newest compiler, 16.0, and runtime, 14. The wordings of a `status` are the
compiler's own (https://coral.ai/docs/edgetpu/compiler/), so that its log can be held against a
prediction. What the page leaves open ("might not be mapped") is left open here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convert.graph import Model, Operator, Tensor

SOURCE = "https://coral.ai/docs/edgetpu/models-intro/#supported-operations"
COMPILED = "edgetpu-custom-op"
"""What the compiler puts in the place of all operators that it maps."""

MAPPED = "Mapped to Edge TPU"
SPLIT = "More than one subgraph is not supported"
UNSUPPORTED = "Operation not supported"
VERSION = "Operation version not supported"
DTYPE = "Operation is working on an unsupported data type"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
PARAMETER = "Filter, bias, or other param is not constant at compile-time"
STRIDES = "Only Strided-Slice with unitary strides supported"
OTHERWISE = (
    "Operation is otherwise supported, but not mapped due to some unspecified limitation"
)  # fmt: skip

SOFTMAX_ELEMENTS = 16_000
CACHE_BYTES = 8 * 2**20
"""The parameters that the chip's memory holds (https://coral.ai/docs/edgetpu/compiler/, Parameter
data caching, says "roughly 8 MB"); the rest is sent anew for every inference."""

MAX_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 8}
"""Versions that the compiler's own copy of TensorFlow Lite knows, where it is known to refuse
newer ones: CONV_2D 6 by https://github.com/google-coral/edgetpu/issues/631, FULLY_CONNECTED 9 by
a user's log ("Operation version not supported")."""

PER_CHANNEL_DENSE = (
    "its weights are quantised per channel, which converters do to dense layers since TensorFlow "
    "2.17; the compiler is from 2021 and reads one scale for the whole tensor"
)
PER_TENSOR = (
    "convert with _experimental_disable_per_channel_quantization_for_dense_layers = True; "
    "convolutions stay per channel"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an operator stays on the CPU: the compiler's words, ours, and what would mend it."""

    status: str
    reason: str
    rewrite: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one operator runs.

    Attributes
    ----------
    status : str
        As the compiler's log would say.
    reason, rewrite : str
        Empty where it is mapped; `rewrite` is empty too where only an earlier operator must go.
    """

    operator: Operator
    status: str
    reason: str = ""
    rewrite: str = ""

    @property
    def mapped(self) -> bool:
        """Whether the Edge TPU runs it."""
        return self.status == MAPPED


Rule = Callable[[Operator], Iterator[Fault]]


def place(model: Model) -> tuple[Placement, ...]:
    """Say for each operator of a model where it would run.

    The compiler splits the graph once, at the first operator that it cannot map; everything
    after that runs on the CPU, whatever it is. The conversion of a float input before the first
    layer does not split (compiler logs: https://github.com/f0cal/google-coral/issues/20).

    Raises
    ------
    ConversionError
        An operator lacks an input it cannot do without.
    """
    main, *others = model.graphs
    inputs = {tensor.index for tensor in main.inputs}
    split: Operator | None = None
    placed = []
    for operator in main.operators:
        faults = tuple(_faults(operator))
        if faults:
            placed.append(_faulty(operator, faults))
            if split is None and not _converts_input(operator, inputs):
                split = operator
        elif split is not None:
            reason = f"comes after the graph is split at operator {split.index}, {split.name}"
            placed.append(Placement(operator, SPLIT, reason))
        else:
            placed.append(Placement(operator, MAPPED))
    reason = "belongs to a second graph, and only the main graph is compiled"
    rewrite = "unroll loops and conditions into plain layers"
    placed += [
        Placement(operator, UNSUPPORTED, reason, rewrite)
        for graph in others
        for operator in graph.operators
    ]
    return tuple(placed)


def mapped_share(placed: tuple[Placement, ...]) -> tuple[float, float]:
    """Return which share the Edge TPU runs: of the operators, and of the MACs.

    A model without MACs has them all mapped if its operators are.
    """
    ours = [placement.operator for placement in placed if placement.mapped]
    count = len(ours) / len(placed) if placed else 0.0
    macs = sum(placement.operator.macs for placement in placed)
    return count, sum(operator.macs for operator in ours) / macs if macs else count


def _faulty(operator: Operator, faults: tuple[Fault, ...]) -> Placement:
    rewrites = dict.fromkeys(fault.rewrite for fault in faults if fault.rewrite)
    return Placement(
        operator,
        faults[0].status,
        "; ".join(fault.reason for fault in faults),
        "; ".join(rewrites),
    )


def _converts_input(operator: Operator, inputs: set[int]) -> bool:
    return operator.name == "QUANTIZE" and operator.input(0).index in inputs


def _faults(operator: Operator) -> Iterator[Fault]:
    """Find what keeps an operator from the Edge TPU, in the order in which the compiler looks."""
    if operator.custom and operator.name == COMPILED:
        return
    yield from _types(operator)
    if operator.custom:
        yield Fault(UNSUPPORTED, "is a custom operator", "build it of standard layers")
        return
    if operator.name not in RULES:
        yield Fault(UNSUPPORTED, "is not in the Edge TPU's table", _rewrite(operator.name))
        return
    newest = MAX_VERSIONS.get(operator.name, operator.version)
    if operator.version > newest:
        reason = f"is version {operator.version}, the compiler knows up to {newest}"
        yield Fault(VERSION, reason, "convert with an older TensorFlow, or without what is new")
    yield from _shapes(operator)
    for rule in RULES[operator.name]:
        yield from rule(operator)


def _types(operator: Operator) -> Iterator[Fault]:
    tensors = [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor]
    wrong = {tensor.dtype: tensor for tensor in tensors if not _fits(tensor)}
    if not wrong:
        return
    reason = f"works on {' and '.join(sorted(wrong))}, and the Edge TPU on int8 and uint8 alone"
    yield Fault(DTYPE, reason, _type_rewrite(operator, set(wrong)))


def _fits(tensor: Tensor) -> bool:
    # The state of an LSTM is a variable, and int16 by nature. Biases, axes and shapes are int32.
    return tensor.variable or tensor.dtype in {"int8", "uint8", "int32"}


def _type_rewrite(operator: Operator, wrong: set[str]) -> str:
    if operator.name in {"QUANTIZE", "DEQUANTIZE"} and wrong == {"float32"}:
        return "convert with int8 inputs and outputs"
    if "int16" in wrong:
        return "quantise to int8; int16 activations are for the CPU"
    weights = [tensor.dtype for tensor in operator.inputs if tensor and tensor.constant]
    if "int8" in weights:
        return (
            "it is dynamic-range quantised (int8 weights alone): calibrate and convert to full int8"
        )
    return "quantise to full int8 (mien-convert quantise)"


def _shapes(operator: Operator) -> Iterator[Fault]:
    tensors = [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor]
    computed = [tensor for tensor in tensors if not tensor.constant and not tensor.variable]
    if any(tensor.dynamic for tensor in computed):
        reason = "has a shape that may vary"
        yield Fault(OTHERWISE, reason, "convert with fixed shapes and a batch of 1")
    deep = [tensor for tensor in computed if max(tensor.shape[:-3], default=1) > 1]
    if deep:
        reason = f"has the shape {list(deep[0].shape)}, of which only the last three may exceed 1"
        yield Fault(RANK, reason, "convert with a batch of 1, and no more than three dimensions")
    varying = [tensor for tensor in operator.inputs if tensor and tensor.dtype == "int32"]
    if not all(tensor.constant for tensor in varying):
        reason = "takes a bias, axis or shape that is computed"
        yield Fault(PARAMETER, reason, "convert with fixed shapes and weights")


def _rewrite(name: str) -> str:
    return REWRITES.get(name, "leave it out of the graph, or build it of operators in the table")


def _one_dimensional(tensor: Tensor) -> bool:
    return max(tensor.shape[:-1], default=1) <= 1


def _axes(operator: Operator, position: int, rank: int) -> tuple[int, ...]:
    values = operator.input(position).values or ()
    return tuple(axis % rank for axis in values) if rank else ()


def _not_fused(operator: Operator) -> Iterator[Fault]:
    if operator.options.get("fusedActivationFunction"):
        rewrite = "put the activation into a layer of its own, or before it"
        yield Fault(OTHERWISE, "has a fused activation", rewrite)


def _constant_weights(operator: Operator) -> Iterator[Fault]:
    if not operator.input(1 if operator.name != "TRANSPOSE_CONV" else 1).constant:
        yield Fault(PARAMETER, "has weights that are computed", "make the weights constant")


def _square_dilation(operator: Operator) -> Iterator[Fault]:
    factors = [operator.options.get(f"dilation{side}Factor", 1) for side in ("W", "H")]
    if factors[0] != factors[1]:
        reason = f"is dilated by {factors[0]} in x and {factors[1]} in y"
        yield Fault(OTHERWISE, reason, "dilate x and y alike")


def _dense(operator: Operator) -> Iterator[Fault]:
    if operator.options.get("weightsFormat"):
        yield Fault(OTHERWISE, "has shuffled weights", "convert with the default weight format")
    if not all(map(_one_dimensional, operator.outputs)):
        reason = f"gives {list(operator.outputs[0].shape)}, and may give one dimension"
        yield Fault(OTHERWISE, reason, "flatten before it, or use a 1x1 convolution")
    quantisation = operator.input(1).quantisation
    if quantisation and quantisation.channels > 1:
        yield Fault(OTHERWISE, PER_CHANNEL_DENSE, PER_TENSOR)


def _concatenation(operator: Operator) -> Iterator[Fault]:
    constants = [tensor for tensor in operator.inputs if tensor and tensor.constant]
    if constants and (len(operator.inputs) != 2 or not constants[0].zero):  # noqa: PLR2004  # the page's own number
        reason = "joins a constant that is not the zero padding of one other input"
        yield Fault(OTHERWISE, reason, "add the constant elsewhere, or pad with PAD")


def _spares_batch(operator: Operator) -> Iterator[Fault]:
    data = operator.input(0)
    if len(data.shape) > 1 and 0 in _axes(operator, 1, len(data.shape)):
        yield Fault(OTHERWISE, "reduces the batch", "reduce over the other dimensions alone")


def _mean_depth(operator: Operator) -> Iterator[Fault]:
    shape = operator.input(0).shape
    if shape and len(shape) - 1 in _axes(operator, 1, len(shape)) and shape[-1] % 4:
        reason = f"reduces {shape[-1]} channels, which is not a multiple of 4"
        yield Fault(OTHERWISE, reason, "make the channels a multiple of 4, or use AVERAGE_POOL_2D")


def _pads_inside(operator: Operator) -> Iterator[Fault]:
    values = operator.input(1).values
    if values and any(values[:2]):
        yield Fault(OTHERWISE, "pads the batch", "pad the other dimensions alone")


def _packs_inside(operator: Operator) -> Iterator[Fault]:
    if operator.options.get("axis", 0) == 0:
        yield Fault(OTHERWISE, "packs along the batch", "pack along another dimension")


def _splits_inside(operator: Operator) -> Iterator[Fault]:
    if 0 in _axes(operator, 0, len(operator.input(1).shape)):
        yield Fault(OTHERWISE, "splits the batch", "split along another dimension")


def _unit_strides(operator: Operator) -> Iterator[Fault]:
    if set(operator.input(3).values or (0,)) != {1}:
        yield Fault(STRIDES, "has strides other than 1", "use a pooling or a strided convolution")


def _channel_slope(operator: Operator) -> Iterator[Fault]:
    if not _one_dimensional(operator.input(1)):
        yield Fault(OTHERWISE, "has a slope per pixel", "set shared_axes=[1, 2] in Keras' PReLU")


def _short_softmax(operator: Operator) -> Iterator[Fault]:
    data = operator.input(0)
    if not _one_dimensional(data) or data.elements > SOFTMAX_ELEMENTS:
        reason = f"takes {list(data.shape)}; it may be one dimension of {SOFTMAX_ELEMENTS:,}"
        yield Fault(OTHERWISE, reason, "give the logits and leave the softmax to the device")


def _three_dimensional(operator: Operator) -> Iterator[Fault]:
    if operator.options.get("alignCorners"):
        reason = "aligns corners, which the page does not mention"
        yield Fault(OTHERWISE, reason, "resize with half-pixel centres, or TRANSPOSE_CONV")


RULES: dict[str, tuple[Rule, ...]] = {}
REWRITES: dict[str, str] = {}
