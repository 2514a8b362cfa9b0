"""Which tensor is what: the last thing to settle before a source is like our own networks.

A frame model ends as `face` -> (`embedding`, `logits`), a head as (`embedding`, states) ->
(`logits`, states), the order in which `convert.models` has them.
"""

from __future__ import annotations

from typing import Any

import keras

from convert.errors import SourceError
from convert.sources import graph
from convert.sources.graph import Tensor

_CHANNELS = (1, 3)
_VECTOR, _PICTURE = 2, 4
_EMBEDDING_AND_LOGITS = 2


def state_names(count: int) -> tuple[str, ...]:
    """Return what a head's states are called: `state`, or `state_0`, `state_1`, ….

    Signatures are in the order of their names, so that the numbers are as long as the last.
    """
    digits = len(str(count - 1))
    return ("state",) if count == 1 else tuple(f"state_{n:0{digits}}" for n in range(count))


def settled_head(network: keras.Model, notes: list[str]) -> keras.Model:
    """Return a head with its inputs in order and by name, its answers before softmax.

    Raises
    ------
    SourceError
        Its inputs and outputs are not an embedding, logits and states.
    """
    inputs, outputs = network.inputs, network.outputs
    widths = [[tuple(each.shape[1:]) for each in side[1:]] for side in (inputs, outputs)]
    vectors = all(len(each.shape) == _VECTOR for each in [*inputs, *outputs])
    if not widths[0] or widths[0] != widths[1] or not vectors:
        raise SourceError(
            f"inputs {_shapes(inputs)} and outputs {_shapes(outputs)} are not understood; a frame "
            "model takes one picture, a head takes (embedding, states) and gives (logits, states)"
        )
    names = ("embedding", *state_names(len(widths[0])))
    fresh = [keras.Input(each.shape[1:], name=name)
             for each, name in zip(inputs, names, strict=True)]  # fmt: skip
    answer, *states = graph.walk(network, fresh, graph.steady)
    return keras.Model(fresh, [_before_softmax(answer, notes), *states], name="head")


def settled_frame(
    network: keras.Model, head: keras.Model | None, cut: str | None, notes: list[str]
) -> tuple[keras.Model, tuple[float, float] | None, int]:
    """Return a frame model as the device runs it.

    Parameters
    ----------
    network
        See `Parts.frame`.
    head
        Already settled, if one follows.
    cut
        The layer that gives the embedding; by default what the last layer is given.
    notes
        Added to.

    Returns
    -------
    keras.Model
        From luma, [n, size, size, 1], to embedding and logits.
    tuple of float, or None
        The mean and std by which it normalised its pixels; now the device does.
    int
        How many channels its pictures had.

    Raises
    ------
    SourceError
        It does not take one square picture of 1 or 3 channels, or does not give scores.
    """
    channels = _check_picture(network)
    network = graph.inlined(network)
    normalisation = graph.raw_pixels(network)
    if normalisation is not None:
        network = graph.without_rescaling(network)
        notes.append("its own scaling of pixels was left to the device")
    if channels > 1:
        network = graph.for_luma(network)
        notes.append(f"made for {channels} channels, now takes luma for each")
    picture = keras.Input(network.inputs[0].shape[1:], name="face")
    outputs, named = graph.traced(network, [picture])
    if cut is not None:
        outputs = [graph.pick(named, cut), outputs[-1]]
    embedding, answer = _outputs(outputs, head)
    logits = _before_softmax(answer, notes)
    if len(logits.shape) != _VECTOR:
        raise SourceError(f"its output has the shape {list(logits.shape)}, not [n, labels]")
    return keras.Model(picture, [embedding, logits], name="frame"), normalisation, channels


def _outputs(outputs: list[Tensor], head: keras.Model | None) -> tuple[Tensor, Tensor]:
    """Return embedding and scores."""
    if head is not None:
        embedding = graph.as_vector(outputs[0])
        return embedding, graph.from_rest(head, embedding)
    if len(outputs) == 1:
        logits, _ = graph.scores(outputs[0])
        return graph.as_vector(graph.embedding_before(logits)), outputs[0]
    if len(outputs) == _EMBEDDING_AND_LOGITS:
        for embedding, answer in (outputs, outputs[::-1]):
            if _leads_to(embedding, answer):
                return graph.as_vector(embedding), answer
    raise SourceError(
        f"outputs {_shapes(outputs)} are not understood; give it one, the scores, or two, the "
        "embedding and the scores that follow from it"
    )


def _leads_to(tensor: Tensor, other: Tensor) -> bool:
    """Return whether a tensor follows from another alone."""
    try:
        keras.Model(tensor, other)
    except ValueError:
        return False
    return True


def _before_softmax(answer: Tensor, notes: list[str]) -> Tensor:
    logits, had_softmax = graph.scores(answer)
    if had_softmax and "softmax left to the device" not in notes:
        notes.append("softmax left to the device")
    return logits


def _check_picture(network: keras.Model) -> int:
    """Return the number of channels of the one square picture a network takes."""
    inputs = network.inputs
    shape: list[Any] = list(inputs[0].shape[1:])
    if len(inputs) != 1 or len(shape) != _PICTURE - 1:
        raise SourceError(
            f"inputs {_shapes(inputs)} are not understood; a frame model takes one picture, "
            "[n, height, width, channels]"
        )
    if None in shape:
        raise SourceError(
            f"its picture {inputs[0].name!r} has sides of any length, {shape}; fix them before "
            "saving, as in keras.Input((48, 48, 1))"
        )
    if shape[0] != shape[1] or shape[2] not in _CHANNELS:
        raise SourceError(
            f"its picture is {shape}; faces are square, of 1 or 3 channels: build it for that"
        )
    return int(shape[2])


def _shapes(tensors: list[Tensor]) -> str:
    return ", ".join(f"{each.name} {list(each.shape)}" for each in tensors)
