"""What int8 makes of real values, in TensorFlow and with gradients.

Rounding passes gradients on as if it were not there (the straight-through estimator: Bengio et
al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation",
2013, section 4); a value beyond a range passes none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from edge.datatypes import Float32Array

Tensor = Any
"""A TensorFlow tensor; TensorFlow publishes no types."""

_STEPS = 255.0
_WEIGHT_STEPS = 127.0
_OFFSET = 128.0
_TIE = 0.5005
_SMALLEST = 1e-12

_SHARING = {"Conv2D": (0, 1, 2), "DepthwiseConv2D": (0, 1), "Dense": (0, 1)}
"""The axes of a kernel along which the converter gives one scale, as `convert.converter` asks."""


def rounded(tensor: Tensor, extremes: Tensor) -> Tensor:
    """Return a tensor as int8 holds it, with one scale and zero point.

    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-
    Only Inference", 2018, section 3, equation 12; the range moves so that zero is among the
    values that int8 has, as section 3.1 says.

    Parameters
    ----------
    tensor
        float32 of any shape.
    extremes
        float32 [2]: the lowest value, at most 0, and the highest, at least 0.
    """
    low, high = tf.unstack(extremes)
    scale = tf.maximum((high - low) / _STEPS, _SMALLEST)
    zero_point = tf.round(-low / scale) - _OFFSET
    ends = -_OFFSET - zero_point, _STEPS - _OFFSET - zero_point
    within = tf.clip_by_value(tensor, ends[0] * scale, ends[1] * scale)
    stored = within / scale + zero_point
    # Averages fall on ties, which TFLite rounds away from zero; in float they fall beside them.
    stored = tf.sign(stored) * tf.floor(tf.abs(stored) + _TIE)
    return _straight_through(within, (stored - zero_point) * scale)


def rounded_kernel(kernel: Tensor, kind: str) -> Tensor:
    """Return weights as int8 holds them: -127 to 127, zero at zero.

    Parameters
    ----------
    kernel
        float32, laid out as Keras does.
    kind
        `Conv2D` or `DepthwiseConv2D`, with a scale for each unit of the output, or `Dense`, with
        one for all.
    """
    scale = tf.reduce_max(tf.abs(kernel), axis=_SHARING[kind], keepdims=True) / _WEIGHT_STEPS
    scale = tf.maximum(scale, _SMALLEST)
    return _straight_through(kernel, tf.round(kernel / scale) * scale)


def rounded_constant(values: Float32Array) -> Tensor:
    """Return a constant factor or term as int8 holds it, float32 [channels]."""
    return rounded(tf.constant(values), tf.constant([min(values.min(), 0), max(values.max(), 0)]))


def units(kernel: Float32Array, kind: str) -> tuple[Float32Array, Float32Array]:
    """Return what one means to the optimizer for a kernel and for its bias.

    Adam's steps have the size of the learning rate whatever the weight's, and folded kernels
    differ a thousandfold between the units of one layer. So the weights of a unit are counted
    in their root mean square, or in steps of int8 where those are larger; its bias in what the
    kernel gives for inputs of about one.

    Parameters
    ----------
    kernel
        float32, laid out as Keras does.
    kind
        As of `rounded_kernel`.

    Returns
    -------
    tuple of float32 arrays
        Of the kernel's shape with 1 for the axes within a unit, and [units].
    """
    axes = (0, 1) if kind == "DepthwiseConv2D" else tuple(range(kernel.ndim - 1))
    size = np.sqrt(np.mean(np.square(kernel), axis=axes, keepdims=True))
    step = np.abs(kernel).max(axis=_SHARING[kind], keepdims=True) / _WEIGHT_STEPS
    unit = np.maximum(np.maximum(size, step), _SMALLEST).astype(np.float32)
    fan_in = np.prod([kernel.shape[axis] for axis in axes])
    return unit, (unit * np.sqrt(fan_in)).astype(np.float32).reshape(-1)


def _straight_through(tensor: Tensor, instead: Tensor) -> Tensor:
    return tensor + tf.stop_gradient(instead - tensor)
