"""A network and its twin in PyTorch: the same answers, the weights go both ways."""

from __future__ import annotations

import numpy as np
import pytest
from optional import needed

pytest.importorskip("tensorflow")
torch = needed("torch")

import keras
from test_models import shaken

from convert import models
from convert.errors import RunError
from convert.twin import Twin


def faces(count: int = 4, size: int = 48) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.5, (count, size, size, 1)).astype(np.float32)


def answer(twin: Twin, seen: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return twin.eval()(torch.from_numpy(seen).permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize("name", sorted(models.FRAME_MODELS))
def test_a_twin_answers_as_its_network(name: str) -> None:
    network = shaken(models.FRAME_MODELS[name]())
    wanted = np.asarray(network(faces())[1])
    assert answer(Twin(network), faces()) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_the_embedding_can_be_had_too() -> None:
    network = shaken(models.residual())
    wanted = np.asarray(network(faces())[0])
    assert answer(Twin(network, "embedding"), faces()) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("name", sorted(models.FRAME_MODELS))
def test_weights_come_back_as_they_went(name: str) -> None:
    network = shaken(models.FRAME_MODELS[name]())
    before = network.get_weights()
    twin = Twin(network)
    network.set_weights([np.zeros_like(each) for each in before])
    twin.write(network)
    for one, other in zip(before, network.get_weights(), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("size", [36, 40, 47])
def test_padding_is_that_of_keras_at_any_size(size: int) -> None:
    tile = keras.Input((size, size, 1))
    inner = keras.layers.Conv2D(4, 3, 2, padding="same")(tile)
    inner = keras.layers.DepthwiseConv2D(5, 1, padding="same", activation="relu")(inner)
    inner = keras.layers.Conv2D(3, 3, padding="valid", activation="relu6")(inner)
    network = keras.Model(tile, keras.layers.GlobalAveragePooling2D(name="logits")(inner))
    twin = Twin(network)
    wanted = np.asarray(network(faces(size=size)))
    assert answer(twin, faces(size=48)).shape == (4, 3)
    assert answer(twin, faces(size=size)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "layer", [keras.layers.LayerNormalization(), keras.layers.Conv2D(2, 3, activation="tanh")]
)
def test_a_layer_without_a_twin_is_named(layer: object) -> None:
    tile = keras.Input((8, 8, 1))
    end = keras.layers.GlobalAveragePooling2D(name="logits")
    with pytest.raises(RunError, match=r"layer '.*PyTorch cannot train here"):
        Twin(keras.Model(tile, end(layer(tile))))  # type: ignore[operator]  # a layer
