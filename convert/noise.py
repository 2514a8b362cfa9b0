"""How much noise quantisation adds, layer by layer: who is to blame when the answers changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from convert import inspect
from convert.gates import LayerNoise
from convert.graph import Operator, Tensor
from edge.datatypes import Float32Array

Inputs = dict[str, Float32Array]

_DECIBELS_A_BIT = 20 * math.log10(2)
_STORED = ("int8", "int16")


def layers(floating: bytes, quantised: bytes, samples: list[Inputs]) -> tuple[LayerNoise, ...]:
    """Compare a quantised file with the float one it was made from, tensor by tensor.

    Parameters
    ----------
    floating, quantised
        Files of one signature, as `convert.converter.convert` gives them: the tensors that both
        have bear the same names.
    samples
        Real inputs by their names in the signature, float32, one sample each.

    Raises
    ------
    ConversionError
        A file is damaged.
    """
    real, stored = _Runner(floating), _Runner(quantised)
    model = inspect.parse(quantised, source="the quantised file")
    (graph,), (signature,) = model.graphs, model.signatures
    roles = {tensor.name: role for role, tensor in signature.outputs.items()}
    compared = {
        tensor.name: tensor
        for operator in graph.operators
        for tensor in (*_changing(operator), *operator.outputs)
        if tensor.dtype in _STORED and tensor.quantisation and tensor.name in real.indices
    }
    signal, noise = dict.fromkeys(compared, 0.0), dict.fromkeys(compared, 0.0)
    for sample in samples:
        real.run(sample)
        stored.run(sample)
        for name in compared:
            wanted = real.value(name)
            signal[name] += float(np.square(wanted).sum())
            noise[name] += float(np.square(wanted - stored.value(name)).sum())
    ratio = {name: _decibels(signal[name], noise[name], compared[name]) for name in compared}
    found = []
    for operator in graph.operators:
        inputs = [ratio[each.name] for each in _changing(operator) if each.name in ratio]
        for output in operator.outputs:
            if output.name in ratio:
                before = min([*inputs, _most_of(operator)])
                found.append(
                    LayerNoise(
                        operator=f"{operator.index} {operator.name}",
                        tensor=roles.get(output.name, _short(output.name)),
                        sqnr_db=round(ratio[output.name], 1),
                        fall_db=round(before - ratio[output.name], 1),
                    )
                )
    return tuple(found)


class _Runner:
    """One file in an interpreter that keeps every tensor; takes and gives real values."""

    def __init__(self, data: bytes) -> None:
        # Delegates would keep what lies between the operators to themselves.
        self._interpreter = Interpreter(
            model_content=data,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self._step = self._interpreter.get_signature_runner()
        self._inputs = self._step.get_input_details()
        self._details = {each["name"]: each for each in self._interpreter.get_tensor_details()}
        self.indices = {name: each["index"] for name, each in self._details.items()}

    def run(self, sample: Inputs) -> None:
        self._step(**{name: _stored(sample[name], each) for name, each in self._inputs.items()})

    def value(self, name: str) -> npt.NDArray[np.float64]:
        stored = self._interpreter.get_tensor(self.indices[name])
        values = np.asarray(stored, dtype=np.float64)
        scale, zero_point = self._details[name]["quantization"]
        return values if not scale else np.asarray((values - zero_point) * scale)


def _stored(values: Float32Array, detail: Any) -> npt.NDArray[Any]:  # noqa: ANN401  # no types
    scale, zero_point = detail["quantization"]
    if not scale:
        return values
    limits = np.iinfo(detail["dtype"])
    whole = np.rint(values / scale) + zero_point
    return np.asarray(np.clip(whole, limits.min, limits.max), dtype=detail["dtype"])


def _changing(operator: Operator) -> tuple[Tensor, ...]:
    """Return the inputs of an operator that are no constants."""
    return tuple(each for each in operator.inputs if each is not None and not each.constant)


def _most_of(operator: Operator) -> float:
    """Return the best ratio that an operator's own tensors can hold, in decibels."""
    stored = [each for each in (*operator.inputs, *operator.outputs) if each is not None]
    return min(_most(each) for each in stored if each.dtype in _STORED)


def _most(tensor: Tensor) -> float:
    """Return the ratio of a signal that fills a tensor's range, in decibels."""
    return np.iinfo(tensor.dtype).bits * _DECIBELS_A_BIT


def _decibels(signal: float, noise: float, tensor: Tensor) -> float:
    if noise == 0:
        return _most(tensor)
    # A layer that gives nothing but noise is as bad as one can be told to be.
    return min(_most(tensor), 10 * math.log10(max(signal, 1e-30) / noise))


def _short(name: str) -> str:
    """Return the part of a tensor's name that a person knows: its layer."""
    return name.split(";", 1)[0].removeprefix("functional_1/")
