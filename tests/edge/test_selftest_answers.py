"""The models that run are those they should be, and answer as they should."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edge import goldens
from edge.boards import UNKNOWN
from edge.networks import StreamNetworks
from edge.pipeline import load_models
from edge.selftest import answers
from edge.selftest.subject import Subject
from edge.settings import Settings

MODELS = load_models(Settings())
SUBJECT = Subject(Settings(), UNKNOWN, MODELS)


def test_whose_bundle_runs_is_said() -> None:
    (check,) = answers.bundles(SUBJECT)
    assert check.verdict == "passed"
    assert MODELS.bundle.ident in check.text
    assert "no bundle_key" in check.text


def test_with_a_key_its_name_is_said() -> None:
    settings = msgspec.structs.replace(Settings(), bundle_key="owner.pem")
    (check,) = answers.bundles(replace(SUBJECT, settings=settings))
    assert "signed by owner.pem" in check.text


@pytest.mark.parametrize(("scope", "steps"), [("boot", 50), ("full", 1000)])
def test_golden_vectors_are_few_at_boot_and_all_on_demand(
    scope: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    check = goldens.check

    def counted(*args: object, **kwargs: object) -> goldens.GoldenResult:
        result = check(*args, **kwargs)  # type: ignore[arg-type]
        seen.append(result.steps)
        return result

    monkeypatch.setattr(goldens, "check", counted)
    found = list(answers.golden(replace(SUBJECT, scope=scope)))
    assert [each.verdict for each in found] == ["passed", "passed"]
    assert (seen[0] == steps) if scope == "boot" else (seen[0] >= steps)


def test_a_runtime_that_answers_otherwise_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    step = StreamNetworks.step

    def twisted(self: StreamNetworks, *args: object) -> object:
        logits, state = step(self, *args)  # type: ignore[arg-type]
        return np.flip(logits).copy(), state

    monkeypatch.setattr(StreamNetworks, "step", twisted)
    frame, head = answers.golden(replace(SUBJECT, scope="boot"))
    assert (frame.verdict, head.verdict) == ("passed", "failed")
    assert head.measured is not None
    assert head.budget is not None
    assert head.measured > head.budget
    assert "[runtime] library" in head.text
