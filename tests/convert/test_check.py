"""`mien-convert check`: verdicts for boards, the compiler's word, and the text and JSON of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tflite_files import Step, Value, build, small_network

from convert import check, compiler, inspect
from convert.check import Report
from convert.errors import ConversionError
from convert.targets import Verdict, precision
from edge import bundle

FACE = Value([1, 8, 8, 4])

# Of version 16.0, as people have posted it: https://github.com/google-coral/edgetpu/issues/490.
LOG = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 141 ms.

Input model: model.tflite
Input size: 5.11MiB
Output model: model_edgetpu.tflite
Output size: 5.09MiB
On-chip memory used for caching model parameters: 18.00KiB
On-chip memory remaining for caching model parameters: 6.86MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 4
Operation log: model_edgetpu.log
{outcome}
Operator                       Count      Status

{rows}
Compilation child process completed within timeout period.
Compilation succeeded!
"""
PARTLY = """
Model successfully compiled but not all operations are supported by the Edge TPU. A percentage \
of the model will instead run on the CPU, which is slower. If possible, consider updating your \
model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 3
Number of operations that will run on CPU: 1
"""
ALL_MAPPED = """\
CONV_2D                        1          Mapped to Edge TPU
MAX_POOL_2D                    1          Mapped to Edge TPU
RESHAPE                        1          Mapped to Edge TPU
FULLY_CONNECTED                1          Mapped to Edge TPU"""
ONE_LEFT = ALL_MAPPED.replace(
    "FULLY_CONNECTED                1          Mapped to Edge TPU",
    "FULLY_CONNECTED                1          Operation version not supported",
)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], str]:
    def saved(data: bytes) -> str:
        file = tmp_path / "it.tflite"
        file.write_bytes(data)
        return str(file)

    return saved


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine has: the PATH holds the basics and one empty folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], None]:
    """Installs a compiler that is a few lines of shell."""

    def installed(script: str) -> None:
        program = tmp_path / "bin" / compiler.PROGRAM
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return installed


def printing(log: str, *, code: int = 0) -> str:
    return f"cat <<'END'\n{log}\nEND\nexit {code}"


def one(report: Report) -> Verdict:
    (checked,) = report.models
    (verdict,) = checked.verdicts
    return verdict


def single(name: str, values: list[Value], *, custom: bool = False) -> bytes:
    return build(values, [Step(name, [0], [1], custom=custom)], [0], [1])


def test_an_int8_model_is_fine_everywhere(save: Callable[[bytes], str]) -> None:
    report = check.check(save(small_network()))
    assert report.fine
    (checked,) = report.models
    assert [verdict.target for verdict in checked.verdicts] == list(check.TARGETS)
    text = check.render(report)
    assert "it.tflite: int8, " in text
    assert "input face: int8 1x8x8x1, scale 0.5, zero point 0" in text
    assert "raspberry-pi: fine; runs on the CPU, int8" in text
    assert "coral: fine; 4 of 4 operators on the Edge TPU (100.0%), 100.0% of the MACs" in text
    assert "on the Edge TPU: CONV_2D 1, MAX_POOL_2D 1, RESHAPE 1, FULLY_CONNECTED 1" in text
    assert "edgetpu_compiler is not installed" in text
    assert "libedgetpu must be built against" in text


def test_what_the_edge_tpu_cannot_run_is_named_with_a_rewrite(
    save: Callable[[bytes], str],
) -> None:
    report = check.check(save(single("HARD_SWISH", [FACE, FACE])))
    assert not report.fine
    pi, _, coral = report.models[0].verdicts
    assert pi.fine
    assert not coral.fine
    text = check.render(report)
    assert "coral: NOT FINE; 0 of 1 operators" in text
    assert "HARD_SWISH (0): is not in the Edge TPU's table" in text
    assert "instead: train with RELU6" in text


def test_the_dense_trap_is_told(save: Callable[[bytes], str]) -> None:
    verdict = one(check.check(save(small_network(channels=7)), ["coral"]))
    assert not verdict.fine
    assert any("tflite-micro/pull/2602" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("name", "reason", "rewrite"),
    [
        ("FlexErf", "TensorFlow operator (Flex)", "TFLITE_BUILTINS alone"),
        ("MyOperator", "custom operator", "standard layers"),
        ("edgetpu-custom-op", "compiled for the Edge TPU", "before edgetpu_compiler"),
    ],
)
def test_operators_that_the_cpu_runtime_lacks(
    save: Callable[[bytes], str], name: str, reason: str, rewrite: str
) -> None:
    source = save(single(name, [FACE, FACE], custom=True))
    for target in ("raspberry-pi", "jetson"):
        verdict = one(check.check(source, [target]))
        assert not verdict.fine
        (refusal,) = verdict.refusals
        assert reason in refusal.reason
        assert rewrite in refusal.rewrite


def test_custom_operators_that_the_runtime_has(save: Callable[[bytes], str]) -> None:
    source = save(single("TFLite_Detection_PostProcess", [FACE, FACE], custom=True))
    assert check.check(source, ["raspberry-pi"]).fine


def test_shapes_that_vary_are_noted(save: Callable[[bytes], str]) -> None:
    moving = Value([1, 4], dynamic=True)
    verdict = one(check.check(save(single("RELU", [moving, moving])), ["jetson"]))
    assert verdict.fine
    assert any("shape may vary" in note for note in verdict.notes)
    assert any("Jetson's GPU" in note for note in verdict.notes)


def test_a_shipped_detector_by_name() -> None:
    report = check.check("blazeface-short", ["raspberry-pi", "coral"])
    pi, coral = report.models[0].verdicts
    assert pi.fine
    assert any("float" in note for note in pi.notes)
    assert not coral.fine
    assert len(coral.refusals) == len(report.models[0].model.operators)


streams = [name for name in bundle.shipped() if not name.startswith("blazeface")]


@pytest.mark.parametrize("name", streams)
def test_a_shipped_expression_bundle(name: str) -> None:
    report = check.check(name)
    frame, head = report.models
    for checked in (frame, head):
        assert checked.verdicts[0].fine, check.render(report)
    assert any("by design" in note for note in head.verdicts[2].notes)
    assert head.verdicts[2].fine
    # Every operator of the frame model has a place, mapped or with a reason.
    assert all(refusal.reason for refusal in frame.verdicts[2].refusals)


def test_what_is_missing_or_damaged_is_one_line(tmp_path: Path) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(small_network()[:700])
    (tmp_path / "folder").mkdir()
    for source in (str(cut), str(tmp_path / "folder"), str(tmp_path / "none.tflite"), "no-such"):
        with pytest.raises(ConversionError) as caught:
            check.check(source)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 1


def test_json_has_every_operator(save: Callable[[bytes], str]) -> None:
    content = json.loads(check.to_json(check.check(save(small_network()))))
    assert content["schema"] == "mien-check/1"
    assert content["fine"] is True
    (model,) = content["models"]
    assert [each["name"] for each in model["operators"]] == [
        "CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED",
    ]  # fmt: skip
    assert sum(each["macs"] for each in model["operators"]) == model["macs"]
    assert [each["target"] for each in model["verdicts"]] == list(check.TARGETS)


def test_the_compiler_agrees(save: Callable[[bytes], str], install: Callable[[str], None]) -> None:
    install(printing(LOG.format(outcome="", rows=ALL_MAPPED)))
    report = check.check(save(small_network()), ["coral"])
    compiled = one(report).compiled
    assert compiled is not None
    assert compiled.version == "16.0.384591198"
    assert compiled.whole
    assert compiled.differences == ()
    text = check.render(report)
    assert "edgetpu_compiler 16.0.384591198: as predicted" in text
    assert "On-chip memory used for caching model parameters: 18.00KiB" in text
    assert "not installed" not in text


def test_the_compiler_knows_better_than_the_prediction(
    save: Callable[[bytes], str], install: Callable[[str], None]
) -> None:
    install(printing(LOG.format(outcome=PARTLY, rows=ONE_LEFT)))
    report = check.check(save(small_network()), ["coral"])
    assert not report.fine
    assert one(report).compiled.differences == (  # type: ignore[union-attr]
        "FULLY_CONNECTED: predicted 1 mapped, the compiler mapped 0",
    )
    assert "FULLY_CONNECTED 1: Operation version not supported" in check.render(report)
    install(printing(LOG.format(outcome="", rows=ALL_MAPPED)))
    assert check.check(save(small_network(channels=7)), ["coral"]).fine


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            printing(
                "Edge TPU Compiler version 16.0.384591198\n"
                "Started a compilation timeout timer of 180 seconds.\n"
                "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'.\n\n"
                "Compilation child process completed within timeout period.\n"
                "Compilation failed!",
                code=1,
            ),
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'.",
        ),
        (
            printing(
                "Edge TPU Compiler version 16.0.384591198\nInvalid model: m\nModel not quantized",
                code=1,
            ),
            "Invalid model: m",
        ),
        ("echo nothing of use", "lists no operators"),
        ("kill -SEGV $$", "exit status -11"),
    ],
)
def test_a_compiler_that_fails(
    save: Callable[[bytes], str], install: Callable[[str], None], script: str, told: str
) -> None:
    install(script)
    report = check.check(save(small_network()), ["coral"])
    assert not report.fine
    assert told in check.render(report)


def test_a_compiler_that_hangs_is_stopped_with_its_child(
    save: Callable[[bytes], str], install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_GRACE_S", 0.0)
    install("sleep 60 &\nsleep 60")
    begun = time.monotonic()
    report = check.check(save(small_network()), ["coral"], limit_s=0.3)
    assert time.monotonic() - begun < 30
    assert "still busy after 0.3 s" in check.render(report)


def test_a_compiler_that_cannot_be_started(save: Callable[[bytes], str], tmp_path: Path) -> None:
    program = tmp_path / "bin" / compiler.PROGRAM
    program.write_text("#!/no/such/shell\n")
    program.chmod(0o755)
    report = check.check(save(small_network()), ["coral"])
    assert not report.fine
    assert "No such file" in check.render(report)


CONVERT = """
import sys
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(1)
bias = {"bias_initializer": "random_normal"}  # the converter drops and shares biases of zero
inputs = keras.Input(batch_shape=(1, 8, 8, 1), name="face")
x = keras.layers.Conv2D(4, 3, activation="relu6", **bias)(inputs)
x = keras.layers.LeakyReLU()(x)
x = keras.layers.DepthwiseConv2D(3, **bias)(x)
x = keras.layers.Flatten()(x)
model = keras.Model(inputs, keras.layers.Dense(7, **bias)(x))
def samples():
    for seed in range(8):
        yield [np.random.default_rng(seed).normal(size=(1, 8, 8, 1)).astype("f4")]
for kind in ("dynamic", "int8", "per-tensor"):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind != "dynamic":
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if kind == "per-tensor":
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    open(f"{sys.argv[1]}/{kind}.tflite", "wb").write(converter.convert())
"""


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network as TensorFlow's converter writes it; in a process of its own, as ever."""
    folder = tmp_path_factory.mktemp("converted")
    subprocess.run(
        [sys.executable, "-c", CONVERT, str(folder)], check=True, capture_output=True, timeout=300
    )
    return folder


@pytest.mark.slow
def test_files_from_the_converter(converted: Path) -> None:
    model = inspect.read(converted / "int8.tflite")
    assert precision(model) == "int8"
    kinds = [operator.name for operator in model.operators]
    assert kinds == ["CONV_2D", "LEAKY_RELU", "DEPTHWISE_CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert model.macs == 6 * 6 * 4 * 9 + 4 * 4 * 4 * 9 + 64 * 7
    assert model.parameters == 4 * 9 + 4 + 4 * 9 + 4 + 64 * 7 + 7
    (signature,) = model.signatures
    assert list(signature.inputs) == ["face"]

    verdict = one(check.check(str(converted / "int8.tflite"), ["coral"]))
    found = {refusal.operator: refusal for refusal in verdict.refusals}
    assert "PRELU" in found["LEAKY_RELU"].rewrite
    assert "per_channel" in found["FULLY_CONNECTED"].rewrite
    assert found["RESHAPE"].rewrite == ""
    # The rewrite that is proposed for the dense layer is one that works.
    verdict = one(check.check(str(converted / "per-tensor.tflite"), ["coral"]))
    found = {refusal.operator: refusal for refusal in verdict.refusals}
    assert found["FULLY_CONNECTED"].rewrite == ""


@pytest.mark.slow
def test_dynamic_range_from_the_converter(converted: Path) -> None:
    source = str(converted / "dynamic.tflite")
    pi, coral = check.check(source, ["raspberry-pi", "coral"]).models[0].verdicts
    assert pi.fine
    assert not coral.fine
    assert not any(refusal.reason == "" for refusal in coral.refusals)
