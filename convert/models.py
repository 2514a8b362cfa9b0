"""The networks, as Keras layers. Softmax is left to the device, which knows the temperature."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from convert.data import LABELS, TILE

EMBEDDING = 128
HIDDEN = 32


def kalambate() -> keras.Model:
    """Return the network of Kalambate et al.: three convolutions, two dense layers.

    The input is a batch of tiles, float32 [n, 48, 48, 1], normalised by `data.normalise`. The
    outputs are the 128 activations of the first dense layer, `embedding`, and the scores before
    softmax, `logits`. Dropout works only while training.
    """
    tile = keras.Input((TILE, TILE, 1), name="face")
    features = tile
    for filters, side in ((16, 5), (32, 5), (64, 3)):
        features = keras.layers.Conv2D(filters, side, padding="same", activation="relu")(features)
        features = keras.layers.MaxPooling2D()(features)
    features = keras.layers.Dropout(0.25)(keras.layers.Flatten()(features))
    embedding = keras.layers.Dense(EMBEDDING, activation="relu", name="embedding")(features)
    logits = keras.layers.Dense(len(LABELS), name="logits")(keras.layers.Dropout(0.5)(embedding))
    return keras.Model(tile, [embedding, logits], name="kalambate")


FRAME_MODELS: dict[str, Callable[[], keras.Model]] = {"kalambate": kalambate}
"""Every frame model by the name `mien-convert train --model` knows it by."""


@keras.saving.register_keras_serializable("mien")
class Sum(keras.layers.Layer):  # type: ignore[misc]  # keras publishes no types
    """The sum of two tensors.

    `keras.layers.Add` takes a term of one sample for a bias: the converted file then has
    reshapes in it, and the 16-bit quantiser crashed on some networks.
    """

    def call(self, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Return the sum."""
        return tf.add(first, second)


def gru_step() -> keras.Model:
    """Return one step of a gated recurrent unit and the scores it gives.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, equations 5
    to 8, with the reset gate applied after the recurrent product (the form of cuDNN, in which
    that product is one dense layer). The paper's `z` keeps the old state, as here. Six dense
    layers and no recurrent layer: a converted `keras.layers.GRU` becomes a WHILE loop or falls
    back to float. The inputs are `embedding`, float32 [n, 128], and `state`, float32 [n, 32],
    within -1 to 1 and zero for a face never seen; the outputs are `logits`, [n, labels], and
    the new `state`.
    """
    dense = keras.layers.Dense
    embedding = keras.Input((EMBEDDING,), name="embedding")
    state = keras.Input((HIDDEN,), name="state")
    times = keras.layers.Multiply

    def gate(name: str) -> keras.KerasTensor:
        seen = dense(HIDDEN, name=f"{name}_input")(embedding)
        kept = dense(HIDDEN, use_bias=False, name=f"{name}_state")(state)
        return keras.layers.Activation("sigmoid", name=name)(Sum()(seen, kept))

    keep, reset = gate("update"), gate("reset")
    recalled = times()([reset, dense(HIDDEN, name="candidate_state")(state)])
    seen = dense(HIDDEN, name="candidate_input")(embedding)
    candidate = keras.layers.Activation("tanh", name="candidate")(Sum()(seen, recalled))
    kept = times()([keep, state])
    new = times()([keras.ops.subtract(1.0, keep), candidate])
    new_state = Sum(name="new_state")(kept, new)
    logits = dense(len(LABELS), name="logits")(new_state)
    return keras.Model([embedding, state], [logits, new_state], name="gru_step")
