"""The networks, as Keras layers. Softmax is left to the device, which knows the temperature."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from convert.data import LABELS, TILE

EMBEDDING = 128
HIDDEN = 64
"""Units of the head; one of 32 was too restless at 5 frames a second (docs/training.md)."""

_MOMENTUM = 0.9
"""Of the statistics of batch normalisation: the means settle within an epoch."""


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


@keras.saving.register_keras_serializable("mien")
class Sum(keras.layers.Layer):  # type: ignore[misc]  # keras publishes no types
    """The sum of two tensors.

    `keras.layers.Add` takes a term of one sample for a bias: the converted file then has
    reshapes in it, and the 16-bit quantiser crashed on some networks.
    """

    def call(self, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Return the sum."""
        return tf.add(first, second)


def gru_step(width: int = EMBEDDING, labels: int = len(LABELS)) -> keras.Model:
    """Return one step of a gated recurrent unit and the scores it gives.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, equations 5
    to 8, with the reset gate applied after the recurrent product (the form of cuDNN, in which
    that product is one dense layer). The paper's `z` keeps the old state, as here. Six dense
    layers and no recurrent layer: a converted `keras.layers.GRU` becomes a WHILE loop or falls
    back to float. The inputs are `embedding`, float32 [n, width], and `state`, float32 [n, 64],
    within -1 to 1 and zero for a face never seen; the outputs are `logits`, [n, labels], and
    the new `state`.
    """
    dense = keras.layers.Dense
    # Orthogonal, so that over many steps gradients neither vanish nor explode: Saxe et al., "Exact
    # solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014.
    recurrent = functools.partial(dense, HIDDEN, kernel_initializer="orthogonal")
    embedding = keras.Input((width,), name="embedding")
    state = keras.Input((HIDDEN,), name="state")
    times = keras.layers.Multiply

    def gate(name: str) -> keras.KerasTensor:
        seen = dense(HIDDEN, name=f"{name}_input")(embedding)
        kept = recurrent(use_bias=False, name=f"{name}_state")(state)
        return keras.layers.Activation("sigmoid", name=name)(Sum()(seen, kept))

    keep, reset = gate("update"), gate("reset")
    recalled = times()([reset, recurrent(name="candidate_state")(state)])
    seen = dense(HIDDEN, name="candidate_input")(embedding)
    candidate = keras.layers.Activation("tanh", name="candidate")(Sum()(seen, recalled))
    kept = times()([keep, state])
    new = times()([keras.ops.subtract(1.0, keep), candidate])
    new_state = Sum(name="new_state")(kept, new)
    logits = dense(labels, name="logits")(new_state)
    return keras.Model([embedding, state], [logits, new_state], name="gru_step")


def residual(
    widths: Sequence[int] = (32, 64, 96), depths: Sequence[int] = (1, 2, 2), name: str = "residual"
) -> keras.Model:
    """Return a residual network of plain 3x3 convolutions.

    He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2, with the
    shortcuts of He et al., "Bag of Tricks for Image Classification with Convolutional Neural
    Networks", 2019, figure 2c (ResNet-D), for 48x48: the first stage works at 24x24.

    Parameters
    ----------
    widths
        Channels of each stage; each but the first halves the resolution.
    depths
        How many blocks of two convolutions each stage has.
    name
        Of the network.

    Returns
    -------
    keras.Model
        From tiles, float32 [n, 48, 48, 1] as `data.normalise` gives them, to `embedding`,
        [n, 128], none of it negative, and `logits`, [n, labels], before softmax.
    """
    tile = keras.Input((TILE, TILE, 1), name="face")
    features = _convolved(tile, widths[0] // 2, name="stem_1")
    features = _convolved(features, widths[0], stride=2, name="stem_2")
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for block in range(1, depth + 1):
            named = f"block_{stage}_{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            inner = _convolved(features, width, stride=stride, name=f"{named}_1")
            inner = _convolved(inner, width, name=f"{named}_2", active=False)
            if stride > 1:
                features = keras.layers.AveragePooling2D(2, name=f"{named}_pool")(features)
                features = _convolved(features, width, side=1, name=f"{named}_0", active=False)
            features = keras.layers.ReLU(name=named)(Sum(name=f"{named}_sum")(inner, features))
    return _recognising(tile, features, name)


def teacher() -> keras.Model:
    """Return `residual` of twice the width: to teach (`--teacher`), too large to ship."""
    return residual((64, 128, 192), name="teacher")


def inverted() -> keras.Model:
    """Return a network of inverted residuals with linear bottlenecks.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, section 3.3,
    for 48x48, with ReLU6 as there. Inputs and outputs are those of `residual`.
    """
    tile = keras.Input((TILE, TILE, 1), name="face")
    features = _convolved(tile, 32, stride=2, name="stem", ceiling=6)
    for stage, (width, times, depth) in enumerate(((32, 4, 2), (56, 6, 3), (88, 5, 4)), 1):
        for block in range(1, depth + 1):
            named = f"block_{stage}_{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            grown = times * features.shape[-1]
            inner = _convolved(features, grown, side=1, name=f"{named}_1", ceiling=6)
            inner = _depthwise(inner, stride=stride, name=f"{named}_2", ceiling=6)
            inner = _convolved(inner, width, side=1, name=f"{named}_3", active=False)
            kept = stride == 1 and features.shape[-1] == width
            features = Sum(name=named)(inner, features) if kept else inner
    return _recognising(tile, features, "inverted", ceiling=6)


_STACK = (
    ("stem", 16, 1), ("stage_1_1", 32, 2), ("stage_1_2", 32, 1), ("stage_1_3", 32, 1),
    ("stage_2_1", 64, 2), ("stage_2_2", 64, 1), ("stage_2_3", 64, 1), ("stage_2_4", 64, 1),
    ("stage_3_1", 96, 2), ("stage_3_2", 96, 1), ("stage_3_3", 96, 1), ("stage_3_4", 96, 1),
)  # fmt: skip
"""The convolutions of `plain`: name, channels, stride."""


def plain() -> keras.Model:
    """Return a stack of 3x3 convolutions; inputs and outputs are those of `residual`.

    It is what `fused` makes of `branched`, and cannot be trained as well by itself.
    """
    tile = keras.Input((TILE, TILE, 1), name="face")
    features = tile
    for name, width, stride in _STACK:
        features = keras.layers.Conv2D(
            width, 3, stride, padding="same", activation="relu", name=name
        )(features)
    return _recognising(tile, features, "plain")


def branched() -> keras.Model:
    """Return `plain` as it is trained, each convolution with its branches.

    Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021, section 3.2: beside each
    convolution of 3x3 one of 1x1 and, where the shape stays, the input itself, each with a batch
    normalisation of its own, are summed.
    """
    tile = keras.Input((TILE, TILE, 1), name="face")
    features = tile
    for name, width, stride in _STACK:
        total = Sum(name=f"{name}_sum")(
            _convolved(features, width, stride=stride, name=f"{name}_3x3", active=False),
            _convolved(features, width, side=1, stride=stride, name=f"{name}_1x1", active=False),
        )
        if stride == 1 and features.shape[-1] == width:
            same = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_0x0_norm")
            total = Sum(name=f"{name}_total")(total, same(features))
        features = keras.layers.ReLU(name=name)(total)
    return _recognising(tile, features, "branched")


def fused(trained: keras.Model) -> keras.Model:
    """Return `plain` with the weights that answer as a trained `branched` does.

    Ding et al., section 3.3: a normalisation scales and shifts each channel, a 1x1 convolution
    is a 3x3 one with zeros around, and the input is convolved with the unit matrix.
    """
    made = plain()
    for name, width, stride in _STACK:
        kernel, bias = 0, 0
        for branch in ("3x3", "1x1", "0x0"):
            if f"{name}_{branch}_norm" not in {layer.name for layer in trained.layers}:
                continue
            norm = trained.get_layer(f"{name}_{branch}_norm")
            gamma, beta, mean, variance = (np.asarray(each) for each in norm.get_weights())
            gain = gamma / np.sqrt(variance + norm.epsilon)
            taps = (
                np.eye(width, dtype=np.float32)[None, None]
                if branch == "0x0"
                else trained.get_layer(f"{name}_{branch}").get_weights()[0]
            )
            if branch != "3x3":
                # With stride 2, `same` pads behind alone: 1x1 sees what the first tap sees.
                before = 1 if stride == 1 else 0
                taps = np.pad(taps, ((before, 2 - before),) * 2 + ((0, 0),) * 2)
            kernel, bias = kernel + taps * gain, bias + beta - mean * gain
        made.get_layer(name).set_weights([kernel, bias])
    for name in ("embedding_map", "embedding_map_norm", "logits"):
        made.get_layer(name).set_weights(trained.get_layer(name).get_weights())
    return made


def foretelling(network: keras.Model, kinds: int) -> keras.Model:
    """Return a network as far as its logits and, behind them, scores of kinds of votes, if any.

    The layers are the network's own; what foretells is one more dense layer.
    """
    scores = network.get_layer("logits")
    if not kinds:
        return keras.Model(network.input, scores.output)
    foretold = keras.layers.Dense(kinds, name="crowd")(scores.input)
    both = keras.layers.Concatenate(name="taught")([scores.output, foretold])
    return keras.Model(network.input, both)


def _convolved(
    features: keras.KerasTensor,
    width: int,
    *,
    name: str,
    side: int = 3,
    stride: int = 1,
    active: bool = True,
    ceiling: float | None = None,
) -> keras.KerasTensor:
    """Convolve, normalise, and unless it is not `active` rectify, at most to `ceiling`."""
    convolved = keras.layers.Conv2D(
        width, side, stride, padding="same", use_bias=False, name=name,
        kernel_initializer="he_normal",
    )(features)  # fmt: skip
    normal = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(convolved)
    return keras.layers.ReLU(ceiling, name=f"{name}_relu")(normal) if active else normal


def _depthwise(
    features: keras.KerasTensor, *, name: str, stride: int, ceiling: float
) -> keras.KerasTensor:
    """Convolve each channel by itself, normalise and rectify."""
    convolved = keras.layers.DepthwiseConv2D(
        3, stride, padding="same", use_bias=False, name=name, depthwise_initializer="he_normal"
    )(features)
    normal = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(convolved)
    return keras.layers.ReLU(ceiling, name=f"{name}_relu")(normal)


def _recognising(
    tile: keras.KerasTensor, features: keras.KerasTensor, name: str, ceiling: float | None = None
) -> keras.Model:
    """Finish a network: a map of features of the embedding's width, its mean, and the scores."""
    features = _convolved(features, EMBEDDING, side=1, name="embedding_map", ceiling=ceiling)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(features)
    kept = keras.layers.Dropout(0.2, name="dropout")(embedding)
    logits = keras.layers.Dense(len(LABELS), name="logits")(kept)
    return keras.Model(tile, [embedding, logits], name=name)


FRAME_MODELS: dict[str, Callable[[], keras.Model]] = {
    "kalambate": kalambate,
    "residual": residual,
    "inverted": inverted,
    "branched": branched,
    "teacher": teacher,
}
"""Every frame model by the name `mien-convert train --model` knows it by."""

DEPLOYED: dict[str, Callable[[keras.Model], keras.Model]] = {"branched": fused}
"""What a trained model is made into where it is not kept as it was trained."""
