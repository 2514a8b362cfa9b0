"""A Keras network executed by PyTorch: the same layers, the same answers, the weights shared.

PyTorch trains the small networks of this house several times as fast as TensorFlow on a CPU, in
bfloat16 above all, and what it trained has to become a `.keras` file that the converter takes. A
network is therefore described once, in Keras (`convert.models`), and its twin follows it layer by
layer; `docs/training.md` has the measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from convert.errors import RunError
from edge.datatypes import Float32Array

_SIX = 6.0


class Twin(nn.Module):  # type: ignore[misc]  # PyTorch may not be installed
    """A network of one input, as far as one of its outputs.

    Parameters
    ----------
    network
        A functional Keras model of the layers in `LAYERS`; its weights are copied.
    output
        The layer whose output is given.

    Raises
    ------
    RunError
        The network has a layer that the twin does not know.
    """

    def __init__(self, network: keras.Model, output: str = "logits") -> None:
        super().__init__()
        network = keras.Model(network.inputs, network.get_layer(output).output)
        self.steps = nn.ModuleDict()
        self._wiring: list[tuple[str, tuple[int, ...], int]] = []
        self._start, self._end = id(network.inputs[0]), id(network.outputs[0])
        for layer in network.layers:
            kind = type(layer).__name__
            if kind == "InputLayer":
                continue
            if kind not in LAYERS:
                raise RunError(
                    f"layer {layer.name!r} is a {kind}, which PyTorch cannot train here; train "
                    "this network without the options that need PyTorch"
                )
            taken = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
            self.steps[layer.name] = LAYERS[kind](layer)
            self._wiring.append((layer.name, tuple(id(each) for each in taken), id(layer.output)))
        self.read(network)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Return the output for normalised tiles, [n, 1, size, size] of any size."""
        values = {self._start: faces}
        for name, taken, given in self._wiring:
            values[given] = self.steps[name](*(values[each] for each in taken))
        return values[self._end]

    def read(self, network: keras.Model) -> None:
        """Take the weights of a Keras network of the same layers."""
        with torch.no_grad():
            for name, step in self.steps.items():
                weights = network.get_layer(name).get_weights()
                for slot, value in zip(_slots(step), weights, strict=True):
                    slot.copy_(torch.from_numpy(_to_torch(value, step)))

    def write(self, network: keras.Model) -> None:
        """Give the weights to a Keras network of the same layers."""
        for name, step in self.steps.items():
            network.get_layer(name).set_weights(
                [_to_keras(slot.detach().float().cpu().numpy(), step) for slot in _slots(step)]
            )


class _Convolution(nn.Module):  # type: ignore[misc]  # see Twin
    """A convolution that pads as Keras does: with `same` and a stride, behind more than before."""

    def __init__(self, layer: Any) -> None:  # noqa: ANN401  # Keras publishes no types
        super().__init__()
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        channels = layer.input.shape[-1]
        self.stride, self.side = layer.strides[0], layer.kernel_size[0]
        self.same = layer.padding == "same"
        self.core = nn.Conv2d(
            channels, layer.output.shape[-1], layer.kernel_size, layer.strides,
            groups=channels if depthwise else 1, bias=layer.use_bias,
        )  # fmt: skip
        self.activation = _activation(layer)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        around = 0
        if self.same:
            height, width = (self._padding(size) for size in value.shape[2:])
            if height == width == (self.side // 2,) * 2:
                around = self.side // 2
            elif any(height + width):
                value = functional.pad(value, (*width, *height))
        core = self.core
        return self.activation(
            functional.conv2d(
                value, core.weight, core.bias, self.stride, around, groups=core.groups
            )
        )

    def _padding(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + self.side - size, 0)
        return total // 2, total - total // 2


class _Dense(nn.Module):  # type: ignore[misc]  # see Twin
    def __init__(self, layer: Any) -> None:  # noqa: ANN401  # Keras publishes no types
        super().__init__()
        self.core = nn.Linear(layer.input.shape[-1], layer.units, bias=layer.use_bias)
        self.activation = _activation(layer)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.activation(self.core(value))


class _Plain(nn.Module):  # type: ignore[misc]  # see Twin
    """A step without weights."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        return self.function(*values)


def _normalisation(layer: Any) -> nn.Module:  # noqa: ANN401  # Keras publishes no types
    return nn.BatchNorm2d(layer.input.shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)


def _rectifier(layer: Any) -> nn.Module:  # noqa: ANN401  # Keras publishes no types
    return nn.ReLU6(inplace=True) if layer.max_value == _SIX else nn.ReLU(inplace=True)


def _activation(layer: Any) -> nn.Module:  # noqa: ANN401  # Keras publishes no types
    known = {"linear": nn.Identity, "relu": nn.ReLU, "relu6": nn.ReLU6}
    name = layer.activation.__name__
    if name not in known:
        raise RunError(
            f"layer {layer.name!r} has the activation {name}, which PyTorch cannot train here; "
            f"use one of {', '.join(known)}"
        )
    return known[name]()


LAYERS: dict[str, Callable[[Any], nn.Module]] = {
    "Conv2D": _Convolution,
    "DepthwiseConv2D": _Convolution,
    "BatchNormalization": _normalisation,
    "ReLU": _rectifier,
    "Dense": _Dense,
    "Dropout": lambda layer: nn.Dropout(layer.rate),
    "Sum": lambda _: _Plain(torch.add),
    "Concatenate": lambda _: _Plain(lambda *values: torch.cat(values, 1)),
    "AveragePooling2D": lambda layer: nn.AvgPool2d(layer.pool_size, layer.strides),
    "MaxPooling2D": lambda layer: nn.MaxPool2d(layer.pool_size, layer.strides),
    "GlobalAveragePooling2D": lambda _: _Plain(lambda value: value.mean((2, 3))),
    "Flatten": lambda _: _Plain(lambda value: value.permute(0, 2, 3, 1).flatten(1)),
}
"""How each Keras layer is executed, by the name of its class."""


def _slots(step: nn.Module) -> list[torch.Tensor]:
    """Return the weights of a step in the order in which Keras lists those of the layer."""
    if isinstance(step, nn.BatchNorm2d):
        return [step.weight, step.bias, step.running_mean, step.running_var]
    core = getattr(step, "core", None)
    return [each for each in (core.weight, core.bias) if each is not None] if core else []


def _to_torch(value: Float32Array, step: nn.Module) -> Float32Array:
    """Order the axes of a weight as PyTorch does."""
    core = getattr(step, "core", None)
    if value.ndim == 4:  # noqa: PLR2004  # a kernel: height, width, in, out (depthwise: in, 1)
        depthwise = core is not None and core.groups > 1
        axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        return np.ascontiguousarray(value.transpose(axes))
    return np.ascontiguousarray(value.T)


def _to_keras(value: Float32Array, step: nn.Module) -> Float32Array:
    """Order the axes of a weight as Keras does."""
    core = getattr(step, "core", None)
    if value.ndim == 4:  # noqa: PLR2004  # out, in, height, width (depthwise: in, 1, ...)
        depthwise = core is not None and core.groups > 1
        return np.ascontiguousarray(value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
    return np.ascontiguousarray(value.T)
