"""A simplified ONNX graph of one step becomes a frame model, a head, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import onnx

from convert.errors import SourceError
from convert.sources.onnx_graph import (
    Opened,
    Shape,
    States,
    channels_first,
    feeding,
    float_info,
    shapes_of,
)
from convert.sources.onnx_steps import InOnnx, Proto

_PICTURE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A graph whose inputs and outputs are [1, width], but for a picture, [1, channels, h, w].

    Attributes
    ----------
    model : onnx.ModelProto
    inputs : tuple of str
    """

    model: Proto
    inputs: tuple[str, ...]


def pieces(model: Proto, found: Opened, states: States, cut: str | None) -> dict[str, Piece]:
    """Return `frame`, `head` or both.

    Parameters
    ----------
    model
        Simplified, and without recurrent nodes.
    found
        What its inputs were.
    states
        That were added to it.
    cut
        The tensor that is the embedding.

    Raises
    ------
    SourceError
        A cut is missing or does not part the graph.
    """
    for name, units in states.before:
        model.graph.input.append(float_info(name, (1, units)))
    shapes = dict(shapes_of(model))
    _check_known(shapes, [*(each.name for each in model.graph.output), *states.after])
    asked = [name for name in found.inputs if name != found.seen]
    before = [*asked, *(name for name, _ in states.before)]
    answers = [each.name for each in model.graph.output if each.name != cut]
    if states.before:
        answers = [*answers[:1], *states.after]
    if len(found.inputs[found.seen]) < _PICTURE:
        return {"head": _piece(model, shapes, [found.seen, *before], answers)}
    if not before:
        outputs = [*answers, cut] if cut else answers
        return {"frame": _piece(model, shapes, [found.seen], outputs)}
    if cut is None:
        name = f", as --cut {feeding(found)}" if found.recurrent else ""
        raise SourceError(
            "it goes from a picture through a recurrent layer; name the tensor that is the "
            f"embedding{name}"
        )
    if max(shapes[cut]) != prod(shapes[cut]):
        raise SourceError(
            f"--cut {cut}: it is {list(shapes[cut])}, not a vector; cut after pooling"
        )
    return {
        "frame": _piece(model, shapes, [found.seen], [cut]),
        "head": _piece(model, shapes, [cut, *before], answers),
    }


def _check_known(shapes: dict[str, Shape], names: Sequence[str]) -> None:
    """Refuse outputs whose shape still depends on something."""
    for name in names:
        if name not in shapes:
            raise SourceError(
                f"the shape of its output {name!r} cannot be told for one sample and one step; "
                "export it with batch 1, and end the sequence in the recurrent layer"
            )


def _piece(
    model: Proto,
    shapes: dict[str, Shape],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Piece:
    """Return the part of a graph between tensors."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:], part.graph.value_info[:]
    ops = InOnnx(part, "mien_piece")
    names = tuple(f"input_{index}" for index in range(len(inputs)))
    for name, tensor in zip(names, inputs, strict=True):
        part.graph.input.append(_enter(ops, name, tensor, shapes[tensor]))
    part.graph.node.extend(_between(model, inputs, outputs))
    for index, tensor in enumerate(outputs):
        name = f"output_{index}"
        shape = shapes[tensor]
        value = tensor
        if len(shape) == _PICTURE and prod(shape[2:]) > 1:
            value, shape = ops.node("GlobalAveragePool", [tensor]), shape[:2]
        ops.reshape(value, (1, prod(shape)), name)
        part.graph.output.append(float_info(name, (1, prod(shape))))
    part.graph.name = "piece"
    return Piece(part, names)


def _enter(ops: InOnnx, name: str, tensor: str, shape: Shape) -> Proto:
    """Lead a new input to where a tensor was; return its declaration."""
    if len(shape) < _PICTURE or max(shape) == prod(shape):
        ops.reshape(name, shape, tensor)
        return float_info(name, (1, prod(shape)))
    picture = (1, *shape[-3:])
    if channels_first(picture):
        ops.reshape(name, shape, tensor)
        return float_info(name, picture)
    turned = ops.node("Transpose", [name], perm=[0, 2, 3, 1])
    ops.reshape(turned, shape, tensor)
    return float_info(name, (1, shape[-1], *shape[-3:-1]))


def _between(model: Proto, inputs: Sequence[str], outputs: Sequence[str]) -> list[Proto]:
    """Return the nodes that lead from tensors to others, in order."""
    makers = {
        out: index for index, node in enumerate(model.graph.node) for out in node.output if out
    }
    stored = {each.name for each in model.graph.initializer}
    wanted, needed = list(outputs), set()
    while wanted:
        name = wanted.pop()
        if not name or name in inputs or name in stored:
            continue
        if name not in makers:
            raise SourceError(
                f"the input {name} goes past the cut {inputs[0]}; cut where all goes through"
            )
        if makers[name] not in needed:
            needed.add(makers[name])
            wanted += model.graph.node[makers[name]].input
    return [model.graph.node[index] for index in sorted(needed)]
