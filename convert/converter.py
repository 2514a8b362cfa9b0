"""The TFLite converter, in a process of its own: it has been seen to crash and to hang.

`python -m convert.converter REQUEST`, started by `convert.quantise`; see `convert.child`. A head
is calibrated on the states it gives itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import msgspec
import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils

from convert import child
from convert.errors import ConversionError
from convert.train import load_network
from edge.datatypes import Float32Array

Inputs = dict[str, Float32Array]
Precision = Literal["int8", "int16x8"]

QUANTISED, FLOATING = "quantised.tflite", "float.tflite"
"""What is left beside the request. In the float file each tensor has the name that the same
tensor has in the quantised one, so that they can be compared."""

_A_SAMPLE = 4096
"""So many values of each tensor and sample decide a percentile."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to convert.

    Attributes
    ----------
    network
        A `.keras` file of a frame model or a head, named as `convert.sources.Source` says.
    calibration
        An .npz with typical inputs, float32 [n, ...], for each input but the states.
    precision
        `int8`, or `int16x8`: 16-bit activations and 8-bit weights.
    percentile
        Which share of each tensor's values its range holds, in percent; None for all of them.
        Inputs and states keep all. 16 bits have room for outliers, so it is for int8 alone.
    """

    network: str
    calibration: str
    precision: Precision
    percentile: float | None = None


def convert(
    network: keras.Model, calibration: Inputs, precision: Precision, percentile: float | None = None
) -> tuple[bytes, bytes]:
    """Quantise a network, the weights of convolutions per channel.

    Parameters
    ----------
    network, calibration, precision, percentile
        As in `Request`, read.

    Returns
    -------
    tuple of bytes
        The quantised file, and the float one it was made from.

    Raises
    ------
    ConversionError
        The calibration gives other inputs than the network takes.
    """
    single = single_sample(network)
    samples = _samples(single, calibration)
    states = state_names(single)
    if states:
        samples = closed_loop(single, samples)
    calibrated = _calibrated(single, samples)
    if precision == "int8":
        ranged = _ranged(calibrated, states, samples, percentile)
        quantised = mlir_quantize(
            ranged,
            input_data_type=tf.int8,
            output_data_type=tf.int8,
            disable_per_channel_for_dense_layers=True,
        )
        return bytes(quantised), calibrated
    converter = _converter(single, samples)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    converter.inference_input_type = converter.inference_output_type = tf.int16
    return bytes(converter.convert()), calibrated


def single_sample(network: keras.Model) -> keras.Model:
    """Return a network for one sample at a time, with inputs and outputs by name.

    With a batch that may vary, Flatten adds operators that work out shapes.
    """
    inputs = {
        tensor.name: keras.Input(batch_shape=(1, *tensor.shape[1:]), name=tensor.name)
        for tensor in network.inputs
    }
    outputs = network(list(inputs.values()) if len(inputs) > 1 else next(iter(inputs.values())))
    return keras.Model(inputs, dict(zip(outputs_of(network), outputs, strict=True)))


def outputs_of(network: keras.Model) -> list[str]:
    """Return what the outputs of a frame model or a head are called, in their order."""
    states = [tensor.name for tensor in network.inputs[1:]]
    return ["logits", *states] if states else ["embedding", "logits"]


def state_names(single: keras.Model) -> list[str]:
    """Return the states of what `single_sample` made: an input and an output have the name."""
    return [name for name in single.input if name in single.output]


def closed_loop(single: keras.Model, samples: list[Inputs]) -> list[Inputs]:
    """Give each sample the states that the sample before it left.

    The converter derives an input's scale from the values it was given and an output's from the
    values it saw. Here the first are the second, one step later, so that a state goes in and
    comes out with one scale and zero point. That needs two things: the float file whose
    arithmetic the calibration repeats, bit for bit, and a last step that is not the extreme.
    """
    data = tf.lite.TFLiteConverter.from_keras_model(single).convert()
    step = _interpreter(data).get_signature_runner()
    names = state_names(single)
    before = {name: np.zeros(single.input[name].shape, np.float32) for name in names}
    seen = [before]
    for sample in samples:
        answer = step(**sample, **before)
        before = {name: np.array(answer[name]) for name in names}
        seen.append(before)
    low = np.array([[state[name].min() for name in names] for state in seen])
    high = np.array([[state[name].max() for name in names] for state in seen])
    steps = len(samples)
    while steps > 1 and (
        (low[steps] < low[:steps].min(axis=0)).any()
        or (high[steps] > high[:steps].max(axis=0)).any()
    ):
        steps -= 1
    return [
        {**sample, **state} for sample, state in zip(samples[:steps], seen[:steps], strict=True)
    ]


def _samples(single: keras.Model, calibration: Inputs) -> list[Inputs]:
    """Return the calibration one sample at a time."""
    for name, values in calibration.items():
        wanted = single.input[name].shape[1:] if name in single.input else None
        if values.shape[1:] != wanted:
            raise ConversionError(
                f"the calibration's {name} has the shape {list(values.shape[1:])}, the network "
                f"takes {None if wanted is None else list(wanted)}; calibrate with inputs of its "
                "own"
            )
    return [
        {name: values[index : index + 1] for name, values in calibration.items()}
        for index in range(len(next(iter(calibration.values()))))
    ]


def _converter(single: keras.Model, samples: list[Inputs]) -> Any:  # noqa: ANN401  # no types
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(samples)
    # Convolutions are quantised per channel. Dense layers are not: the Edge TPU's compiler is
    # not known to take that, and older runtimes answer wrongly (tflite-micro issue 2602).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001  # it has no public name
    return converter


def _calibrated(single: keras.Model, samples: list[Inputs]) -> bytes:
    """Return the float file with the range of each tensor in it."""
    converter = _converter(single, samples)
    converter._experimental_calibrate_only = True  # noqa: SLF001  # it has no public name
    return bytes(converter.convert())


def _ranged(
    calibrated: bytes, states: list[str], samples: list[Inputs], percentile: float | None
) -> bytes:
    """Return a calibrated file with the ranges that its tensors really have.

    The converter looks at tensors after its kernels have reused them: it takes an operand of a
    sum that was written in its place for the sum. And it knows nothing of states, which must
    have one range on their way in and out.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(calibrated))
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    inputs = {each.name.decode(): each.tensorIndex for each in signature.inputs}
    outputs = {each.name.decode(): each.tensorIndex for each in signature.outputs}
    kept = {*inputs.values(), *(outputs[name] for name in states)}
    # The interpreter has more tensors than the file: what its kernels work in.
    others = [n for n, each in enumerate(graph.tensors) if n not in kept and _has_range(each)]
    for index, (low, high) in _seen(calibrated, samples, others, percentile):
        # The range of what is never negative, as after ReLU, goes on starting at zero.
        _set_range(graph.tensors[index], min(low, 0.0), max(high, 0.0))
    for name in states:
        pair = [graph.tensors[side[name]] for side in (inputs, outputs)]
        low = min(float(tensor.quantization.min[0]) for tensor in pair)
        high = max(float(tensor.quantization.max[0]) for tensor in pair)
        for tensor in pair:
            _set_range(tensor, low, high)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _seen(
    calibrated: bytes, samples: list[Inputs], tensors: list[int], percentile: float | None
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Run the float file; give the range of each tensor over all samples, by its index."""
    interpreter = _interpreter(calibrated, experimental_preserve_all_tensors=True)
    runner = interpreter.get_signature_runner()
    found: dict[int, list[Float32Array]] = {index: [] for index in tensors}
    # Drawn, for every eighth value would be the same channel of eight each time.
    random = np.random.default_rng(0)
    for sample in samples:
        runner(**sample)
        for index, values in found.items():
            flat = interpreter.get_tensor(index).ravel()
            if percentile is None:
                flat = np.array([flat.min(), flat.max()])
            elif flat.size > _A_SAMPLE:
                flat = flat[random.integers(flat.size, size=_A_SAMPLE)]
            values.append(flat)
    ends = (0, 100) if percentile is None else (100 - percentile, percentile)
    for index, values in found.items():
        low, high = np.percentile(np.concatenate(values), ends)
        yield index, (float(low), float(high))


def _interpreter(data: bytes, **options: bool) -> Any:  # noqa: ANN401  # no types
    """Return an interpreter with the arithmetic of the calibration."""
    interpreter = tf.lite.Interpreter(
        model_content=data,
        experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
        **options,
    )
    interpreter.allocate_tensors()
    return interpreter


def _has_range(tensor: Any) -> bool:  # noqa: ANN401  # generated
    return tensor.quantization is not None and tensor.quantization.min is not None


def _set_range(tensor: Any, low: float, high: float) -> None:  # noqa: ANN401  # generated
    tensor.quantization.min, tensor.quantization.max = [float(low)], [float(high)]


def _do(request: Request, folder: Path) -> None:
    with np.load(request.calibration) as archive:
        inputs = {name: archive[name] for name in archive.files}
    made = convert(
        load_network(Path(request.network)), inputs, request.precision, request.percentile
    )
    for name, data in zip((QUANTISED, FLOATING), made, strict=True):
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    child.work(Request, _do)
