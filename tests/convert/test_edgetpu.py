"""The Edge TPU's documented table: what it lets through, what it does not, where graphs split."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_files import Step, Value, build, numbers, small_network, weights

from convert import edgetpu, inspect
from convert import edgetpu_rules as rules
from convert.edgetpu import Placement, place

FACE = Value([1, 8, 8, 4])
RELU6 = 3


def placed(values: list[Value], steps: list[Step], inputs: list[int]) -> tuple[Placement, ...]:
    outputs = [steps[-1].outputs[0]]
    return place(inspect.parse(build(values, steps, inputs, outputs), source="it"))


def alone(values: list[Value], step: Step) -> Placement:
    """Where a graph of one operator runs; the first value is its input, the last its output."""
    (placement,) = placed(values, [step], [0])
    return placement


def test_every_row_names_an_operator_that_exists() -> None:
    known = set(vars(schema.BuiltinOperator))
    assert set(edgetpu.SUPPORTED) <= known
    assert set(edgetpu.REWRITES) <= known
    assert set(edgetpu.MAX_VERSIONS) <= set(edgetpu.SUPPORTED)
    assert not set(edgetpu.REWRITES) & set(edgetpu.SUPPORTED)


def test_rewrites_name_operators_that_are_supported() -> None:
    named = {
        word.strip("(),;:")
        for text in edgetpu.REWRITES.values()
        for word in text.replace("(", " ").split()
    }
    assert named & set(vars(schema.BuiltinOperator)) <= set(edgetpu.SUPPORTED)


def test_a_model_of_plain_layers_is_mapped_whole() -> None:
    found = place(inspect.parse(small_network(), source="it"))
    assert [each.status for each in found] == [rules.MAPPED] * 4
    assert edgetpu.mapped_share(found) == (1.0, 1.0)
    assert edgetpu.runtime_needed(found) == 0
    assert set(edgetpu.open_limits(found)) == {"RESHAPE"}


def test_a_dense_layer_with_a_scale_per_channel_is_the_known_trap() -> None:
    *mapped, dense = place(inspect.parse(small_network(channels=7), source="it"))
    assert all(each.mapped for each in mapped)
    assert dense.reason == rules.PER_CHANNEL_DENSE
    assert "per_channel_quantization_for_dense" in dense.rewrite


def test_what_the_manifest_says() -> None:
    assert edgetpu.manifest_entry(inspect.parse(small_network(), source="it")).mappable
    entry = edgetpu.manifest_entry(inspect.parse(small_network(channels=7), source="it"))
    assert not entry.mappable
    (unmapped,) = entry.unmapped
    assert unmapped.operator == "FULLY_CONNECTED"
    assert unmapped.reason == rules.PER_CHANNEL_DENSE


def test_the_graph_splits_at_the_first_operator_it_cannot_map() -> None:
    values = [
        FACE, weights(4, 1, 1, 4), Value([1, 8, 8, 4]), Value([1, 8, 8, 4]),
        weights(8, 1, 1, 4), Value([1, 8, 8, 8]), Value([1, 8, 8, 8]),
    ]  # fmt: skip
    steps = [
        Step("CONV_2D", [0, 1, -1], [2]),
        Step("HARD_SWISH", [2], [3]),
        Step("CONV_2D", [3, 4, -1], [5]),
        Step("GELU", [5], [6]),
    ]
    found = placed(values, steps, [0])
    assert [each.status for each in found] == [
        rules.MAPPED, rules.UNSUPPORTED, rules.SPLIT, rules.UNSUPPORTED,
    ]  # fmt: skip
    assert "operator 1, HARD_SWISH" in found[2].reason
    assert found[2].rewrite == ""
    # What stands behind the split is told all the same: it would be the next obstacle.
    assert "RELU6" in found[1].rewrite
    assert "RELU6" in found[3].rewrite
    assert edgetpu.mapped_share(found) == (1 / 4, 1 / 3)


def test_a_float_input_is_converted_on_the_cpu_without_a_split() -> None:
    values = [Value([1, 4], "float32"), Value([1, 4]), Value([1, 4]), Value([1, 4], "float32")]
    steps = [
        Step("QUANTIZE", [0], [1]), Step("RELU", [1], [2]), Step("DEQUANTIZE", [2], [3]),
    ]  # fmt: skip
    first, relu, last = placed(values, steps, [0])
    assert (first.status, relu.status, last.status) == (rules.DTYPE, rules.MAPPED, rules.DTYPE)
    assert first.rewrite == last.rewrite == "convert with int8 inputs and outputs"


@pytest.mark.parametrize(
    ("dtype", "weight", "told"),
    [
        ("float32", "float32", "mien-convert quantise"),
        ("float32", "int8", "dynamic range"),
        ("int16", "int8", "16-bit activations are for the CPU"),
    ],
)
def test_values_that_are_not_8_bit(dtype: str, weight: str, told: str) -> None:
    size = 4 if weight == "float32" else 1
    values = [
        Value([1, 4], dtype), Value([2, 4], weight, data=b"\0" * 8 * size), Value([1, 2], dtype),
    ]  # fmt: skip
    placement = alone(values, Step("FULLY_CONNECTED", [0, 1, -1], [2]))
    assert placement.status == rules.DTYPE
    assert dtype in placement.reason
    assert told in placement.rewrite


@pytest.mark.parametrize(
    ("name", "rewrite"),
    [
        ("LEAKY_RELU", "PRELU"),
        ("BATCH_MATMUL", "FULLY_CONNECTED"),
        ("SQRT", "RSQRT"),
        ("ATAN2", "operators in the table"),
    ],
)
def test_an_operator_outside_the_table(name: str, rewrite: str) -> None:
    placement = alone([FACE, FACE], Step(name, [0, 0], [1]))
    assert placement.status == rules.UNSUPPORTED
    assert rewrite in placement.rewrite


def test_custom_operators_and_those_already_compiled() -> None:
    made = alone([FACE, FACE], Step("Mine", [0], [1], custom=True))
    assert (made.status, made.reason) == (rules.UNSUPPORTED, "is not in the Edge TPU's table")
    compiled = alone([FACE, FACE], Step("edgetpu-custom-op", [0], [1], custom=True))
    assert compiled.mapped


def test_a_newer_version_than_the_compiler_knows() -> None:
    values = [FACE, weights(2, 1, 1, 2), Value([1, 8, 8, 2])]
    assert alone(values, Step("CONV_2D", [0, 1, -1], [2], version=5)).mapped
    placement = alone(values, Step("CONV_2D", [0, 1, -1], [2], version=6))
    assert placement.status == rules.VERSION


def test_shapes_that_vary_or_have_a_batch() -> None:
    moving = Value([1, 8, 8, 4], dynamic=True)
    assert "may vary" in alone([moving, moving], Step("RELU", [0], [1])).reason
    batch = Value([2, 8, 8, 4])
    placement = alone([batch, batch], Step("RELU", [0], [1]))
    assert placement.status == rules.RANK
    assert "batch of 1" in placement.rewrite
    # A matrix has two innermost dimensions, and both may exceed 1.
    assert alone([Value([5, 4]), Value([5, 4])], Step("RELU", [0], [1])).mapped


def test_parameters_that_are_computed() -> None:
    conv = alone([FACE, FACE, FACE], Step("CONV_2D", [0, 1, -1], [2]))
    assert conv.status == rules.PARAMETER
    shape = alone([FACE, Value([2], "int32", scales=()), FACE], Step("RESHAPE", [0, 1], [2]))
    assert shape.status == rules.PARAMETER


ROW = Value([1, 8])
PLAIN: dict[str, tuple[list[Value], Step]] = {
    "pool": ([FACE, FACE], Step("MAX_POOL_2D", [0], [1])),
    "dilation": (
        [FACE, weights(4, 3, 3, 4), FACE],
        Step("CONV_2D", [0, 1, -1], [2], {"dilationWFactor": 2, "dilationHFactor": 2}),
    ),
    "dense": ([ROW, weights(4, 8), Value([1, 4])], Step("FULLY_CONNECTED", [0, 1, -1], [2])),
    "zero padding": (
        [FACE, Value([1, 8, 8, 2], data=b"\xfd" * 128, zero_point=-3), Value([1, 8, 8, 6])],
        Step("CONCATENATION", [0, 1], [2], {"axis": 3}),
    ),
    "mean": ([FACE, numbers(1, 2), Value([1, 4])], Step("MEAN", [0, 1], [2])),
    "deep mean": ([FACE, numbers(3), Value([1, 8, 8])], Step("MEAN", [0, 1], [2])),
    "pad": (
        [FACE, numbers(0, 0, 1, 1, 1, 1, 0, 0), Value([1, 10, 10, 4])], Step("PAD", [0, 1], [2]),
    ),
    "pack": ([ROW, Value([1, 2, 8])], Step("PACK", [0, 0], [1], {"axis": 1})),
    "split": ([FACE, numbers(3), Value([1, 8, 8, 2])], Step("SPLIT", [1, 0], [2, 2])),
    "slice": (
        [ROW, numbers(0, 0), numbers(1, 4), numbers(1, 1), Value([1, 4])],
        Step("STRIDED_SLICE", [0, 1, 2, 3], [4]),
    ),
    "slope": ([FACE, weights(1, 1, 4), FACE], Step("PRELU", [0, 1], [2])),
    "softmax": ([Value([1, 16_000]), Value([1, 16_000])], Step("SOFTMAX", [0], [1])),
    "maximum": ([FACE, numbers(1), Value([1, 8, 4])], Step("REDUCE_MAX", [0, 1], [2])),
}  # fmt: skip
BROKEN: dict[str, tuple[str, list[Value], Step]] = {
    "pool": (
        "fused", [FACE, FACE], Step("MAX_POOL_2D", [0], [1], {"fusedActivationFunction": RELU6}),
    ),
    "dilation": (
        "dilated by 2 in x and 1 in y",
        [FACE, weights(4, 3, 3, 4), FACE],
        Step("CONV_2D", [0, 1, -1], [2], {"dilationWFactor": 2, "dilationHFactor": 1}),
    ),
    "dense": (
        "may give one dimension",
        [Value([5, 8]), weights(4, 8), Value([5, 4])],
        Step("FULLY_CONNECTED", [0, 1, -1], [2]),
    ),
    "shuffled": (
        "shuffled weights",
        [ROW, weights(4, 8), Value([1, 4])],
        Step("FULLY_CONNECTED", [0, 1, -1], [2], {"weightsFormat": 1}),
    ),
    "zero padding": (
        "not the zero padding",
        [FACE, weights(1, 8, 8, 2), Value([1, 8, 8, 6])],
        Step("CONCATENATION", [0, 1], [2], {"axis": 3}),
    ),
    "mean": ("reduces the batch", [FACE, numbers(0, 1), Value([8, 4])], Step("MEAN", [0, 1], [2])),
    "deep mean": (
        "not a multiple of 4",
        [Value([1, 8, 8, 6]), numbers(-1), Value([1, 8, 8])],
        Step("MEAN", [0, 1], [2]),
    ),
    "pad": (
        "pads the batch",
        [Value([1, 8]), numbers(0, 1, 0, 0), Value([2, 8])],
        Step("PAD", [0, 1], [2]),
    ),
    "pack": (
        "packs along the batch", [ROW, Value([2, 1, 8])], Step("PACK", [0, 0], [1], {"axis": -3}),
    ),
    "split": (
        "splits the batch",
        [Value([2, 8]), numbers(0), ROW],
        Step("SPLIT", [1, 0], [2, 2]),
    ),
    "slice": (
        "strides other than 1",
        [ROW, numbers(0, 0), numbers(1, 8), numbers(1, 2), Value([1, 4])],
        Step("STRIDED_SLICE", [0, 1, 2, 3], [4]),
    ),
    "slope": ("slope per pixel", [FACE, weights(8, 8, 4), FACE], Step("PRELU", [0, 1], [2])),
    "softmax": (
        "one dimension of 16,000",
        [Value([1, 16_001]), Value([1, 16_001])],
        Step("SOFTMAX", [0], [1]),
    ),
    "softmax of a matrix": (
        "one dimension", [Value([5, 4]), Value([5, 4])], Step("SOFTMAX", [0], [1]),
    ),
    "maximum": (
        "reduces the batch", [FACE, numbers(0), Value([8, 8, 4])], Step("REDUCE_MAX", [0, 1], [2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_within_a_restriction(name: str) -> None:
    placement = alone(*PLAIN[name])
    assert placement.mapped, placement.reason


@pytest.mark.parametrize("name", BROKEN)
def test_outside_a_restriction(name: str) -> None:
    told, values, step = BROKEN[name]
    placement = alone(values, step)
    assert not placement.mapped
    assert told in placement.reason
    assert placement.rewrite


def test_loops_are_left_to_the_cpu() -> None:
    data = build([FACE, FACE], [Step("RELU", [0], [1])], [0], [1], more_graphs=1)
    main, other = place(inspect.parse(data, source="it"))
    assert main.mapped
    assert not other.mapped
    assert edgetpu.mapped_share((main, other)) == (0.5, 0.5)


def test_the_state_of_an_lstm_may_be_16_bit() -> None:
    values = [Value([1, 6, 4]), Value([1, 4], "int16", variable=True), Value([1, 6, 4])]
    placement = alone(values, Step("UNIDIRECTIONAL_SEQUENCE_LSTM", [0, 1], [2]))
    assert placement.mapped
    assert edgetpu.runtime_needed((placement,)) == 14
