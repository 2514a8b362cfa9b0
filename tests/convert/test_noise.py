"""Noise, layer by layer: whoever is to blame is named."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from damage import with_doubled_scale

from convert import gates, noise
from convert.parity import Converted


def measured(made: Converted, quantised: bytes | None = None) -> dict[str, gates.LayerNoise]:
    random = np.random.default_rng(4)
    samples = [{"face": random.uniform(-1, 1, (1, 24, 24, 1)).astype(np.float32)} for _ in range(8)]
    data = made.file.read_bytes() if quantised is None else quantised
    return {each.operator: each for each in noise.layers(made.floating, data, samples)}


def test_every_operator_is_measured_in_its_order(converted: Converted) -> None:
    found = measured(converted)
    assert [name.split()[1] for name in found] == [
        "CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED",
        "FULLY_CONNECTED",
    ]  # fmt: skip
    # No better than eight bits can be, and none that is mostly noise.
    assert all(15 < each.sqnr_db <= 8 * 20 * math.log10(2) + 0.1 for each in found.values())


@pytest.mark.parametrize("layer", ["0 CONV_2D", "2 CONV_2D", "5 FULLY_CONNECTED"])
def test_a_layer_that_answers_twice_too_much_is_the_culprit(
    converted: Converted, layer: str
) -> None:
    damaged = with_doubled_scale(converted.file.read_bytes(), int(layer.split(maxsplit=1)[0]))
    found = measured(converted, damaged)
    assert gates.culprit(tuple(found.values())).operator == layer
    # An error as large as the signal is a ratio of one.
    assert found[layer].sqnr_db == pytest.approx(0, abs=1.5)
