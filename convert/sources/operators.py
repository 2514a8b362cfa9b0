"""What each TensorFlow operator becomes in Keras: a table, and the functions in it.

An entry takes the operation and its inputs, KerasTensors or constants, and returns its outputs.
It raises ValueError where the operator is used in a way that Keras layers have no word for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.sources import graph

Constant = npt.NDArray[Any]
Value = Any
"""A KerasTensor, or a Constant."""

KerasClass = Any
"""What makes a layer."""

Operation = Any
"""A tf.Operation; TensorFlow publishes no types."""

Tensor = Any
"""A tf.Tensor."""


def _window(operation: Operation) -> dict[str, Any]:
    """Return strides and padding as Keras takes them."""
    if operation.get_attr("data_format") != b"NHWC":
        raise ValueError("channels first")
    padding = operation.get_attr("padding").decode().lower()
    if padding not in ("same", "valid"):
        raise ValueError(f"padding {padding}")
    return {"strides": tuple(operation.get_attr("strides")[1:3]), "padding": padding}


def _conv(operation: Operation, kernel: Constant, *, use_bias: bool) -> tuple[Any, Constant]:
    groups = operation.inputs[0].shape[-1] // kernel.shape[2]
    layer = keras.layers.Conv2D(
        kernel.shape[3],
        kernel.shape[:2],
        groups=groups,
        dilation_rate=tuple(operation.get_attr("dilations")[1:3]),
        use_bias=use_bias,
        **_window(operation),
    )
    return layer, kernel


def _depthwise(operation: Operation, kernel: Constant, *, use_bias: bool) -> tuple[Any, Constant]:
    layer = keras.layers.DepthwiseConv2D(
        kernel.shape[:2],
        depth_multiplier=kernel.shape[3],
        dilation_rate=tuple(operation.get_attr("dilations")[1:3]),
        use_bias=use_bias,
        **_window(operation),
    )
    return layer, kernel


def _dense(operation: Operation, kernel: Constant, *, use_bias: bool) -> tuple[Any, Constant]:
    if operation.get_attr("transpose_a"):
        raise ValueError("transposed input")
    weights = kernel.T if operation.get_attr("transpose_b") else kernel
    return keras.layers.Dense(weights.shape[1], use_bias=use_bias), weights


WEIGHTED: dict[str, Callable[..., tuple[Any, Constant]]] = {
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _dense,
}


def matmul(operation: Operation, args: Sequence[Value]) -> Value:
    """Return the product of two tensors, neither of which is a layer's weights."""
    a, b = args
    for name in ("transpose_a", "transpose_b", "adj_x", "adj_y"):
        if name in operation.node_def.attr and operation.get_attr(name):
            raise ValueError(name)
    return keras.ops.matmul(a, b)


def _pool(layer: KerasClass) -> Callable[[Any, Sequence[Value]], Value]:  # a Keras class
    def make(operation: Operation, args: Sequence[Value]) -> Value:
        side = tuple(operation.get_attr("ksize")[1:3])
        return layer(side, **_window(operation))(args[0])

    return make


def _normalisation(operation: Operation, args: Sequence[Value]) -> Value:
    x, *weights = args
    if operation.get_attr("is_training"):
        raise ValueError("still training")
    layer = keras.layers.BatchNormalization(epsilon=operation.get_attr("epsilon"))
    value = layer(x)
    layer.set_weights(weights)
    return value


def _reduce(
    over_picture: KerasClass, general: Callable[..., Value]
) -> Callable[..., Value]:  # a Keras class
    def make(operation: Operation, args: Sequence[Value]) -> Value:
        x, axes = args
        keep = bool(operation.get_attr("keep_dims"))
        along = sorted(int(axis) % len(x.shape) for axis in np.atleast_1d(axes))
        if len(x.shape) == 4 and along == [1, 2]:  # noqa: PLR2004  # a picture
            return over_picture(keepdims=keep)(x)
        return general(x, axis=tuple(along), keepdims=keep)

    return make


def _reshape(operation: Operation, args: Sequence[Value]) -> Value:
    shape = operation.outputs[0].shape.as_list()
    if shape[:1] != [1]:
        raise ValueError(f"the batch ends as {shape}")
    # Only the last of several in a row matters, and often it restores the shape before them.
    x = graph.before_reshaping(args[0])
    return x if tuple(shape[1:]) == tuple(x.shape[1:]) else keras.layers.Reshape(shape[1:])(x)


def _transpose(operation: Operation, args: Sequence[Value]) -> Value:
    x, order = args[0], [int(axis) for axis in args[1]]
    # Sides of one sample move freely: no value changes its place.
    moved = [axis for axis in order if axis and x.shape[axis] != 1]
    if moved == sorted(moved):
        return _reshape(operation, args)
    if order[0] != 0:
        raise ValueError(f"it moves the batch, {order}")
    return keras.layers.Permute(order[1:])(x)


def _pad(operation: Operation, args: Sequence[Value]) -> Value:
    x, widths = args[0], np.asarray(args[1]).tolist()
    value = float(args[2]) if len(args) > 2 else 0.0  # noqa: PLR2004  # PadV2 states it
    if len(widths) == 4 and widths[0] == widths[3] == [0, 0] and not value:  # noqa: PLR2004  # a picture
        return keras.layers.ZeroPadding2D(widths[1:3])(x)
    del operation
    return keras.ops.pad(x, widths, constant_values=value)


def _slice(operation: Operation, args: Sequence[Value]) -> Value:
    x, begin, size = args[0], np.asarray(args[1]).tolist(), operation.outputs[0].shape.as_list()
    ranges = (slice(start, start + side) for start, side in zip(begin[1:], size[1:], strict=True))
    key = (slice(None), *ranges)
    return x[key]


def _strided(operation: Operation, args: Sequence[Value]) -> Value:
    x = args[0]
    begin, end, stride = (np.asarray(each).tolist() for each in args[1:])
    flags = {name: operation.get_attr(f"{name}_mask")
             for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}  # fmt: skip
    if flags["ellipsis"] or flags["new_axis"]:
        raise ValueError("an ellipsis or a new axis")
    key: list[Any] = []
    for axis, step in enumerate(stride):
        if flags["shrink_axis"] >> axis & 1:
            key.append(begin[axis])
            continue
        start = None if flags["begin"] >> axis & 1 else begin[axis]
        stop = None if flags["end"] >> axis & 1 else end[axis]
        key.append(slice(start, stop, step))
    whole = key[0] == 0 or (isinstance(key[0], slice) and key[0].start in (0, None))
    if not whole or (key[0] == 0 and operation.outputs[0].shape[:1] != [1]):
        raise ValueError("it cuts the batch")
    within = (slice(None), *key[1:])
    cut = x[within]
    return _reshape(operation, [cut]) if key[0] == 0 else cut


def _gather(operation: Operation, args: Sequence[Value]) -> Value:
    x, indices, axis = args
    known = not isinstance(x, np.ndarray) and isinstance(indices, np.ndarray)
    if not known:
        raise ValueError("indices that are computed")  # as of any other misuse
    if x.shape[int(axis)] == 1 or (int(axis) == 0 and indices.size == 1):
        return _reshape(operation, args)
    return keras.ops.take(x, indices.tolist(), axis=int(axis))


def _split(operation: Operation, args: Sequence[Value]) -> Value:
    if operation.type == "SplitV":
        x, sizes, axis = args
        return keras.ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=int(axis))
    axis, x = args
    return keras.ops.split(x, operation.get_attr("num_split"), axis=int(axis))


def _concatenate(operation: Operation, args: Sequence[Value]) -> Value:
    del operation
    *parts, axis = args
    return keras.layers.Concatenate(axis=int(axis))(parts)


def _pairwise(
    layer: KerasClass, general: Callable[..., Value]
) -> Callable[..., Value]:  # a Keras class
    def make(operation: Operation, args: Sequence[Value]) -> Value:
        del operation
        a, b = (_plain(each) for each in args)
        same = getattr(a, "shape", None) == getattr(b, "shape", ())
        neutral = 1.0 if general is keras.ops.multiply else None
        if neutral is not None and neutral in (_scalar(a), _scalar(b)):
            return b if _scalar(a) == neutral else a
        constant = any(isinstance(each, float | np.ndarray) for each in (a, b))
        return layer()([a, b]) if same and not constant and layer is not None else general(a, b)

    return make


def _plain(value: Value) -> Value:
    """Return a constant of one value as a float, so that it saves as one."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.ndim == 0:
        return float(value)
    return value


def _scalar(value: Value) -> float | None:
    """Return a constant all of whose values are one, as that; else None."""
    if isinstance(value, float):
        return value
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value.reshape(()))
    return None


def _unary(layer: Callable[[], Any]) -> Callable[..., Value]:
    def make(operation: Operation, args: Sequence[Value]) -> Value:
        del operation
        return layer()(args[0])

    return make


def _activation(name: str) -> Callable[..., Value]:
    return _unary(lambda: keras.layers.Activation(name))


def _function(general: Callable[[Value], Value]) -> Callable[..., Value]:
    return _unary(lambda: general)


def _leaky(operation: Operation, args: Sequence[Value]) -> Value:
    return keras.layers.LeakyReLU(negative_slope=operation.get_attr("alpha"))(args[0])


def _cast(operation: Operation, args: Sequence[Value]) -> Value:
    if operation.outputs[0].dtype != tf.float32:
        raise ValueError(f"to {operation.outputs[0].dtype.name}")
    return args[0]


_add = _pairwise(keras.layers.Add, keras.ops.add)
_divide = _pairwise(None, keras.ops.divide)
_same = _function(lambda value: value)

LAYERS: Mapping[str, Callable[[Any, Sequence[Value]], Value]] = {
    "Abs": _function(keras.ops.absolute),
    "Add": _add,
    "AddV2": _add,
    "AvgPool": _pool(keras.layers.AveragePooling2D),
    "BatchMatMulV2": matmul,
    "BiasAdd": _add,
    "Cast": _cast,
    "ConcatV2": _concatenate,
    "Div": _divide,
    "Elu": _activation("elu"),
    "Erf": _function(keras.ops.erf),
    "Exp": _function(keras.ops.exp),
    "ExpandDims": _reshape,
    "FusedBatchNormV3": _normalisation,
    "GatherV2": _gather,
    "Identity": _same,
    "LeakyRelu": _leaky,
    "LogSoftmax": _activation("log_softmax"),
    "Max": _reduce(keras.layers.GlobalMaxPooling2D, keras.ops.max),
    "MaxPool": _pool(keras.layers.MaxPooling2D),
    "Maximum": _pairwise(keras.layers.Maximum, keras.ops.maximum),
    "Mean": _reduce(keras.layers.GlobalAveragePooling2D, keras.ops.mean),
    "Minimum": _pairwise(keras.layers.Minimum, keras.ops.minimum),
    "Mul": _pairwise(keras.layers.Multiply, keras.ops.multiply),
    "Neg": _function(keras.ops.negative),
    "Pad": _pad,
    "PadV2": _pad,
    "RealDiv": _divide,
    "Relu": _unary(keras.layers.ReLU),
    "Relu6": _unary(lambda: keras.layers.ReLU(max_value=6.0)),
    "Reshape": _reshape,
    "Rsqrt": _function(keras.ops.rsqrt),
    "Selu": _activation("selu"),
    "Sigmoid": _activation("sigmoid"),
    "Slice": _slice,
    "Softmax": _activation("softmax"),
    "Softplus": _activation("softplus"),
    "Split": _split,
    "SplitV": _split,
    "Sqrt": _function(keras.ops.sqrt),
    "Square": _function(keras.ops.square),
    "Squeeze": _reshape,
    "StopGradient": _same,
    "StridedSlice": _strided,
    "Sub": _pairwise(keras.layers.Subtract, keras.ops.subtract),
    "Sum": _reduce(lambda keepdims: (lambda x: keras.ops.sum(x, axis=(1, 2), keepdims=keepdims)),
                   keras.ops.sum),
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
}  # fmt: skip
"""What an operator becomes: from the operation and its inputs to its outputs."""

MENDS = {
    "While": "a recurrent layer lies in it: give the .keras file, ONNX or PyTorch model instead",
    "StatelessWhile": "a recurrent layer lies in it: give the .keras, ONNX or PyTorch model",
}
