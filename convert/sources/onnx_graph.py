"""ONNX graphs, made ready for onnx2tf: one sample, one time step, nothing recurrent.

Time and the batch become 1, recurrent nodes become explicit steps with a state that goes in and
comes out, vectors are [1, width] whatever their shape was, and a graph that is cut becomes two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from convert.errors import SourceError
from convert.recurrent import Kind, Step, describe, from_onnx
from convert.sources.onnx_steps import InOnnx, Proto
from convert.sources.parts import STEPS

Shape = tuple[int, ...]

_RECURRENT = ("GRU", "LSTM", "RNN")
_LAYOUT = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand")
_CHANNELS = (1, 3)
_VECTOR, _VECTORS, _PICTURES = 2, 3, 5


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A graph as it was found.

    Attributes
    ----------
    model : onnx.ModelProto
    inputs : dict of name to shape
        Batch 1, time `steps`; what is seen comes first, then states.
    time : int or None
        The axis of time in the first input.
    """

    model: Proto
    inputs: dict[str, Shape]
    time: int | None

    @property
    def recurrent(self) -> bool:
        """Whether it has recurrent nodes."""
        return any(node.op_type in _RECURRENT for node in self.model.graph.node)

    @property
    def seen(self) -> str:
        """The name of the first input."""
        return next(iter(self.inputs))


def opened(model: Proto) -> Opened:
    """Look at a graph's inputs.

    Raises
    ------
    SourceError
        A side varies, or an operator is no standard one.
    """
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise SourceError(
                f"the operator {node.domain}.{node.op_type} ({node.name}) is not of standard ONNX; "
                "export it without"
            )
    stored = {each.name for each in model.graph.initializer}
    found = [each for each in model.graph.input if each.name not in stored]
    if not found:
        raise SourceError("it has no input; export it again")
    dims = {each.name: [dim.dim_value or None for dim in each.type.tensor_type.shape.dim]
            for each in found}  # fmt: skip
    first = found[0].name
    time = _time_axis(model, first, dims[first])
    inputs = {}
    for name, shape in dims.items():
        batch = 1 if name == first and time == 0 else 0
        for axis, side in enumerate(shape):
            if name == first and axis == time:
                shape[axis] = side or STEPS
            elif axis == batch and (name == first or side is None or len(shape) == _VECTOR):
                shape[axis] = 1
            elif side is None:
                raise SourceError(
                    f"its input {name!r} has a side of any length, axis {axis}; export it with "
                    "fixed sides (only batch and time may vary)"
                )
        if name != first and len(shape) == _VECTORS and shape[0] != 1:
            raise SourceError(
                f"its state {name!r}, {shape}, holds several layers in one; let it take the "
                "sequence alone, and its states are made explicit here"
            )
        inputs[name] = tuple(int(side) for side in shape)  # type: ignore[arg-type]  # none is left
    return Opened(model, inputs, time)


def _time_axis(model: Proto, first: str, shape: Sequence[int | None]) -> int | None:
    """Return the axis of time of the first input; PyTorch and ONNX put it first by default."""
    if len(shape) == _PICTURES:
        return 1
    if len(shape) != _VECTORS:
        return None
    makers = {out: node for node in model.graph.node for out in node.output}
    node = next((each for each in model.graph.node if each.op_type in _RECURRENT), None)
    axis, name = 0, node.input[0] if node is not None else first
    while name != first and name in makers:
        above = makers[name]
        if above.op_type == "Transpose":
            (order,) = (each.ints for each in above.attribute if each.name == "perm")
            axis = order[axis]
        elif above.op_type != "Identity":
            # Other layers lie before: with one sample, time is the longer axis.
            return 0 if (shape[0] or 0) > (shape[1] or 0) and shape[1] == 1 else 1
        name = above.input[0]
    return axis


def channels_first(shape: Sequence[int]) -> bool:
    """Return whether a picture is [1, channels, height, width]; it has 1 or 3 channels."""
    return shape[1] in _CHANNELS or shape[-1] not in _CHANNELS


def cut_tensor(found: Opened, name: str | None) -> str | None:
    """Return the tensor that a person named, or whose node they named.

    Raises
    ------
    SourceError
        There is none.
    """
    if name is None:
        return None
    tensors = [str(out) for node in found.model.graph.node for out in node.output]
    nodes = {str(node.name): str(node.output[0]) for node in found.model.graph.node}
    if name not in tensors and name not in nodes:
        some = ", ".join(tensors[-12:])
        raise SourceError(f"no tensor {name!r} to cut at; there are {some}")
    return name if name in tensors else nodes[name]


def feeding(found: Opened) -> str:
    """Return the tensor that the first recurrent node reads, before it is only laid out anew."""
    makers = {out: node for node in found.model.graph.node for out in node.output}
    node = next(each for each in found.model.graph.node if each.op_type in _RECURRENT)
    name = str(node.input[0])
    while name in makers and makers[name].op_type in _LAYOUT:
        name = str(makers[name].input[0])
    return name


def single(found: Opened) -> None:
    """Fix the batch to 1 and time to 1, in the inputs and in the shapes that were written out."""
    model = found.model
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
              for each in [*inferred.graph.value_info, *inferred.graph.input]}  # fmt: skip
    before = {
        each.name: shapes[each.name] for each in model.graph.input if each.name in found.inputs
    }
    shrunk = set()
    for each in model.graph.input:
        if each.name not in found.inputs:
            continue
        sides = list(found.inputs[each.name])
        if each.name == found.seen and found.time is not None:
            sides[found.time] = 1
        olds = [old for old, new in zip(before[each.name], sides, strict=True) if old != new]
        shrunk |= {old for old in olds if old > 1}
        for dim, side in zip(each.type.tensor_type.shape.dim, sides, strict=True):
            dim.dim_value = side
    for out in model.graph.output:
        for dim in out.type.tensor_type.shape.dim:
            dim.Clear()
    del model.graph.value_info[:]
    if shrunk:
        _shrink_reshapes(model, shapes, shrunk)


def keep(model: Proto, tensor: str) -> None:
    """Make a tensor an output too: so it keeps its name while the graph is simplified.

    Raises
    ------
    SourceError
        Its shape cannot be told.
    """
    if tensor in {each.name for each in model.graph.output}:
        return
    shape = dict(shapes_of(model)).get(tensor)
    if shape is None:
        raise SourceError(f"--cut {tensor}: its shape cannot be told; cut a layer later or earlier")
    model.graph.output.append(float_info(tensor, shape))


def _shrink_reshapes(model: Proto, shapes: dict[str, list[int]], shrunk: set[int]) -> None:
    """Write 1 for the sides that became 1, in each Reshape that states every side."""
    stored = {each.name: each for each in model.graph.initializer}
    constants = {node.output[0]: node.attribute[0].t for node in model.graph.node
                 if node.op_type == "Constant" and node.attribute[0].name == "value"}  # fmt: skip
    for index, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or 0 in (sides := shapes.get(node.input[0], [0])):
            continue
        target = stored.get(node.input[1]) or constants.get(node.input[1])
        if target is None:
            continue
        wanted = _resolved(numpy_helper.to_array(target).tolist(), sides)
        if prod(wanted) != prod(sides):
            continue
        for side in shrunk:
            if side in wanted:
                wanted[wanted.index(side)] = 1
        name = f"mien_shape_{index}"
        model.graph.initializer.append(numpy_helper.from_array(np.array(wanted, np.int64), name))
        node.input[1] = name


def _resolved(wanted: Sequence[int], sides: Sequence[int]) -> list[int]:
    """Return the sides a Reshape gives: 0 there copies a side, -1 is what remains."""
    shape = [sides[axis] if side == 0 else side for axis, side in enumerate(wanted)]
    if -1 in shape:
        shape[shape.index(-1)] = prod(sides) // -prod(shape)
    return shape


@dataclass(slots=True)
class States:
    """The states that were added, with their widths, what they become, and what was done."""

    before: list[tuple[str, int]] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stepped(model: Proto) -> States:
    """Replace each recurrent node of a simplified graph of one step by explicit arithmetic.

    Raises
    ------
    SourceError
        A node has no step: see `recurrent.from_onnx`.
    """
    states = States()
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for index, node in enumerate(nodes):
        if node.op_type in _RECURRENT:
            ops = InOnnx(model, f"mien_{index}")
            _one_step(ops, node, stored, states)
        else:
            model.graph.node.append(node)
    return states


def _one_step(ops: InOnnx, node: Proto, stored: dict[str, Proto], states: States) -> None:
    """Write one recurrent node as arithmetic."""
    step = _read(node, stored)
    inputs = [*node.input, *[""] * 8]
    x = ops.reshape(inputs[0], (1, -1))
    old = []
    for given in inputs[5 : 5 + step.states]:
        start = stored.get(given)
        if not given or (start is not None and not start.any()):
            name = f"mien_state_{len(states.before)}"
            states.before.append((name, step.units))
            old.append(name)
        elif start is not None:
            raise SourceError(
                f"{node.op_type} {node.name!r} begins from a stored state that is not zero"
            )
        else:
            old.append(ops.reshape(given, (1, step.units)))
    added = all(name.startswith("mien_state_") for name in old)
    new = step.advance(ops, node.op_type.lower(), x, old)
    if added:
        states.after += new
    states.notes.append(f"{node.name or node.op_type}: {describe(step)} as explicit steps")
    names = [*node.output, "", ""]
    for name, value, shape in (
        (names[0], new[0], (1, 1, 1, step.units)),
        (names[1], new[0], (1, 1, step.units)),
        (names[2], new[-1], (1, 1, step.units)),
    ):
        if name:
            ops.reshape(value, shape, name)


def _read(node: Proto, stored: dict[str, Proto]) -> Step:
    attributes = {each.name: _decoded(helper.get_attribute_value(each)) for each in node.attribute}
    if node.op_type == "RNN":
        raise SourceError(f"RNN {node.name!r}: only GRU and LSTM can be written as steps; use one")
    inputs = [*node.input, *[""] * 8]
    if inputs[7] and (inputs[7] not in stored or stored[inputs[7]].any()):
        raise SourceError(f"LSTM {node.name!r} has peepholes; train one without")
    if inputs[4] and inputs[4] not in stored:
        raise SourceError(f"{node.op_type} {node.name!r} is given lengths; a stream has no end")
    kind: Kind = "GRU" if node.op_type == "GRU" else "LSTM"
    return from_onnx(kind, [stored.get(name) for name in inputs[1:4]], attributes, node.name)


def _decoded(value: Proto) -> Proto:
    if isinstance(value, bytes):
        return value.decode()
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def float_info(name: str, shape: Shape | None) -> Proto:
    """Return how a float tensor is declared."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def shapes_of(model: Proto) -> Iterator[tuple[str, Shape]]:
    """Yield the static shape of each tensor that has one."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    for each in [*graph.value_info, *graph.input, *graph.output]:
        sides = tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim)
        if all(sides):
            yield each.name, sides
