"""Drawn faces and the bytes of golden vectors."""

from __future__ import annotations

import io
import time
from dataclasses import fields

import numpy as np
import pytest

from convert import golden
from edge.goldens import Goldens


def test_drawn_faces_repeat_with_their_seed_and_differ() -> None:
    first, again = (golden.draw_face(np.random.default_rng(5)) for _ in range(2))
    other = golden.draw_face(np.random.default_rng(6))
    assert first.shape == (48, 48)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert np.abs(first.astype(int) - other).mean() > 5


def test_a_schedule_shows_every_face_and_begins_afresh() -> None:
    order, resets = golden.schedule(np.random.default_rng(0))
    assert len(order) == len(resets) == 1024
    assert set(order.tolist()) == set(range(golden.FACES))
    assert resets[0]
    assert 1 < resets.sum() < 20


def test_the_same_goldens_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    order, resets = golden.schedule(np.random.default_rng(0))
    logits = np.zeros((4, 7), np.float32)
    goldens = Goldens(np.zeros((4, 48, 48), np.uint8), order, resets, logits, logits, 0.1, 0.2)
    first = golden.to_bytes(goldens)
    later = time.time() + 1e6
    monkeypatch.setattr(time, "time", lambda: later)
    assert golden.to_bytes(goldens) == first
    with np.load(io.BytesIO(first)) as archive:
        assert set(archive.files) == {field.name for field in fields(Goldens)}
        assert float(archive["head_tolerance"]) == 0.2
