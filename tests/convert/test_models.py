"""The frame models: their budget, their outputs, and what the Edge TPU makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from convert import check, converter, inspect, models, train_command
from convert.data import LABELS

SHIPPABLE = sorted(set(models.FRAME_MODELS) - {"teacher"})


def kept(name: str) -> keras.Model:
    """Return a network as it is kept after training."""
    network = models.FRAME_MODELS[name]()
    return models.DEPLOYED.get(name, lambda same: same)(network)


def shaken(network: keras.Model, seed: int = 0) -> keras.Model:
    """Give every weight a value that training might have; return the network."""
    random = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            ranges = ((0.5, 1), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5))
            layer.set_weights([random.uniform(*each, shape) for each in ranges])
    return network


def test_the_command_line_knows_every_network() -> None:
    assert set(train_command.NETWORKS) == set(models.FRAME_MODELS)


@pytest.mark.parametrize("name", sorted(models.FRAME_MODELS))
def test_a_network_gives_an_embedding_then_logits(name: str) -> None:
    network = models.FRAME_MODELS[name]()
    assert [tensor.shape for tensor in network.outputs] == [(None, 128), (None, len(LABELS))]
    assert {"embedding", "logits"} <= {layer.name for layer in network.layers}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SHIPPABLE)
def test_a_network_is_within_the_budget_and_fits_the_edge_tpu(name: str, tmp_path: Path) -> None:
    network = kept(name)
    faces = np.random.default_rng(0).normal(0, 0.5, (8, 48, 48, 1)).astype(np.float32)
    quantised, _ = converter.convert(network, {"face": faces}, "int8")
    file = tmp_path / "frame.tflite"
    file.write_bytes(quantised)
    assert network.count_params() <= 500_000
    assert inspect.parse(quantised, source="it").macs <= 45_000_000
    report = check.check(str(file), ("coral",), limit_s=60)
    assert report.fine, check.render(report)


def test_a_stack_answers_as_its_branches_do() -> None:
    faces = np.random.default_rng(1).normal(0, 0.5, (4, 48, 48, 1)).astype(np.float32)
    trained = shaken(models.branched())
    single = models.fused(trained)
    for wanted, found in zip(trained(faces), single(faces), strict=True):
        assert np.abs(wanted).max() > 1e-3
        assert np.asarray(found) == pytest.approx(np.asarray(wanted), rel=1e-3, abs=1e-3)
    assert not any("1x1" in layer.name for layer in single.layers)
