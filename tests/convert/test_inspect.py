"""Reading .tflite files: what stands in them, what it adds up to, and what no file can do to us."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tflite_files import Step, Value, build, numbers, small_network, weights

from convert import check, graph, inspect
from convert.errors import ConversionError
from convert.graph import Graph, Operator, Tensor
from convert.targets import judge
from edge import bundle

BLAZEFACE = bundle.locate("blazeface-short") / "frame.tflite"
sides = st.integers(1, 4)


def computed(index: int, *shape: int, dtype: str = "int8") -> Tensor:
    return Tensor(index, f"t{index}", shape, dtype)


def constant(index: int, *shape: int) -> Tensor:
    return Tensor(index, f"t{index}", shape, "int8", buffer=index + 1)


def operator(name: str, inputs: list[Tensor], output: Tensor, **options: int) -> Operator:
    return Operator(0, name, 1, tuple(inputs), (output,), options)


def test_a_file_is_told_in_full() -> None:
    model = inspect.parse(small_network(), source="it")
    conv, pool, flatten, dense = model.operators
    assert [each.name for each in model.operators] == [
        "CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED",
    ]  # fmt: skip
    assert conv.version == 3
    assert conv.options["strideW"] == 1
    assert conv.input(1).quantisation == graph.Quantisation(0.5, 0, channels=4, axis=0)
    assert conv.input(1).constant
    assert not pool.input(0).constant
    assert flatten.input(1).values == (1, 64)
    assert dense.outputs == model.graphs[0].outputs
    assert model.parameters == 4 * 3 * 3 + 4 + 7 * 64 + 7
    assert model.parameter_bytes == 4 * 3 * 3 + 7 * 64 + 4 * (4 + 7)
    assert model.macs == 8 * 8 * 4 * 9 + 7 * 64
    (signature,) = model.signatures
    assert signature.key == "serving_default"
    assert signature.inputs["role0"].name == "face"


def test_memory_is_what_lives_at_once() -> None:
    # The input and the output live all the time; at the pooling, its input and its output too.
    model = inspect.parse(small_network(), source="it")
    assert model.peak_bytes == 64 + 7 + 256 + 64


def test_a_real_float_model_is_read() -> None:
    model = inspect.read(BLAZEFACE)
    assert model.graphs[0].inputs[0].shape == (1, 128, 128, 3)
    assert {each.name for each in model.operators} >= {"CONV_2D", "DEPTHWISE_CONV_2D", "PAD"}
    assert model.size == BLAZEFACE.stat().st_size
    # float16 weights make up most of the file.
    assert 0.8 * model.size < model.parameter_bytes < model.size


@given(st.tuples(*[sides] * 6))
def test_macs_of_a_convolution(sizes: tuple[int, ...]) -> None:
    height, width, into, out, tall, wide = sizes
    counted = sum(1 for _ in product(*map(range, (height, width, out, tall, wide, into))))
    conv = operator(
        "CONV_2D",
        [computed(0, 1, 9, 9, into), constant(1, out, tall, wide, into)],
        computed(2, 1, height, width, out),
    )
    assert graph.count_macs(conv) == counted


@given(sides, sides, sides, sides)
def test_macs_of_a_depthwise_convolution(height: int, width: int, depth: int, side: int) -> None:
    counted = sum(1 for _ in product(*map(range, (height, width, depth, side, side))))
    conv = operator(
        "DEPTHWISE_CONV_2D",
        [computed(0, 1, 9, 9, depth), constant(1, 1, side, side, depth)],
        computed(2, 1, height, width, depth),
    )
    assert graph.count_macs(conv) == counted


@given(sides, sides, sides)
def test_macs_of_a_dense_layer_and_a_product(rows: int, into: int, out: int) -> None:
    counted = sum(1 for _ in product(range(rows), range(out), range(into)))
    dense = operator(
        "FULLY_CONNECTED", [computed(0, rows, into), constant(1, out, into)], computed(2, rows, out)
    )
    matmul = operator(
        "BATCH_MATMUL", [computed(0, rows, into), computed(1, into, out)], computed(2, rows, out)
    )
    turned = operator(
        "BATCH_MATMUL",
        [computed(0, into, rows), computed(1, into, out)],
        computed(2, rows, out),
        adjX=1,
    )
    assert [graph.count_macs(each) for each in (dense, matmul, turned)] == [counted] * 3


@given(sides, sides, sides, sides)
def test_macs_of_a_transposed_convolution(height: int, width: int, into: int, out: int) -> None:
    # Every input value is multiplied into a 2x2 patch of every output channel.
    counted = sum(1 for _ in product(*map(range, (height, width, into, 2, 2, out))))
    conv = operator(
        "TRANSPOSE_CONV",
        [constant(0, 4), constant(1, out, 2, 2, into), computed(2, 1, height, width, into)],
        computed(3, 1, 2 * height, 2 * width, out),
    )
    assert graph.count_macs(conv) == counted


def test_macs_of_the_rarer_layers() -> None:
    volume = operator(
        "CONV_3D",
        [computed(0, 1, 4, 4, 4, 2), constant(1, 3, 3, 3, 2, 5)],
        computed(2, 1, 2, 2, 2, 5),
    )
    assert graph.count_macs(volume) == 2 * 2 * 2 * 5 * 27 * 2
    lstm = operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [computed(0, 1, 6, 3), *(constant(index, 4, 3) for index in range(1, 5)), constant(9, 4)],
        computed(10, 1, 6, 4),
    )
    assert graph.count_macs(lstm) == 6 * 4 * (4 * 3)
    assert graph.count_macs(operator("RELU", [computed(0, 8)], computed(1, 8))) == 0


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 50)), min_size=1, max_size=8))
def test_memory_against_its_definition(chain: list[tuple[int, int]]) -> None:
    """Each operator reads one earlier tensor; brute force asks at each step who is still needed."""
    tensors, operators = [computed(0, 10)], []
    for step, (source, size) in enumerate(chain):
        tensors.append(computed(step + 1, size))
        reads = tensors[source % (step + 1)]
        operators.append(Operator(step, "RELU", 1, (reads,), (tensors[-1],), {}))
    kept = {0, len(tensors) - 1}
    peak = 0
    for step in range(len(operators)):
        alive = set(kept)
        for tensor in tensors:
            made = tensor.index - 1
            last = max((op.index for op in operators if op.inputs[0] is tensor), default=made)
            if made <= step <= last:
                alive.add(tensor.index)
        peak = max(peak, sum(tensors[index].size for index in alive))
    made_of = Graph("", tuple(tensors), tuple(operators), (tensors[0],), (tensors[-1],))
    assert graph.peak_bytes(made_of) == peak


def test_a_file_that_is_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="No such file"):
        inspect.read(tmp_path / "none.tflite")
    (tmp_path / "text.tflite").write_text("hello, I am no model")
    with pytest.raises(ConversionError, match="not a TFLite file"):
        inspect.read(tmp_path / "text.tflite")
    (tmp_path / "empty.tflite").touch()
    with pytest.raises(ConversionError, match=r"not a TFLite file|damaged"):
        inspect.read(tmp_path / "empty.tflite")


@pytest.mark.parametrize(
    ("values", "steps", "told"),
    [
        ([Value([1])], [Step("RELU", [0], [5])], "damaged"),
        ([Value([1])], [Step("CONV_2D", [0], [0])], "lacks input 1"),
        ([Value([-1, 4])], [], "shape"),
        ([Value([3, 3], data=b"abc")], [], "should have 9 bytes"),
        ([Value([1], scales=[float("nan")])], [], "scale"),
        ([Value([2**31 - 1] * 3)], [], "beyond any computer"),
        ([Value([1])], [Step("RELU", [0], [-1])], "leaves a tensor out"),
    ],
)
def test_what_cannot_be_is_refused(values: list[Value], steps: list[Step], told: str) -> None:
    with pytest.raises(ConversionError, match=told):
        inspect.parse(build(values, steps, [0], [0]), source="it")


def examine(data: bytes) -> None:
    """Either a whole answer or one line."""
    try:
        model = inspect.parse(data, source="it.tflite")
        verdicts = tuple(
            judge(model, target, role="frame", compiled=None) for target in check.TARGETS
        )
    except ConversionError as exc:
        assert "\n" not in str(exc)
        return
    report = check.Report("it", (check.Checked("it", model, verdicts),))
    assert check.render(report)
    assert check.to_json(report)


SMALL = small_network()


@given(st.integers(0, len(SMALL)))
def test_a_file_cut_short(length: int) -> None:
    examine(SMALL[:length])


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=12))
def test_a_file_with_bytes_changed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    examine(bytes(data))


@given(st.binary(max_size=400))
def test_noise_behind_the_right_signature(noise: bytes) -> None:
    examine(b"\x18\0\0\0TFL3" + noise)


@pytest.mark.slow
@given(st.integers(0, 16_000), st.binary(min_size=1, max_size=8))
def test_a_large_file_with_bytes_changed(position: int, replaced: bytes) -> None:
    # The tables of a file of this kind stand at its end, behind the weights.
    data = bytearray(BLAZEFACE.read_bytes())
    at = len(data) - 1 - position
    data[at : at + len(replaced)] = replaced
    examine(bytes(data))


def test_other_graphs_and_absent_inputs_are_read() -> None:
    values = [Value([1, 4]), weights(2, 4), Value([1, 2]), numbers(1)]
    data = build(values, [Step("FULLY_CONNECTED", [0, 1, -1], [2])], [0], [2], more_graphs=1)
    model = inspect.parse(data, source="it")
    assert len(model.graphs) == 2
    assert model.operators[0].inputs[2] is None
    with pytest.raises(ConversionError, match="lacks input 2"):
        model.operators[0].input(2)


def test_reading_needs_no_tensorflow() -> None:
    probe = (
        "import sys; from convert import check\n"
        "check.render(check.check('blazeface-short', ['raspberry-pi']))\n"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('tensorflow', 'keras', 'matplotlib', 'cv2')])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"
