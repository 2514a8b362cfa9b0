"""TensorFlow SavedModel folders: one signature, frozen and lifted into Keras layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from convert.errors import SourceError
from convert.sources.lift import Frozen, lift
from convert.sources.operators import Tensor
from convert.sources.parts import Parts, Reference

_SIGNATURE = "serving_default"
_SEQUENCES = (3, 5)


def read(path: Path, cut: str | None) -> Parts:
    """Read a SavedModel.

    Parameters
    ----------
    path
        Its folder.
    cut
        Refused: layers have no names there that a person would know.

    Raises
    ------
    SourceError
        It is damaged, has no signature, or an operator has no counterpart here.
    """
    if cut is not None:
        raise SourceError("a SavedModel cannot be cut; give the .keras file it was exported from")
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, RuntimeError, tf.errors.OpError) as exc:
        reason = str(exc).strip().splitlines()[0]
        raise SourceError(f"TensorFlow cannot load it ({reason}); export it again") from exc
    signatures = dict(loaded.signatures)
    if _SIGNATURE not in signatures and len(signatures) != 1:
        have = ", ".join(signatures) or "none"
        raise SourceError(
            f"it needs the signature {_SIGNATURE}, and has {have}; export it with one"
        )
    signature = signatures.get(_SIGNATURE) or next(iter(signatures.values()))
    specs = signature.structured_input_signature[1]
    names = sorted(specs)

    def call(*given: Tensor) -> list[Tensor]:  # TensorFlow publishes no types
        answers = signature(**dict(zip(names, given, strict=True)))
        return [answers[name] for name in sorted(answers)]

    return from_function(call, [tuple(specs[name].shape) for name in names], path.name)


def from_function(call: Callable[..., Any], shapes: Sequence[tuple[Any, ...]], what: str) -> Parts:
    """Lift a TensorFlow function; each of its inputs begins with the batch.

    Raises
    ------
    SourceError
        A shape varies, or an operator has no counterpart here.
    """
    for shape in shapes:
        if len(shape) in _SEQUENCES:
            raise SourceError(
                f"it takes a sequence, {list(shape)}; give the .keras, ONNX or PyTorch model, "
                "whose recurrent layer can be read"
            )
        if None in shape[1:]:
            raise SourceError(
                f"its input {list(shape)} has sides of any length; fix them and save again"
            )
    single = [(1, *shape[1:]) for shape in shapes]
    network = lift(frozen(call, single), what)
    random = np.random.default_rng(0)
    given = [random.uniform(-1, 1, shape).astype(np.float32) for shape in single]
    answers = tuple(np.asarray(each) for each in keras.tree.flatten(call(*map(tf.constant, given))))
    reference = Reference(given[0], tuple(given[1:]), answers)
    if len(shapes) == 1:
        return Parts(network, None, reference=reference)
    return Parts(None, network, reference=reference)


def frozen(
    call: Callable[..., Any], shapes: Sequence[tuple[int, ...]]
) -> Frozen:  # a ConcreteFunction
    """Return a function with its variables as constants, for inputs of these shapes."""
    specs = [tf.TensorSpec(shape, tf.float32, name=f"input_{n}") for n, shape in enumerate(shapes)]
    concrete = tf.function(call).get_concrete_function(*specs)
    return convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
