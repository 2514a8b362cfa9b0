"""A Keras network that reads a sequence becomes one that reads a step at a time.

Layers are taken one by one: recurrent ones become explicit steps with a state, those that treat
each step alone are kept, and one that mixes steps is refused by name, since a live stream shows
one step at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from convert.arithmetic import InKeras
from convert.errors import SourceError
from convert.recurrent import Step, describe, from_keras
from convert.sources import graph
from convert.sources.graph import Layer, Tensor
from convert.sources.parts import Parts

_EACH_STEP = frozenset((
    "Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "ELU", "LayerNormalization",
    "LeakyReLU", "Multiply", "ReLU", "Relu", "Rescaling", "Sigmoid", "Softmax", "Subtract", "Tanh",
))  # fmt: skip
"""Layers and operations whose output at a step depends on that step alone."""

_RESHAPING = ("Reshape", "ExpandDims", "RepeatVector")
_VECTORS, _PICTURES = 3, 5
"""Ranks of sequences: [n, time, width] and [n, time, height, width, channels]."""


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """What stands for a sequence: the value at the step that is being shown."""

    now: Tensor


def reads_sequences(network: keras.Model) -> bool:
    """Return whether a network takes a sequence, or has recurrent layers."""
    if len(network.inputs[0].shape) in (_VECTORS, _PICTURES):
        return True
    found = []

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        found.append(isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional))
        return layer(*args, **kwargs)

    graph.walk(network, network.inputs, call)
    return any(found)


def unroll(network: keras.Model, cut: str | None) -> Parts:
    """Return the frame model and head of a network that reads sequences.

    Parameters
    ----------
    network
        From [n, time, width], [n, time, height, width, channels] or [n, height, width, channels].
    cut
        The layer that gives the embedding, for one that begins with pictures.

    Raises
    ------
    SourceError
        A layer mixes steps or needs the future, or the cut is missing.
    """
    if len(network.inputs) != 1:
        names = ", ".join(each.name for each in network.inputs)
        raise SourceError(f"several inputs ({names}) beside a recurrent layer; give it one input")
    return _Unroll(network).parts(cut)


class _Unroll:
    """One network on its way."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._ops = InKeras()
        self._before: list[Tensor] = []
        self._after: list[Tensor] = []
        self._named: dict[str, Tensor] = {}
        self._feeding: list[str] = []
        self._notes: list[str] = []

    def parts(self, cut: str | None) -> Parts:
        """Return what came of it."""
        shape = self._network.inputs[0].shape
        timed = len(shape) in (_VECTORS, _PICTURES)
        seen = keras.Input(shape[2:] if timed else shape[1:], name="seen")
        (answer, *_) = graph.walk(self._network, [_Timed(seen) if timed else seen], self._call)
        if not self._before:
            raise SourceError(
                "it takes a sequence and has no recurrent layer; give a network of single pictures"
            )
        outputs = [_now(answer), *self._after]
        notes = tuple(self._notes)
        if len(shape) == _VECTORS:
            return Parts(None, keras.Model([seen, *self._before], outputs), notes=notes)
        if cut is None:
            raise SourceError(
                "it goes from a picture through a recurrent layer; name the layer that gives the "
                f"embedding, as --cut {self._feeding[0]}"
            )
        return _divide(
            seen, graph.pick(self._named, cut), self._before, outputs, cut=cut, notes=notes
        )

    def _call(self, layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        value = self._translated(layer, args, kwargs)
        if isinstance(value, _Timed | keras.KerasTensor):
            self._named[layer.name] = _now(value)
        return value

    def _translated(self, layer: Layer, args: Sequence[Layer], kwargs: dict[str, Layer]) -> Layer:
        values = keras.tree.flatten([list(args), kwargs])
        if isinstance(layer, keras.layers.Bidirectional):
            raise SourceError(
                f"layer {layer.name!r} is bidirectional: it needs the future, which a live stream "
                "does not have; train it one way"
            )
        if isinstance(layer, keras.layers.RNN):
            return self._recurrent(layer, args, kwargs)
        if not any(isinstance(each, _Timed) for each in values):
            value = layer(*args, **kwargs)
            # [n, width] to [n, 1, width]: here time begins.
            begins = type(layer).__name__ in _RESHAPING and len(args[0].shape) == 2  # noqa: PLR2004  # a vector
            return _Timed(args[0]) if begins and value.shape[1:] == (1, args[0].shape[1]) else value
        given = keras.tree.map_structure(_now, list(args))
        if isinstance(layer, keras.layers.TimeDistributed):
            inner = layer.layer
            wrapped = inner if isinstance(inner, keras.Model) else keras.Sequential(
                [keras.Input(given[0].shape[1:]), inner])  # fmt: skip
            return _Timed(graph.walk(wrapped, [given[0]], self._call)[0])
        if type(layer).__name__ in _EACH_STEP:
            return _Timed(_at_one_step(layer, given, kwargs))
        if type(layer).__name__ == "GetItem" and _takes_last(args[1]):
            return given[0]
        raise SourceError(
            f"layer {layer.name!r} ({type(layer).__name__}) mixes the steps of a sequence, and a "
            "live stream shows one at a time; end the sequence in the recurrent layer"
        )

    def _recurrent(self, layer: Layer, args: Sequence[Layer], kwargs: dict[str, Layer]) -> Layer:
        """Replace a recurrent layer, which may hold several cells, by steps with new states."""
        if len(args) > 1 or any(each is not None for each in kwargs.values()):
            raise SourceError(
                f"layer {layer.name!r} is given a state or a mask; a live stream begins at zero "
                "and has no gaps: build it without"
            )
        x, last = _now(args[0]), []
        for index, step in enumerate(_steps(layer)):
            states = [keras.Input((step.units,)) for _ in range(step.states)]
            last = list(step.advance(self._ops, f"{layer.name}_{index}", x, states))
            self._before += states
            self._after += last
            self._notes.append(f"{layer.name}: {describe(step)} as explicit steps")
            x = last[0]
        self._feeding.append(_feeder(args[0], self._named))
        out = _Timed(x) if layer.return_sequences else x
        return [out, *last] if layer.return_state else out


def _divide(
    seen: Tensor,
    at: Tensor,
    before: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    cut: str,
    notes: tuple[str, ...],
) -> Parts:
    """Cut a network of single steps into what gives the embedding and what follows it.

    Raises
    ------
    SourceError
        The cut is not a vector, or something goes past it.
    """
    if len(at.shape) != 2:  # noqa: PLR2004  # a vector
        raise SourceError(
            f"--cut {cut}: it gives {list(at.shape[1:])}, not a vector; cut where one step is a "
            "vector, after flattening or pooling"
        )
    try:
        return Parts(keras.Model(seen, at), keras.Model([at, *before], list(outputs)), notes=notes)
    except ValueError as exc:
        raise SourceError(
            f"--cut {cut}: something goes past it from the picture to the answers, or none goes "
            "through it; cut where all goes through"
        ) from exc


def _steps(layer: Layer) -> list[Step]:
    """Return the steps of a recurrent layer, one for each of its cells."""
    if isinstance(layer, keras.layers.GRU | keras.layers.LSTM):
        return [from_keras(layer)]
    if layer.go_backwards:
        raise SourceError(f"layer {layer.name!r} reads time backwards; a live stream cannot")
    return [from_keras(cell) for cell in getattr(layer.cell, "cells", [layer.cell])]


def _at_one_step(layer: Layer, given: Sequence[Layer], kwargs: dict[str, Layer]) -> Tensor:
    """Return a layer's output for one step, from a copy of it that has no time axis."""
    if not isinstance(layer, keras.layers.Layer):
        return layer(*given, **kwargs)
    config = layer.get_config()
    if "axis" in config:
        axes = keras.tree.flatten(config["axis"])
        rank = len(keras.tree.flatten(list(given))[0].shape) + 1
        if [axis % rank for axis in axes] != [rank - 1]:
            raise SourceError(f"layer {layer.name!r} works along axis {axes}; use the last one")
        config["axis"] = -1
    copy = type(layer).from_config(config)
    value = copy(*given)
    copy.set_weights(layer.get_weights())
    return value


def _takes_last(key: Layer) -> bool:
    """Return whether an index is `[:, -1]`, with or without the rest."""
    whole = slice(None)
    return isinstance(key, tuple) and key[:2] == (whole, -1) and set(map(str, key[2:])) <= {
        str(whole), "Ellipsis"}  # fmt: skip


def _feeder(value: Layer, names: dict[str, Tensor]) -> str:
    """Return the layer that gives a value, as it is known in the source."""
    return next((name for name in reversed(names) if names[name] is _now(value)), "LAYER")


def _now(value: Layer) -> Layer:
    return value.now if isinstance(value, _Timed) else value
