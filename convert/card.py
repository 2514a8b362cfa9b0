"""The model card (Mitchell et al., "Model Cards for Model Reporting", 2019): MODEL_CARD.md."""

from __future__ import annotations

import re
import textwrap

from convert import card_words as words
from convert import gates, lineage, report, weights
from convert.data import data_name
from convert.draft import Origin, RunRecords
from convert.run import Doubt, Evaluation, TrainingRecord
from convert.sources import SourceRecord
from edge.bundle import StreamManifest
from edge.goldens import Goldens


def text(
    manifest: StreamManifest,
    records: RunRecords,
    evaluation: Evaluation,
    doubt: Doubt,
    goldens: Goldens,
) -> str:
    """Return a bundle's model card in Markdown; every figure comes from a record of the run.

    `doubt` is the evaluation's own. The card shows the figures of `convert.doubt_plot`, which lie
    beside it.
    """
    told = manifest.calibration.abstain_below != doubt.abstain_below
    commands = commands_of(manifest, records, evaluation, told=told)
    trained = isinstance(records.frame, TrainingRecord)
    own = ""
    if isinstance(records.frame, TrainingRecord):
        # The usual recipe: votes, teachers and other weights are not everyone's.
        train = (
            f"mien-convert train --data DATA --run RUN --model {records.frame.settings['model']}"
        )
        rest = commands[1 + len(records.frame.ancestors) :]
        own = words.OWN_DATA.format(command=" && ".join([train, *rest]))
    card = words.CARD.format(
        name=manifest.name,
        version=manifest.version,
        labels=", ".join(manifest.labels),
        size=manifest.input.size,
        step_hz=manifest.step_hz,
        data=_data(records.frame, evaluation),
        on_own_data=own,
        commands="```\n" + "\n".join(commands) + "\n```",
        data_sha256=evaluation.data_sha256,
        ancestors=_ancestors(records.frame),
        frame_story=_story("Frame model", records.frame),
        head_story=_story("Head", records.head),
        toolchain=_toolchain(records),
        sizes=_sizes(records),
        n=evaluation.quantised.n,
        chosen=words.CHOSEN if trained else "",
        scores=report.scores_table({"float": evaluation.floating, "int8": evaluation.quantised}),
        per_label=report.labels_table(evaluation.quantised),
        confusion=report.confusion_table(evaluation.quantised),
        by_majority=report.by_majority(evaluation.published) if evaluation.published else "",
        crop=_crop(evaluation),
        **_parity(records),
        streams=report.beside_table(evaluation.streams),
        **_doubt(manifest, doubt),
        faces=len(goldens.faces),
        steps=len(goldens.order),
        frame_tolerance=goldens.frame_tolerance,
        head_tolerance=goldens.head_tolerance,
        limits=words.LIMITS.format(count=len(manifest.labels))
        + words.LIMITS_OF_DATA.get(data_name(evaluation.data_sha256) if trained else "", ""),
    )
    return _wrapped(card)


def commands_of(
    manifest: StreamManifest, records: RunRecords, evaluation: Evaluation, *, told: bool
) -> list[str]:
    """Return the command lines that make a bundle like this one.

    `told` says whether its threshold is another than the one that was measured to be best.
    """
    folders = "--data DATA --run RUN"
    lines = []
    frame, head, made = records.frame, records.head, records.quantised
    if isinstance(frame, TrainingRecord):
        lines += [
            f"train --data DATA --run RUN-OF-{each.sha256[:12]} {each.options}"
            for each in frame.ancestors
        ]
        lines.append(f"train {folders} {lineage.options(frame)}")
    else:
        lines.append(f"quantise {frame.kind.upper()}-SOURCE {folders}{_told(records)}")
    if isinstance(head, TrainingRecord):
        lines.append(
            f"train-head {folders} --epochs {{epochs}} --seed {{seed}} "
            "--embedding-dropout {embedding_dropout}".format(**head.settings)
        )
    elif head.kind == "head":
        lines.append(f"quantise HEAD-SOURCE {folders}")
    lines.append(f"quantise {folders} --head {made.head_precision}{_how(records)}")
    lines.append(f"evaluate {folders}{' --through-crop' if evaluation.through_crop else ''}")
    threshold = f"--abstain-below {manifest.calibration.abstain_below:g} " if told else ""
    lines.append(
        f"package --run RUN --name {manifest.name} --version {manifest.version} "
        f"{threshold}--out BUNDLE"
    )
    return [f"mien-convert {line}" for line in lines]


def _ancestors(frame: Origin) -> str:
    if not isinstance(frame, TrainingRecord) or not frame.ancestors:
        return ""
    seconds = sum(each.seconds for each in frame.ancestors)
    return (
        ", and so is RUN-OF-X, whose `frame.keras` has a sha256 that begins with X (what was "
        f"trained before the last network took {_duration(seconds)})"
    )


def _told(records: RunRecords) -> str:
    """Return the options that say what a source does not."""
    taken = records.interface
    said = f" --labels {','.join(taken.labels)}"
    if isinstance(records.frame, SourceRecord) and records.frame.normalisation is None:
        said += f" --mean {taken.mean:g} --std {taken.std:g}"
    return f"{said} --crop {taken.crop.centre_line:g},{taken.crop.face_length:g}"


def _how(records: RunRecords) -> str:
    """Return the options of quantisation that are not the usual ones."""
    made = records.quantised
    said = " --calibration PICTURES" if not made.calibration.endswith("train") else ""
    said += "" if made.percentile is None else f" --percentile {made.percentile:g}"
    said += f" --finetune {made.finetune_epochs}" if made.finetune_epochs else ""
    lowered = [each for each in records.parity.gates if each.allowed]
    return said + "".join(f" --allow {each.name}={each.bar:g}" for each in lowered)


def _data(frame: Origin, evaluation: Evaluation) -> str:
    if isinstance(frame, TrainingRecord):
        told = words.DATA[data_name(frame.data_sha256)].format(**frame.tiles)
        researched = [each for each in frame.ancestors if data_name(each.data_sha256) == "FER2013"]
        shipped = any(map(weights.name_of, lineage.parents(frame)))
        if data_name(frame.data_sha256) != "FER2013" and (shipped or researched):
            told += words.STARTED
        return f"{told} {words.POLICIES[evaluation.policy]}".strip()
    measured = words.MEASURED[data_name(evaluation.data_sha256)]
    return words.ELSEWHERE.format(
        measured=measured, n=evaluation.quantised.n, split=evaluation.split
    )


def _story(what: str, record: Origin) -> str:
    """Return how a network came to be, as an item of a list."""
    if isinstance(record, SourceRecord):
        files = ", ".join(f"`{name}` ({sha256[:12]}…)" for name, sha256 in record.sha256.items())
        notes = f"; {'; '.join(record.notes)}" if record.notes else ""
        return f"- {what}: read from {files}, {record.framework}{notes}."
    name = str(record.settings.get("model", words.GRU))
    network = words.NETWORKS.get(name, name)
    return (
        f"- {what}: {network}. {len(record.epochs)} epochs took "
        f"{_duration(record.seconds)}, the best was epoch {record.best_epoch}. Machine: "
        f"{record.machine}."
    )


def _toolchain(records: RunRecords) -> str:
    versions = dict(records.quantised.toolchain)
    for record in (records.frame, records.head):
        versions |= record.toolchain if isinstance(record, TrainingRecord) else {}
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _parity(records: RunRecords) -> dict[str, str | int]:
    found = records.parity
    lowered = [each for each in found.gates if each.allowed]
    return {
        "parity_n": found.n,
        "parity_split": found.split,
        "head_steps": int(found.figures["head_steps"]),
        "lowered": "".join(
            f" **The bar of {each.name} was lowered to {each.bar:g} for this bundle.**"
            for each in lowered
        ),
        "gates": gates.gates_table(found),
        "parity": gates.figures_table(found),
    }


def _doubt(manifest: StreamManifest, doubt: Doubt) -> dict[str, str | int | float]:
    """Return what the card says of calibration and of abstaining."""
    abstain = manifest.calibration.abstain_below
    if abstain == doubt.abstain_below:
        why = words.BY_RULE
    else:
        why = words.TOLD.format(chosen=doubt.abstain_below)
    # The curve's own thresholds lie 0.01 apart.
    _, answered, right = min(doubt.curve, key=lambda point: abs(point[0] - abstain))
    return {
        "doubt_streams": doubt.streams,
        "doubt_steps": f"{doubt.steps:,}",
        "folds": doubt.folds,
        "temperature": manifest.calibration.temperature,
        "doubt": report.doubt_table(doubt),
        "abstains": words.ABSTAINS.format(
            abstain=abstain,
            why=why,
            answered=report.percent(answered),
            right=report.percent(right),
        ),
        "curve": report.curve_table(doubt.curve[:: report.CURVE_STEP]),
    }


def _duration(seconds: float) -> str:
    """Return a time in minutes, or in seconds where it is short."""
    return f"{seconds:.0f} seconds" if seconds < 2 * 60 else f"{seconds / 60:.0f} minutes"


def _sizes(records: RunRecords) -> str:
    made = records.quantised
    rows = [
        [f"{stem}.tflite", f"{made.size[stem]:,}", f"{made.parameters[stem]:,}",
         f"{made.macs[stem]:,}", precision]
        for stem, precision in (("frame", "int8"), ("head", made.head_precision))
    ]  # fmt: skip
    return report.table(["", "bytes", "parameters", "MACs", "arithmetic"], rows)


def _crop(evaluation: Evaluation) -> str:
    through = evaluation.through_crop
    if through is None:
        return ""
    scores = report.scores_table({"as they are": through.direct, "cut out": through.cropped})
    return words.CROP.format(found=through.found, tiles=through.tiles, scores=scores)


def _wrapped(markdown: str) -> str:
    """Fold prose and list items to lines of 96 columns; leave all else alone."""
    blocks = []
    for block in filter(None, re.split(r"\n\n+", markdown.strip())):
        if block.startswith(("#", "|", "```", "!")):
            blocks.append(block)
            continue
        items = re.split(r"\n(?=- )", block)
        indent = "  " if block.startswith("- ") else ""
        folded = [
            textwrap.fill(
                " ".join(item.split()), 96, subsequent_indent=indent, break_long_words=False,
                break_on_hyphens=False,
            )
            for item in items
        ]  # fmt: skip
        blocks.append("\n".join(folded))
    return "\n\n".join(blocks) + "\n"
