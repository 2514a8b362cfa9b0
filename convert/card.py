"""The model card (Mitchell et al., "Model Cards for Model Reporting", 2019): MODEL_CARD.md."""

from __future__ import annotations

import re
import textwrap

from convert import report
from convert.data import data_name
from convert.draft import RunRecords
from convert.run import Evaluation
from edge.bundle import StreamManifest
from edge.goldens import Goldens

_DATA = {
    "FER2013": (
        "FER2013 (Goodfellow et al., 2013), {train} faces of its official Training set to learn "
        "from and {val} of PublicTest (`split=val`) to choose and to measure by; copies between "
        "them, blank tiles and copies of PrivateTest were left out. FER2013 was published for a "
        "research competition; its faces come from image search and carry no licence of their "
        "own. **These weights are for research and evaluation only.** Its labels are noisy: about "
        "65 % is what people score."
    ),
    "own data": (
        "A data folder of its owner's, {train} faces to learn from and {val} (`split=val`) to "
        "choose and to measure by. Whether and where these weights may be used is for the owner "
        "of the data to say."
    ),
}

_COMMANDS = """\
mien-convert train --data DATA --run RUN --model {model} --epochs {epochs} --seed {seed}
mien-convert train-head --data DATA --run RUN --epochs {head_epochs} --seed {head_seed}
mien-convert quantise --data DATA --run RUN --head {precision}
mien-convert evaluate --data DATA --run RUN{through_crop}
mien-convert package --run RUN --name {name} --version {version} {abstain} --out BUNDLE
"""

_CARD = """\
# {name}, version {version}

Recognises one of {labels} in a face: a small convolutional network looks at
each 48x48 grayscale tile, and a gated recurrent unit (GRU) that steps {step_hz:g} times a second
makes of its embeddings an answer that does not flicker.

## Intended use

To show and to try Mien: kiosks, robots and installations that react to a face in view. It tells
what a face looks like, not what a person feels, and it is wrong often enough (below) that no
decision about a person may rest on it. Not for hiring, teaching, policing, medicine, or any
watching of people who have not agreed to it.

## Data and terms

{data}

To train on your own data, laid out as `convert/data.py` says, in one command:

```
{one_command}
```

## How it was made

{commands}

DATA is a data folder whose `labels.csv` has the sha256 `{data_sha256}`; RUN and BUNDLE are
folders of your choice. Nothing else made these files; `manifest.json` has every setting under
`provenance`.

- Frame model: the network of Kalambate et al. (convolutions of 16 5x5, 32 5x5 and 64 3x3
  filters, each with ReLU and 2x2 max-pooling; a dense layer of 128, the embedding; a dense
  layer of logits). {frame_epochs} epochs took {frame_time}, the best was epoch
  {frame_best}.
- Head: one step of a GRU (Cho et al., 2014) with 32 units, trained by backpropagation through
  time on composed streams. {head_epochs} epochs took {head_time}, the best was
  epoch {head_best}.
- Machine: {machine}. Python {python}, TensorFlow {tensorflow}, Keras {keras}.

## Sizes

{sizes}

Parameters and multiply-accumulates for one tile and for one step. `mien-convert quantise` counts
them in the files.

## Accuracy on single tiles

The frame model alone on the {n} tiles of `split=val`, before and after quantisation; `int8` is the
file in this folder, run by the device's own code (`mien-convert evaluate`). The best epoch was
chosen on the same tiles, so expect slightly less elsewhere.

{scores}

ECE is the expected calibration error of the frame model's own softmax, without the temperature,
which belongs to the head.

Per label, int8:

{per_label}

Confusion matrix, int8, in tiles:

{confusion}
{crop}
## Accuracy on streams

Measured on **composed** streams, not on video: stills of `val`, moved, relit, made noisy and
faded into one another; faces change person as they change expression. Only steps on which one
still is shown alone count, those right after a change included (`mien-convert evaluate`; the
files in this folder).

{streams}

The temperature was fitted, and the head's best epoch chosen, on other streams of the same stills
(`mien-convert train-head`). Below a confidence of {abstain:g} the answer is `unsure`.

## Golden vectors

`golden.npz` holds {faces} drawn faces (no person's) and the answers to {steps} steps of them. A
logit may differ by {frame_tolerance:.3f} in the frame model, three steps of its int8 scale,
which is how far correct runtimes and processors were found apart; and by {head_tolerance:.3f}
in the head, the most that embeddings wrong by up to three steps changed anywhere in the stream.

## Limits

- Learned from faces found on the web, mostly frontal, lit and looking at the camera. Profiles,
  masks, hands before the mouth, infants and animals were not measured.
- No label says who the people are, so differences between groups of people were not measured;
  expect them.
- `disgust` and `fear` are rare or badly labelled in the data; see their recall above.
- It knows seven labels. Talking, chewing and yawning look like some of them.
"""

_CROP = """
## What the camera's path costs

{found} of {tiles} tiles, enlarged with a border, in which the shipped detector finds a face; as
they are, and as `edge.crop` cuts them out again (`mien-convert evaluate --through-crop`; int8).

{scores}
"""


def text(
    manifest: StreamManifest, records: RunRecords, evaluation: Evaluation, goldens: Goldens
) -> str:
    """Return a bundle's model card in Markdown; every figure comes from a record of the run."""
    frame, head = records.frame, records.head
    name = data_name(frame.data_sha256)
    commands = commands_of(manifest, records, evaluation)
    card = _CARD.format(
        name=manifest.name,
        version=manifest.version,
        labels=", ".join(manifest.labels),
        step_hz=manifest.step_hz,
        data=_DATA[name].format(**frame.tiles),
        one_command=" && ".join(commands),
        commands="```\n" + "\n".join(commands) + "\n```",
        data_sha256=frame.data_sha256,
        frame_epochs=len(frame.epochs),
        frame_time=_duration(frame.seconds),
        frame_best=frame.best_epoch,
        head_epochs=len(head.epochs),
        head_time=_duration(head.seconds),
        head_best=head.best_epoch,
        machine=frame.machine,
        **{key: frame.toolchain[key] for key in ("python", "tensorflow", "keras")},
        sizes=_sizes(records),
        n=evaluation.quantised.n,
        scores=report.scores_table({"float": evaluation.floating, "int8": evaluation.quantised}),
        per_label=report.labels_table(evaluation.quantised),
        confusion=report.confusion_table(evaluation.quantised),
        crop=_crop(evaluation),
        streams=report.streams_table(evaluation.streams),
        abstain=manifest.calibration.abstain_below,
        faces=len(goldens.faces),
        steps=len(goldens.order),
        frame_tolerance=goldens.frame_tolerance,
        head_tolerance=goldens.head_tolerance,
    )
    return _wrapped(card)


def commands_of(manifest: StreamManifest, records: RunRecords, evaluation: Evaluation) -> list[str]:
    """Return the command lines that make a bundle like this one."""
    settings, head = records.frame.settings, records.head.settings
    return _COMMANDS.format(
        model=settings["model"],
        epochs=settings["epochs"],
        seed=settings["seed"],
        head_epochs=head["epochs"],
        head_seed=head["seed"],
        precision=records.quantised.head_precision,
        through_crop=" --through-crop" if evaluation.through_crop else "",
        name=manifest.name,
        version=manifest.version,
        abstain=f"--abstain-below {manifest.calibration.abstain_below:g}",
    ).splitlines()


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
    return _CROP.format(found=through.found, tiles=through.tiles, scores=scores)


def _wrapped(markdown: str) -> str:
    """Fold prose and list items to lines of 96 columns; leave tables, code and titles alone."""
    blocks = []
    for block in markdown.strip().split("\n\n"):
        if block.startswith(("#", "|", "```")):
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
