"""The gates on real files: a fair conversion passes, one that changed the answers does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from damage import with_doubled_scale
from learnable import barred

from convert import converter, head, models, parity, quantise, tflite
from convert.data import Data
from convert.gates import SAMPLES, ParityError
from convert.interface import Interface
from convert.parity import Converted

INTERFACE = Interface(size=24)
WHOLE_WALK = parity.STREAMS
"""As it is before `few_streams` shortens it for all other tests."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:\s+Warning. tf.lite.Interpreter is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
]


@pytest.fixture(scope="module")
def faces() -> Data:
    return Data(barred(300, seed=1), barred(SAMPLES, seed=2), "0" * 64)


def damaged(made: Converted, folder: Path, operator: int) -> Converted:
    file = folder / "frame.tflite"
    file.write_bytes(with_doubled_scale(made.file.read_bytes(), operator))
    return dataclasses.replace(made, file=file, signature=tflite.read(file).signature)


def measure(
    frame: Converted, faces: Data, head: Converted | None = None, **allowed: float
) -> parity.ParityRecord:
    return parity.measure(
        frame, head, INTERFACE, faces, head_precision="int16x8",
        allowed={name.replace("_", "-"): bar for name, bar in allowed.items()},
    )  # fmt: skip


def test_a_fair_conversion_passes_every_gate(converted: Converted, faces: Data) -> None:
    record = measure(converted, faces)
    parity.refuse(record)
    assert [each.name for each in record.gates] == [
        "samples",
        "agreement",
        "accuracy-drop",
        "logit-sqnr",
    ]
    assert (record.n, record.split) == (SAMPLES, "val")
    assert record.sha256 == {"frame": converted.signature.sha256}
    # Else there would be nothing to lose.
    assert record.figures["accuracy_float"] > 0.95


@pytest.mark.parametrize("operator", [0, 2, 5])
def test_one_layer_with_twice_its_scale_is_refused_by_name(
    converted: Converted, faces: Data, tmp_path: Path, operator: int
) -> None:
    record = measure(damaged(converted, tmp_path, operator), faces)
    with pytest.raises(ParityError) as refused:
        parity.refuse(record)
    assert refused.value.exit_code == 1
    assert "logit-sqnr" in str(refused.value)
    assert f"frame.tflite, operator {operator} " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.record.failed


def test_a_bar_lowered_by_name_lets_that_figure_pass_alone(
    converted: Converted, faces: Data, tmp_path: Path
) -> None:
    bad = damaged(converted, tmp_path, 0)
    assert "logit-sqnr" in [each.name for each in measure(bad, faces, agreement=0.0).failed]
    record = measure(bad, faces, logit_sqnr=-10)
    assert "logit-sqnr" not in [each.name for each in record.failed]
    assert [each.name for each in record.gates if each.allowed] == ["logit-sqnr"]


def test_too_few_samples_are_filled_up_from_train_and_said(
    converted: Converted,
) -> None:
    few = Data(barred(1990, seed=1), barred(14, seed=2), "0" * 64)
    record = measure(converted, few)
    assert (record.n, record.split) == (SAMPLES, "val and 1986 of train")
    short = Data(barred(20, seed=1), barred(14, seed=2), "0" * 64)
    assert "samples" in [each.name for each in measure(converted, short).failed]


@pytest.fixture(scope="module")
def heads(
    converted: Converted, faces: Data, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Converted]:
    """One head in both precisions, in a folder with the frame model."""
    keras.utils.set_random_seed(5)
    width = converted.network.outputs[0].shape[1]
    network = models.gru_step(width)
    # As it comes, untrained, it has two minds, and the smallest difference decides between them.
    network.set_weights([each / 2 for each in network.get_weights()])
    seen = quantise.embeddings(converted.network, faces, INTERFACE)[:1000]
    found = {}
    for precision in ("int16x8", "int8"):
        folder = tmp_path_factory.mktemp(precision)
        (folder / "frame.tflite").write_bytes(converted.file.read_bytes())
        quantised, floating = converter.convert(network, {"embedding": seen}, precision)  # type: ignore[arg-type]
        file = folder / "head.tflite"
        file.write_bytes(quantised)
        found[precision] = Converted(network, floating, file, tflite.read(file).signature)
    return found


def beside(frame: Converted, head: Converted) -> Converted:
    return dataclasses.replace(frame, file=head.file.with_name("frame.tflite"))


@pytest.mark.slow
def test_a_head_runs_free_for_ten_thousand_steps(
    converted: Converted,
    heads: dict[str, Converted],
    faces: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parity, "STREAMS", WHOLE_WALK)
    drift = {}
    for precision, made in heads.items():
        walk = parity.walked(beside(converted, made), made, INTERFACE, faces.val)
        assert walk.figures["head_steps"] == 10_000
        assert walk.figures["state_drift_end"] < 1.5 * walk.figures["state_drift"]
        drift[precision] = walk.figures["state_drift"]
        assert set(walk.seen[0]) == {"embedding", "state"}
    assert drift["int16x8"] < 0.01
    assert drift["int16x8"] < drift["int8"] < 0.1


def test_a_head_that_drifts_fails_its_gate(
    converted: Converted, heads: dict[str, Converted], faces: Data, tmp_path: Path
) -> None:
    made = heads["int16x8"]
    for name in ("frame.tflite", "head.tflite"):
        (tmp_path / name).write_bytes(made.file.with_name(name).read_bytes())
    file = tmp_path / "head.tflite"
    # The first dense layer of the step.
    file.write_bytes(with_doubled_scale(file.read_bytes(), 0))
    bad = dataclasses.replace(made, file=file, signature=tflite.read(file).signature)
    record = measure(beside(converted, bad), faces, bad)
    assert "state-drift" in [each.name for each in record.failed]
    with pytest.raises(ParityError, match=r"head\.tflite, operator 0 FULLY_CONNECTED"):
        parity.refuse(record)


def test_int8_heads_may_drift_three_times_as_far(
    converted: Converted, heads: dict[str, Converted], faces: Data
) -> None:
    made = heads["int8"]
    bars = [
        {each.name: each.bar for each in parity.measure(
            beside(converted, made), made, INTERFACE, faces,
            head_precision=precision,  # type: ignore[arg-type]
            allowed={},
        ).gates}["state-drift"]
        for precision in ("int16x8", "int8")
    ]  # fmt: skip
    assert bars == [0.01, 0.03]


def test_the_record_is_kept_as_json(converted: Converted, faces: Data) -> None:
    record = measure(converted, faces)
    assert msgspec.json.decode(msgspec.json.encode(record), type=parity.ParityRecord) == record


def test_a_float_head_runs_free_from_zero(heads: dict[str, Converted]) -> None:
    network = heads["int8"].network
    width = network.inputs[0].shape[1]
    _, (states,) = head.free_run(network, np.zeros((1, 3, width), np.float32))
    assert states.shape == (3, 1, 64)
