"""The networks, as Keras layers. Softmax is left to the device, which knows the temperature."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

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
    add, times = keras.layers.Add, keras.layers.Multiply

    def gate(name: str) -> keras.KerasTensor:
        seen = dense(HIDDEN, name=f"{name}_input")(embedding)
        kept = dense(HIDDEN, use_bias=False, name=f"{name}_state")(state)
        return keras.layers.Activation("sigmoid", name=name)(add()([seen, kept]))

    keep, reset = gate("update"), gate("reset")
    recalled = times()([reset, dense(HIDDEN, name="candidate_state")(state)])
    seen = dense(HIDDEN, name="candidate_input")(embedding)
    candidate = keras.layers.Activation("tanh", name="candidate")(add()([seen, recalled]))
    new_state = add(name="new_state")(
        [times()([keep, state]), times()([keras.ops.subtract(1.0, keep), candidate])]
    )
    logits = dense(len(LABELS), name="logits")(new_state)
    return keras.Model([embedding, state], [logits, new_state], name="gru_step")


def begin_as_average(step: keras.Model, frame: keras.Model) -> None:
    """Set a head's weights so that it averages the frame model's own logits over time.

    One unit of the state follows each label: its candidate is the frame model's logit for it,
    scaled to where tanh is nearly straight, and its update gate is open by a constant. Training
    starts from there instead of having to find the classifier again through the recurrence,
    which from random weights it did less well than the frame model alone (60.5 % of steady steps against
    62 %).
    """
    kernel, bias = frame.get_layer("logits").get_weights()
    units = slice(0, len(bias))
    weights = {layer.name: layer.get_weights() for layer in step.layers}
    weights["candidate_input"][0][:, units] = kernel / _STRAIGHT
    weights["candidate_input"][1][units] = bias / _STRAIGHT
    weights["candidate_state"][0][:, units] = 0
    for name in ("update_input", "update_state"):
        weights[name][0][:, units] = 0
    weights["update_input"][1][units] = _KEEP_LOGIT
    weights["logits"][0][:] = 0
    weights["logits"][0][units] = _STRAIGHT * np.eye(len(bias))
    for layer in step.layers:
        layer.set_weights(weights[layer.name])


_STRAIGHT = 6.0
"""Logits are rarely beyond this, so divided by it they stay where tanh is nearly straight."""

_KEEP_LOGIT = 1.0
"""The gate keeps sigmoid(1) = 73 % of the state a step: at 10 Hz it forgets over 0.3 s."""
