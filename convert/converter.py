"""The TFLite converter, in a process of its own: it has been seen to crash and to hang.

`python -m convert.converter NETWORK.keras CALIBRATION.npz PRECISION RESULT.tflite`, started by
`convert.quantise`. The calibration holds an array per input of the network, [n, ...]; a network
with an input `state` is calibrated on the states it gives itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from convert.train import load_network
from edge.datatypes import Float32Array

Inputs = dict[str, Float32Array]

_OPERATORS = {
    "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
    "int16x8": (
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.int16,
    ),
}


def convert(network: keras.Model, calibration: Inputs, precision: str) -> bytes:
    """Quantise a network, the weights of convolutions per channel.

    Parameters
    ----------
    network
        Its outputs are named by `outputs_of`.
    calibration
        Typical inputs, float32 [n, ...] for each input but `state`.
    precision
        `int8`, or `int16x8`: 16-bit activations and 8-bit weights.
    """
    single = single_sample(network)
    samples = [
        {name: values[index : index + 1] for name, values in calibration.items()}
        for index in range(len(next(iter(calibration.values()))))
    ]
    if "state" in single.input:
        samples = closed_loop(single, samples)

    def representative() -> Iterator[Inputs]:
        yield from samples

    operators, dtype = _OPERATORS[precision]
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = converter.inference_output_type = dtype
    # Convolutions are quantised per channel. Dense layers are not: the Edge TPU's compiler is
    # not known to take that, and older runtimes answer wrongly (tflite-micro issue 2602).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001  # it has no public name
    return bytes(converter.convert())


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
    """Return what the outputs of one of `convert.models` are called."""
    return ["logits", "state"] if len(network.inputs) > 1 else ["embedding", "logits"]


def closed_loop(single: keras.Model, samples: list[Inputs]) -> list[Inputs]:
    """Give each sample the state that the sample before it left.

    The converter derives an input's scale from the values it was given and an output's from the
    values it saw. Here the first are the second, one step later, so that the state goes in and
    comes out with one scale and zero point. That needs two things: the float file whose
    arithmetic the calibration repeats, bit for bit, and a last step that is not the extreme.
    """
    data = tf.lite.TFLiteConverter.from_keras_model(single).convert()
    interpreter = tf.lite.Interpreter(
        model_content=data,
        experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    step = interpreter.get_signature_runner()
    state = np.zeros(single.input["state"].shape, np.float32)
    states = [state]
    for sample in samples:
        state = np.array(step(**sample, state=state)["state"])
        states.append(state)
    low, high = np.min(states, axis=(1, 2)), np.max(states, axis=(1, 2))
    steps = len(samples)
    while steps > 1 and (low[steps] < low[:steps].min() or high[steps] > high[:steps].max()):
        steps -= 1
    return [
        {**sample, "state": state}
        for sample, state in zip(samples[:steps], states[:steps], strict=True)
    ]


def main() -> None:
    """Convert as the command line says."""
    source, calibration, precision, result = sys.argv[1:]
    with np.load(calibration) as archive:
        inputs = {name: archive[name] for name in archive.files}
    Path(result).write_bytes(convert(load_network(Path(source)), inputs, precision))


if __name__ == "__main__":
    main()
