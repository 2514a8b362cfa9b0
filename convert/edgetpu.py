"""What of a model the Edge TPU can run, by its documentation.

The table is "All operations supported by the Edge TPU and any known limitations" of
https://coral.ai/docs/edgetpu/models-intro/#supported-operations, for the newest compiler, 16.0
(2021), and runtime, 14. What the page leaves open ("might not be mapped") stays open here. The
restrictions themselves are in `convert.edgetpu_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convert import edgetpu_rules as rules
from convert.edgetpu_rules import MAPPED, SPLIT, UNSUPPORTED, VERSION, Fault, Rule
from convert.graph import Model, Operator
from edge.bundle import EdgeTpu, Unmapped

SOURCE = "https://coral.ai/docs/edgetpu/models-intro/#supported-operations"

COMPILED = "edgetpu-custom-op"
"""What the compiler puts in the place of all operators that it maps."""

CACHE_BYTES = 8 * 2**20
"""The parameters that the chip's own memory holds: "roughly 8 MB"
(https://coral.ai/docs/edgetpu/compiler/, Parameter data caching)."""


@dataclass(frozen=True, slots=True)
class Supported:
    """A row of the table: its name there, the runtime it needs (0: any), what it may not do.

    `open` is a limitation that the page gives no bounds for.
    """

    name: str
    runtime: int = 0
    rules: tuple[Rule, ...] = ()
    open: str = ""


_LARGE = "large reshapes might not be mapped"
_SIZES = "depending on the sizes, it might not be mapped, to avoid loss in precision"

SUPPORTED = {
    "ADD": Supported("Add"),
    "AVERAGE_POOL_2D": Supported("AveragePool2d", 0, (rules.not_fused,)),
    "CONCATENATION": Supported("Concatenation", 0, (rules.not_fused, rules.zero_padding)),
    "CONV_2D": Supported("Conv2d", 0, (rules.constant_weights, rules.square_dilation)),
    "DEPTHWISE_CONV_2D": Supported(
        "DepthwiseConv2d", 0, (rules.constant_weights, rules.square_dilation)
    ),
    "EXPAND_DIMS": Supported("ExpandDims", 13),
    "FULLY_CONNECTED": Supported("FullyConnected", 0, (rules.constant_weights, rules.dense)),
    "L2_NORMALIZATION": Supported("L2Normalization"),
    "LOGISTIC": Supported("Logistic"),
    # "LSTM: unidirectional only": the fused operator, and the one that stands for a whole sequence.
    "LSTM": Supported("LSTM", 14),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Supported("LSTM", 14),
    "MAXIMUM": Supported("Maximum"),
    "MAX_POOL_2D": Supported("MaxPool2d", 0, (rules.not_fused,)),
    "MEAN": Supported("Mean", 13, (rules.keeps_batch, rules.deep_mean)),
    "MINIMUM": Supported("Minimum"),
    "MUL": Supported("Mul"),
    "PACK": Supported("Pack", 13, (rules.packs_inside,)),
    "PAD": Supported("Pad", 13, (rules.pads_inside,)),
    "PRELU": Supported("PReLU", 13, (rules.channel_slope,)),
    "QUANTIZE": Supported("Quantize", 13),
    "REDUCE_MAX": Supported("ReduceMax", 14, (rules.keeps_batch,)),
    "REDUCE_MIN": Supported("ReduceMin", 14, (rules.keeps_batch,)),
    "RELU": Supported("ReLU"),
    "RELU6": Supported("ReLU6"),
    "RELU_N1_TO_1": Supported("ReLUN1To1"),
    "RESHAPE": Supported("Reshape", open=_LARGE),
    "RESIZE_BILINEAR": Supported("ResizeBilinear", open=_SIZES),
    "RESIZE_NEAREST_NEIGHBOR": Supported("ResizeNearestNeighbor", open=_SIZES),
    "RSQRT": Supported("Rsqrt", 14),
    "SLICE": Supported("Slice"),
    "SOFTMAX": Supported("Softmax", 0, (rules.short_softmax,)),
    "SPACE_TO_DEPTH": Supported("SpaceToDepth"),
    "SPLIT": Supported("Split", 0, (rules.splits_inside,)),
    "SQUARED_DIFFERENCE": Supported("SquaredDifference", 14),
    "SQUEEZE": Supported("Squeeze", 13),
    "STRIDED_SLICE": Supported("StridedSlice", 0, (rules.unit_strides,)),
    "SUB": Supported("Sub"),
    "SUM": Supported("Sum", 13, (rules.keeps_batch,)),
    "TANH": Supported("Tanh"),
    "TRANSPOSE": Supported("Transpose", 14),
    "TRANSPOSE_CONV": Supported("TransposeConv", 13, (rules.constant_weights,)),
}

MAX_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 8}
"""The newest version of an operator that the compiler's own TensorFlow Lite knows, where it was
seen to refuse a newer one: CONV_2D 6 in https://github.com/google-coral/edgetpu/issues/631,
FULLY_CONNECTED 9 in a log of 2026 ("Operation version not supported")."""

_BY_HAND = "leave it to the device, after the model's output"
_RELU6 = "train with RELU6 in its place (as the EfficientNet-Lite and MobileNetV3-minimalistic do)"
_DILATED = "a CONV_2D with dilation: convert again with fixed shapes, so that it fuses"
REWRITES = {
    "ABS": "MAXIMUM(x, 0 - x)",
    "ADD_N": "a chain of ADD",
    "ARG_MAX": _BY_HAND,
    "ARG_MIN": _BY_HAND,
    "BATCH_MATMUL": "FULLY_CONNECTED or a 1x1 CONV_2D with constant weights",
    "BATCH_TO_SPACE_ND": _DILATED,
    "CAST": "convert with int8 inputs and outputs",
    "CONV_3D": "CONV_2D on each frame",
    "DEPTH_TO_SPACE": "TRANSPOSE_CONV, or RESIZE_NEAREST_NEIGHBOR and CONV_2D",
    "DEQUANTIZE": "convert with int8 outputs",
    "DIV": "MUL by the reciprocal, where the divisor is constant",
    "ELU": _RELU6,
    "GATHER": "SLICE or SPLIT with constant bounds",
    "GELU": _RELU6,
    "HARD_SWISH": _RELU6,
    "LEAKY_RELU": "PRELU with the same slope for every channel, which computes the same",
    "LOG_SOFTMAX": _BY_HAND,
    "MIRROR_PAD": "PAD with zeros",
    "NEG": "MUL by -1",
    "PADV2": "PAD with zeros",
    "POW": "MUL(x, x) for a square",
    "SHAPE": "convert with fixed shapes and a batch of 1",
    "SPACE_TO_BATCH_ND": _DILATED,
    "SQRT": "MUL(x, RSQRT(x))",
    "SQUARE": "MUL(x, x)",
    "TILE": "CONCATENATION",
    "TOPK_V2": _BY_HAND,
    "UNPACK": "SPLIT and RESHAPE",
    "WHILE": "one step of the recurrence, its state an input and an output",
}
"""What would take the place of operators that are not in the table."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one operator runs.

    Attributes
    ----------
    status : str
        As the compiler's log would say it.
    reason, rewrite : str
        Empty where it is mapped. `rewrite` is empty too where only an earlier operator must go.
    """

    operator: Operator
    status: str
    reason: str = ""
    rewrite: str = ""

    @property
    def mapped(self) -> bool:
        """Whether the Edge TPU runs it."""
        return self.status == MAPPED


def place(model: Model) -> tuple[Placement, ...]:
    """Say for each operator of a model where it would run.

    The compiler splits the graph once, at the first operator that it cannot map; what comes
    after runs on the CPU, whatever it is. Turning a float input into int8 before the first layer
    stays on the CPU without splitting (a log: https://github.com/f0cal/google-coral/issues/20).

    Raises
    ------
    ConversionError
        An operator lacks an input it cannot do without.
    """
    main, *others = model.graphs
    inputs = {tensor.index for tensor in main.inputs}
    split: Operator | None = None
    placed = []
    for operator in main.operators:
        faults = tuple(_faults(operator))
        if faults:
            placed.append(_faulty(operator, faults))
            if split is None and not _converts_input(operator, inputs):
                split = operator
        elif split:
            reason = f"comes after the graph is split at operator {split.index}, {split.name}"
            placed.append(Placement(operator, SPLIT, reason))
        else:
            placed.append(Placement(operator, MAPPED))
    reason = "belongs to a second graph, and only the main graph is compiled"
    rewrite = "turn loops and conditions into plain layers"
    for graph in others:
        placed += [Placement(each, UNSUPPORTED, reason, rewrite) for each in graph.operators]
    return tuple(placed)


def mapped_share(placed: tuple[Placement, ...]) -> tuple[float, float]:
    """Return the share that the Edge TPU runs: of the operators, and of the MACs.

    Where there are no MACs, the second is the first.
    """
    ours = [placement.operator for placement in placed if placement.mapped]
    count = len(ours) / len(placed) if placed else 0.0
    macs = sum(placement.operator.macs for placement in placed)
    return count, sum(operator.macs for operator in ours) / macs if macs else count


def runtime_needed(placed: tuple[Placement, ...]) -> int:
    """Return the Edge TPU runtime that the mapped operators need; 0 if any will do."""
    rows = (SUPPORTED.get(placement.operator.name) for placement in placed if placement.mapped)
    return max((row.runtime for row in rows if row), default=0)


def open_limits(placed: tuple[Placement, ...]) -> dict[str, str]:
    """Return what the page leaves open about the mapped operators, by operator."""
    names = {placement.operator.name for placement in placed if placement.mapped}
    return {name: row.open for name, row in SUPPORTED.items() if row.open and name in names}


def manifest_entry(model: Model) -> EdgeTpu:
    """Return what the manifest of a bundle says of its frame model: the prediction of `place`."""
    placed = place(model)
    unmapped = dict.fromkeys(
        (each.operator.name, each.reason) for each in placed if not each.mapped
    )  # fmt: skip
    return EdgeTpu(
        mappable=bool(placed) and not unmapped,
        unmapped=tuple(Unmapped(operator=name, reason=reason) for name, reason in unmapped),
    )


def _faulty(operator: Operator, faults: tuple[Fault, ...]) -> Placement:
    return Placement(
        operator,
        faults[0].status,
        "; ".join(fault.reason for fault in faults),
        "; ".join(dict.fromkeys(fault.rewrite for fault in faults)),
    )


def _converts_input(operator: Operator, inputs: set[int]) -> bool:
    return operator.name == "QUANTIZE" and operator.input(0).index in inputs


def _faults(operator: Operator) -> Iterator[Fault]:
    """Find what keeps an operator from the Edge TPU, in the order in which the compiler looks."""
    if operator.custom and operator.name == COMPILED:
        return
    wrong = tuple(rules.types(operator))
    yield from wrong
    row = None if operator.custom else SUPPORTED.get(operator.name)
    if row is None:
        if not (wrong and operator.name == "DEQUANTIZE"):  # its types already say it all
            rewrite = REWRITES.get(operator.name, "build it of operators in the table")
            yield Fault(UNSUPPORTED, "is not in the Edge TPU's table", rewrite)
        return
    if wrong:
        return
    newest = MAX_VERSIONS.get(operator.name, operator.version)
    if operator.version > newest:
        reason = f"is version {operator.version}, and the compiler knows up to {newest}"
        yield Fault(VERSION, reason, "convert without what is new in it, or with TensorFlow 2.8")
    yield from rules.shapes(operator)
    for rule in row.rules:
        yield from rule(operator)
