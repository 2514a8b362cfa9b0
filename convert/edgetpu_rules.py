"""The Edge TPU's restrictions, each as a function from an operator to what is wrong with it.

Sources: "TensorFlow models on the Edge TPU", sections Model requirements and Supported operations
(https://coral.ai/docs/edgetpu/models-intro/). The wordings of a `status` are the compiler's own,
from logs of version 16.0, so that its log can be held against a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convert.graph import Operator, Tensor

MAPPED = "Mapped to Edge TPU"
SPLIT = "More than one subgraph is not supported"
UNSUPPORTED = "Operation not supported"
VERSION = "Operation version not supported"
DTYPE = "Operation is working on an unsupported data type"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
PARAMETER = "Filter, bias, or other param is not constant at compile-time"
STRIDES = "Only Strided-Slice with unitary strides supported"
OTHERWISE = "Operation is otherwise supported, but not mapped due to some unspecified limitation"

SOFTMAX_ELEMENTS = 16_000

PER_CHANNEL_DENSE = (
    "has weights quantised per channel, which TensorFlow's converter does to dense layers since "
    "2024; the compiler is of 2021 and nothing says that it reads more than one scale"
)
PER_TENSOR = (
    "set _experimental_disable_per_channel_quantization_for_dense_layers on TensorFlow's "
    "converter; convolutions stay per channel"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an operator stays on the CPU: the compiler's words, ours, and what would mend it."""

    status: str
    reason: str
    rewrite: str


Rule = Callable[[Operator], Iterator[Fault]]


def types(operator: Operator) -> Iterator[Fault]:
    """All values are int8 or uint8; biases, axes and shapes are int32."""
    tensors = [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor]
    wrong = sorted({tensor.dtype for tensor in tensors if not _fits(tensor)})
    if wrong:
        reason = f"works on {' and '.join(wrong)}, and the Edge TPU on int8 and uint8 alone"
        yield Fault(DTYPE, reason, _type_rewrite(operator, wrong))


def shapes(operator: Operator) -> Iterator[Fault]:
    """Sizes are known; only the three innermost dimensions exceed 1; parameters are constant."""
    tensors = [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor]
    computed = [tensor for tensor in tensors if not tensor.constant and not tensor.variable]
    if any(tensor.dynamic for tensor in computed):
        rewrite = "convert with fixed shapes and a batch of 1"
        yield Fault(OTHERWISE, "has a shape that may vary", rewrite)
    deep = [tensor for tensor in computed if max(tensor.shape[:-3], default=1) > 1]
    if deep:
        reason = f"has the shape {list(deep[0].shape)}, of which only the last three may exceed 1"
        yield Fault(RANK, reason, "convert with a batch of 1, and with three dimensions or fewer")
    if any(tensor.dtype == "int32" for tensor in computed):
        reason = "takes a bias, axis or shape that is computed"
        yield Fault(PARAMETER, reason, "convert with fixed shapes and constant parameters")


def not_fused(operator: Operator) -> Iterator[Fault]:
    """No fused activation function."""
    if operator.options.get("fusedActivationFunction"):
        rewrite = "put the activation before it, or into the next convolution"
        yield Fault(OTHERWISE, "has a fused activation", rewrite)


def constant_weights(operator: Operator) -> Iterator[Fault]:
    """Model parameters are constant at compile time."""
    if not operator.input(1).constant:
        yield Fault(PARAMETER, "has weights that are computed", "make its weights constant")


def square_dilation(operator: Operator) -> Iterator[Fault]:
    """Must use the same dilation in x and y dimensions."""
    wide, high = (operator.options.get(f"dilation{side}Factor", 1) for side in "WH")
    if wide != high:
        reason = f"is dilated by {wide} in x and {high} in y"
        yield Fault(OTHERWISE, reason, "dilate x and y alike")


def dense(operator: Operator) -> Iterator[Fault]:
    """Only the default format of weights; output tensor is one-dimensional.

    Weights per channel are no part of the page, which is older than they are.
    """
    if operator.options.get("weightsFormat"):
        yield Fault(OTHERWISE, "has shuffled weights", "convert with the default weight format")
    if not all(map(_one_dimensional, operator.outputs)):
        reason = f"gives {list(operator.outputs[0].shape)}, and may give one dimension"
        yield Fault(OTHERWISE, reason, "flatten before it, or use a 1x1 convolution")
    quantisation = operator.input(1).quantisation
    if quantisation and quantisation.channels > 1:
        yield Fault(OTHERWISE, PER_CHANNEL_DENSE, PER_TENSOR)


def zero_padding(operator: Operator) -> Iterator[Fault]:
    """With a constant input there must be only 2 inputs, and the constant must be all zeros."""
    constants = [tensor for tensor in operator.inputs if tensor and tensor.constant]
    pair = 2
    if constants and not (len(operator.inputs) == pair and constants[0].zero):
        reason = "joins a constant that is not the zero padding of one other input"
        yield Fault(OTHERWISE, reason, "pad with PAD, or join the constant on the device")


def keeps_batch(operator: Operator) -> Iterator[Fault]:
    """No reduction in batch dimension."""
    data = operator.input(0)
    if len(data.shape) > 1 and 0 in _axes(operator.input(1), data):
        yield Fault(OTHERWISE, "reduces the batch", "reduce over the other dimensions alone")


def deep_mean(operator: Operator) -> Iterator[Fault]:
    """If a z-reduction, the z-dimension must be multiple of 4."""
    data = operator.input(0)
    if len(data.shape) - 1 in _axes(operator.input(1), data) and data.shape[-1] % 4:
        reason = f"reduces {data.shape[-1]} channels, which is not a multiple of 4"
        yield Fault(OTHERWISE, reason, "make the channels a multiple of 4")


def pads_inside(operator: Operator) -> Iterator[Fault]:
    """No padding in batch dimension."""
    if any((operator.input(1).values or ())[:2]):
        yield Fault(OTHERWISE, "pads the batch", "pad the other dimensions alone")


def packs_inside(operator: Operator) -> Iterator[Fault]:
    """No packing in batch dimension."""
    rank = max((len(tensor.shape) for tensor in operator.outputs), default=0)
    if operator.options.get("axis", 0) in {0, -rank}:
        yield Fault(OTHERWISE, "packs along the batch", "pack along another dimension")


def splits_inside(operator: Operator) -> Iterator[Fault]:
    """No splitting in batch dimension."""
    if 0 in _axes(operator.input(0), operator.input(1)):
        yield Fault(OTHERWISE, "splits the batch", "split along another dimension")


def unit_strides(operator: Operator) -> Iterator[Fault]:
    """Supported only when all strides are equal to 1."""
    if set(operator.input(3).values or (0,)) != {1}:
        yield Fault(STRIDES, "has strides other than 1", "use pooling or a strided convolution")


def channel_slope(operator: Operator) -> Iterator[Fault]:
    """Alpha must be 1-dimensional."""
    if not _one_dimensional(operator.input(1)):
        yield Fault(OTHERWISE, "has a slope per pixel", "set shared_axes=[1, 2] in Keras' PReLU")


def short_softmax(operator: Operator) -> Iterator[Fault]:
    """Supports only 1-D input tensor with a max of 16,000 elements."""
    data = operator.input(0)
    if not _one_dimensional(data) or data.elements > SOFTMAX_ELEMENTS:
        reason = f"takes {list(data.shape)}, and may take one dimension of {SOFTMAX_ELEMENTS:,}"
        yield Fault(OTHERWISE, reason, "give the logits and leave the softmax to the device")


def _fits(tensor: Tensor) -> bool:
    # The state of an LSTM is a variable, and int16 by nature.
    return tensor.variable or tensor.dtype in {"int8", "uint8", "int32"}


def _type_rewrite(operator: Operator, wrong: list[str]) -> str:
    if operator.name in {"QUANTIZE", "DEQUANTIZE"} and wrong == ["float32"]:
        return "convert with int8 inputs and outputs"
    if "int16" in wrong:
        return "quantise to int8; 16-bit activations are for the CPU"
    if any(tensor.dtype == "int8" for tensor in operator.inputs if tensor and tensor.constant):
        return "calibrate and convert to full int8: only its weights are (dynamic range)"
    return "quantise to full int8 (mien-convert quantise)"


def _one_dimensional(tensor: Tensor) -> bool:
    return max(tensor.shape[:-1], default=1) <= 1


def _axes(axes: Tensor, data: Tensor) -> set[int]:
    rank = len(data.shape)
    return {axis % rank for axis in axes.values or ()} if rank else set()
