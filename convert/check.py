"""What stands in a model or a bundle, and which boards can run it: `mien-convert check`.

Nothing here needs TensorFlow, so that the answer comes at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from convert import compiler, inspect
from convert.errors import ConversionError
from convert.graph import Model, Operator, Tensor
from convert.targets import Refusal, Role, Target, Verdict, judge, precision
from edge import bundle
from edge.bundle import StreamManifest
from edge.errors import BundleError

SCHEMA = "mien-check/1"
TARGETS: tuple[Target, ...] = ("raspberry-pi", "jetson", "coral")
COMPILER_LIMIT_S = 180.0
"""The compiler's own default."""

SHOWN = 3
"""How many of a list the text shows; the JSON has all."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One file, what stands in it, and a verdict for each target asked about."""

    file: str
    model: Model
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All models of what was asked about; `source` is as it was named."""

    source: str
    models: tuple[Checked, ...]

    @property
    def fine(self) -> bool:
        """Whether every model runs on every target."""
        return all(verdict.fine for checked in self.models for verdict in checked.verdicts)


def check(
    source: str, targets: Sequence[Target] = TARGETS, *, limit_s: float = COMPILER_LIMIT_S
) -> Report:
    """Check a .tflite file, or all models of a bundle.

    Parameters
    ----------
    source
        A file, the folder of a bundle, or the name of a bundle that comes with Mien.
    limit_s
        How long the Edge TPU's compiler may take for each model, where it is installed.

    Raises
    ------
    ConversionError
        There is no such file or bundle, or it is damaged.
    """
    models = [
        _check_file(file, role, targets, limit_s) for file, role in _files(source)
    ]  # fmt: skip
    return Report(source, tuple(models))


def render(report: Report) -> str:
    """Return a report as text for a terminal."""
    return "\n\n".join("\n".join(_lines(checked)) for checked in report.models)


def to_json(report: Report) -> str:
    """Return a report as JSON, with every operator of every graph."""
    content = {
        "schema": SCHEMA,
        "source": report.source,
        "fine": report.fine,
        "models": [_facts(checked) for checked in report.models],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def _files(source: str) -> list[tuple[Path, Role]]:
    path = Path(source)
    if path.is_file():
        return [(path, "model")]
    try:
        loaded = bundle.load(source)
    except BundleError as exc:
        # Not the device's configuration error: the bundle is what was asked about.
        raise ConversionError(str(exc)) from exc
    manifest = loaded.manifest
    files: list[tuple[Path, Role]] = [(loaded.path / manifest.frame.file, "frame")]
    if isinstance(manifest, StreamManifest):
        files.append((loaded.path / manifest.head.file, "head"))
    return files


def _check_file(file: Path, role: Role, targets: Sequence[Target], limit_s: float) -> Checked:
    model = inspect.read(file)
    compiled = None
    if "coral" in targets and role != "head":
        compiled = compiler.compile_model(file.read_bytes(), limit_s)
    try:
        verdicts = tuple(judge(model, each, role=role, compiled=compiled) for each in targets)
    except ConversionError as exc:
        raise ConversionError(f"{file}: {exc}; copy or convert it again") from exc
    return Checked(str(file), model, verdicts)


def _lines(checked: Checked) -> Iterator[str]:
    model = checked.model
    yield f"{checked.file}: {precision(model)}, {model.size:,} bytes"
    yield (
        f"  {model.parameters:,} parameters, {model.macs:,} MACs, "
        f"about {model.peak_bytes / 1024:,.1f} KiB of activations at once"
    )
    if model.min_runtime:
        yield f"  TensorFlow Lite {model.min_runtime} or newer"
    for index, graph in enumerate(model.graphs):
        named = f" of graph {index}" if index else ""
        yield from (f"  input{named} {_described(tensor)}" for tensor in graph.inputs)
        yield from (f"  output{named} {_described(tensor)}" for tensor in graph.outputs)
    yield ""
    head = ("operator", "count", "version", "gives", "shapes", "MACs")
    yield from _columns([head, *_operator_rows(model)])
    for verdict in checked.verdicts:
        yield ""
        yield from _verdict_lines(verdict)


def _operator_rows(model: Model) -> Iterator[tuple[str, ...]]:
    kinds: dict[tuple[str, int, str], list[Operator]] = {}
    for operator in model.operators:
        made = " ".join(dict.fromkeys(tensor.dtype for tensor in operator.outputs))
        kinds.setdefault((operator.name, operator.version, made), []).append(operator)
    for (name, version, made), operators in kinds.items():
        shapes = list(
            dict.fromkeys(_shape(tensor) for each in operators for tensor in each.outputs)
        )
        more = f" and {len(shapes) - SHOWN} more" if len(shapes) > SHOWN else ""
        macs = sum(operator.macs for operator in operators)
        listed = " ".join(shapes[:SHOWN]) + more
        yield (name, str(len(operators)), str(version), made, listed, f"{macs:,}" if macs else "")


def _verdict_lines(verdict: Verdict) -> Iterator[str]:
    yield f"{verdict.target}: {'fine' if verdict.fine else 'NOT FINE'}; {verdict.summary}"
    if verdict.mapped:
        kinds = ", ".join(f"{name} {count}" for name, count in verdict.mapped.items())
        yield f"  on the Edge TPU: {kinds}"
    compiled = verdict.compiled
    if compiled:
        agreed = "as predicted" if not compiled.differences else "not as predicted"
        told = f"failed: {compiled.failed}" if compiled.failed else agreed
        yield f"  edgetpu_compiler {compiled.version}: {told}"
        yield from (f"    {line}" for line in (*compiled.differences, *compiled.memory))
        if not compiled.failed:
            yield from (f"    {row.operator} {row.count}: {row.status}" for row in compiled.rows)
    yield from _refusal_lines(verdict.refusals)
    yield from (f"  note: {note}" for note in verdict.notes)


def _refusal_lines(refusals: Sequence[Refusal]) -> Iterator[str]:
    """Say each reason once, with all operators that it is true of."""
    grouped: dict[tuple[str, str], dict[str, list[int]]] = {}
    for refusal in refusals:
        kinds = grouped.setdefault((refusal.reason, refusal.rewrite), {})
        kinds.setdefault(refusal.operator, []).append(refusal.index)
    for (reason, rewrite), kinds in grouped.items():
        who = ", ".join(f"{name} ({_some(numbers)})" for name, numbers in kinds.items())
        yield f"  {who}: {reason}"
        if rewrite:
            yield f"    instead: {rewrite}"


def _some(numbers: Sequence[int]) -> str:
    """Return numbers, of which the first few say enough."""
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return ", ".join(map(str, numbers[:SHOWN])) + more


def _facts(checked: Checked) -> dict[str, Any]:
    model = checked.model
    return {
        "file": checked.file,
        "precision": precision(model),
        "size": model.size,
        "parameters": model.parameters,
        "macs": model.macs,
        "peak_activation_bytes": model.peak_bytes,
        "min_runtime": model.min_runtime,
        "inputs": [_tensor_facts(tensor) for tensor in model.graphs[0].inputs],
        "outputs": [_tensor_facts(tensor) for tensor in model.graphs[0].outputs],
        "operators": [
            {
                "graph": number,
                "index": operator.index,
                "name": operator.name,
                "version": operator.version,
                "options": operator.options,
                "inputs": [_tensor_facts(tensor) for tensor in operator.inputs if tensor],
                "outputs": [_tensor_facts(tensor) for tensor in operator.outputs],
                "macs": operator.macs,
            }
            for number, graph in enumerate(model.graphs)
            for operator in graph.operators
        ],
        "verdicts": checked.verdicts,
    }


def _tensor_facts(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "dynamic": tensor.dynamic,
        "constant": tensor.constant,
        "quantisation": tensor.quantisation,
    }


def _described(tensor: Tensor) -> str:
    text = f"{tensor.name}: {tensor.dtype} {_shape(tensor)}"
    quantised = tensor.quantisation
    if quantised and "float" not in tensor.dtype:
        text += f", scale {quantised.scale:.7g}, zero point {quantised.zero_point}"
    return text + (", its shape may vary" if tensor.dynamic else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Line up columns; the last one, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *left, last = row
        cells = [cell.ljust(width) for cell, width in zip(left, widths, strict=False)]
        yield f"  {'  '.join(cells)}  {last.rjust(widths[-1])}".rstrip()
