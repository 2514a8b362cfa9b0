"""Keras files: `.keras`, and the older `.h5` and `.hdf5`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from convert.errors import SourceError
from convert.sources import graph
from convert.sources.parts import STEPS, Parts, Reference
from convert.sources.unroll import reads_sequences, unroll
from edge.datatypes import Float32Array


def read(path: Path, cut: str | None) -> Parts:
    """Read a Keras file.

    Parameters
    ----------
    path
        The file.
    cut
        The layer that gives the embedding.

    Raises
    ------
    SourceError
        It is damaged, has layers of its own, or mixes time steps.
    """
    try:
        network = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as exc:
        older = _older(path) if path.suffix != ".keras" else None
        if older is None:
            raise SourceError(f"Keras cannot load it ({_reason(exc)}); {_mend(exc)}") from exc
        return older
    network = graph.reserve_names(graph.functional(network))
    _check_fixed(network)
    if reads_sequences(network):
        parts = unroll(network, cut)
    elif len(network.inputs) == 1:
        parts = Parts(network, None, cut=cut)
    else:
        parts = Parts(None, network)
    return Parts(parts.frame, parts.head, parts.cut, parts.notes, _reference(network))


def _reference(network: keras.Model) -> Reference:
    """Show a network random values, a few steps if it reads sequences, and keep its answers."""
    random = np.random.default_rng(0)
    first, *states = [list(each.shape[1:]) for each in network.inputs]
    timed = len(first) in (2, 4)
    if timed:
        first[0] = first[0] or STEPS
    given = [_random(random, (1, *shape)) for shape in (first, *states)]
    flat = graph.run(network, given)
    if timed:
        # Of a sequence of answers, the last.
        flat = [each[:, -1] if len(each.shape) > 2 else each for each in flat][  # noqa: PLR2004  # a rank: 2 of vectors, 3 of their sequences, 4 of pictures
            :1
        ]  # [n, time, labels]
    return Reference(given[0][0] if timed else given[0], tuple(given[1:]), tuple(flat))


def _random(random: np.random.Generator, shape: tuple[int, ...]) -> Float32Array:
    return random.uniform(-1, 1, shape).astype(np.float32)


def _check_fixed(network: keras.Model) -> None:
    """Refuse sides that vary; time and the batch may."""
    for tensor in network.inputs:
        shape = list(tensor.shape[1:])
        fixed = shape[1:] if len(shape) in (2, 4) else shape
        if None in fixed:
            raise SourceError(
                f"its input {tensor.name!r} has sides of any length, {shape}; fix them before "
                "saving, as in keras.Input((48, 48, 1))"
            )


def _older(path: Path) -> Parts | None:
    """Read a file of Keras 2 that Keras 3 does not, through tf_keras; None if that fails too."""
    try:
        module: Any = importlib.import_module("tf_keras")
        network = module.models.load_model(str(path), compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError):
        return None
    from convert.sources.saved_model import from_function  # noqa: PLC0415  # needs TensorFlow

    shapes = [tuple(each.shape) for each in network.inputs]
    several = len(shapes) > 1
    parts = from_function(
        lambda *given: network(list(given) if several else given[0], training=False), shapes, ""
    )
    return Parts(parts.frame, parts.head, None, (*parts.notes, "read by tf_keras"), parts.reference)


def _reason(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(exc).__name__


def _mend(exc: BaseException) -> str:
    text = str(exc)
    if "custom_objects" in text or "safe_mode" in text or "Lambda" in text:
        return "it has code of its own: export it as a SavedModel with network.export(FOLDER)"
    return "copy or save it again"
