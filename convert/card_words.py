"""What a model card says, with places for the figures of `convert.card`."""

from __future__ import annotations

DATA = {
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

STARTED = (
    " It started or learned from weights that were trained on FER2013: **for research and "
    "evaluation only**, and so is this network."
)

POLICIES = {
    "labels": "",
    "consensus": "What counts as right here are not its labels but the votes of FER+ (Barsoum et "
    "al., 2016; Microsoft, MIT): ten people looked at each face, and the faces above are those of "
    "which most votes name one of the labels.",
}

ELSEWHERE = (
    "The frame model was trained elsewhere, and nothing in its files says on what: ask whoever "
    "made it whether and where these weights may be used. What is measured below was measured on "
    "{measured}, {n} faces of `split={split}`; if it was trained on those, expect less elsewhere."
)
MEASURED = {"FER2013": "FER2013 (Goodfellow et al., 2013)", "own data": "a folder of its owner's"}

CARD = """\
# {name}, version {version}

Recognises one of {labels} in a face: a convolutional network looks at
each {size}x{size} grayscale tile, and a recurrent head that steps {step_hz:g} times a second
makes of its embeddings an answer that does not flicker.

## Intended use

To show and to try Mien: kiosks, robots and installations that react to a face in view. It tells
what a face looks like, not what a person feels, and it is wrong often enough (below) that no
decision about a person may rest on it. Not for hiring, teaching, policing, medicine, or any
watching of people who have not agreed to it.

## Data and terms

{data}

{on_own_data}

## How it was made

{commands}

DATA is a data folder whose `labels.csv` has the sha256 `{data_sha256}`; RUN and BUNDLE are
folders of your choice{ancestors}. Nothing else made these files; `manifest.json` has every
setting under `provenance`.

{frame_story}
{head_story}
- {toolchain}.

## Sizes

{sizes}

Parameters and multiply-accumulates for one tile and for one step. `mien-convert quantise` counts
them in the files.

## Accuracy on single tiles

The frame model alone on the {n} tiles of `split=val`, before and after quantisation; `int8` is the
file in this folder, run by the device's own code (`mien-convert evaluate`).{chosen}

{scores}

ECE is the expected calibration error of the frame model's own softmax, without the temperature,
which belongs to the head.

Per label, int8:

{per_label}

Confusion matrix, int8, in tiles:

{confusion}

{by_majority}
{crop}
## What quantisation changed

{parity_n} tiles ({parity_split}), the float network against the file in this folder as the device's
own code runs it; the head ran {head_steps} steps freely, without a reset. `mien-convert quantise`
writes nothing where a gate fails.{lowered}

{gates}

{parity}

## Accuracy on streams

Measured on **composed** streams, not on video: stills of `val`, moved, warped a little, relit,
covered, missed, made noisy and faded into one another, in other measure than the head learned from;
faces change person as they change expression. Only steps on which one still is shown alone count,
those right after a change included (`mien-convert evaluate`; the files in this folder).

{streams}

## Doubt

How well the confidence of an answer tells how often it is right, on the {doubt_streams} composed
streams above. The stills of `val` were parted into {folds} folds; every stream is composed of the
stills of one, and each fold is judged with the temperature that the others gave (cross-fitted). The
temperature that ships, {temperature:.3f}, was fitted on all of them, on the answers of the files in
this folder; expected calibration error, {doubt_steps} steps:

{doubt}

![Reliability diagram: how often answers are right against how sure they are](reliability.png)

{abstains}

{curve}

![Steps answered against how many of the answers are right](coverage.png)

## Golden vectors

`golden.npz` holds {faces} drawn faces (no person's) and the answers to {steps} steps of them. A
logit may differ by {frame_tolerance:.3f} in the frame model, three steps of its int8 scale,
which is how far correct runtimes and processors were found apart; and by {head_tolerance:.3f}
in the head, the most that embeddings wrong by up to three steps changed anywhere in the stream.

## Limits

{limits}"""

ABSTAINS = """\
Below a confidence of {abstain:g} the answer is `unsure`. {why} {answered} of the steps are
answered so, and {right} of those rightly."""
BY_RULE = (
    "A wrong answer is held to take away as much as a right one gives (Chow, 1970): that is the "
    "threshold with the most right less wrong answers, below which answers are wrong more often "
    "than right."
)
TOLD = (
    "It was told so (`--abstain-below`); most right less wrong answers there are with {chosen:g}."
)

CHOSEN = " The best epoch was chosen on the same tiles, so expect slightly less elsewhere."

CROP = """
## What the camera's path costs

{found} of {tiles} tiles, enlarged with a border, in which the shipped detector finds a face; as
they are, and as `edge.crop` cuts them out again (`mien-convert evaluate --through-crop`; int8).

{scores}
"""


LIMITS = """\
- Profiles, masks, hands before the mouth, infants and animals were not measured.
- No label says who the people are, so differences between groups of people were not measured;
  expect them.
- It knows {count} labels. Talking, chewing and yawning look like some of them.
"""
LIMITS_OF_DATA = {
    "FER2013": """\
- Learned from faces found on the web, mostly frontal, lit and looking at the camera.
- `disgust` and `fear` are rare or badly labelled in the data; see their recall above.
"""
}

OWN_DATA = """\
To train on your own data, laid out as `convert/data.py` says, from scratch and by the usual recipe,
in one command:

```
{command}
```"""

GRU = "gru"
NETWORKS = {
    "kalambate": "the network of Kalambate et al. (convolutions of 16 5x5, 32 5x5 and 64 3x3 "
    "filters, each with ReLU and 2x2 max-pooling; a dense layer of 128, the embedding; a dense "
    "layer of logits)",
    "residual": "a residual network of 3x3 convolutions (He et al., 2016, with the shortcuts of "
    "ResNet-D), batch normalisation folded into its weights; a dense layer of logits on the "
    "embedding",
    "branched": "a stack of 3x3 convolutions, trained with branches that were then fused (RepVGG; "
    "Ding et al., 2021); a dense layer of logits on the embedding",
    "inverted": "inverted residuals with linear bottlenecks (MobileNetV2; Sandler et al., 2018); a "
    "dense layer of logits on the embedding",
    GRU: "one step of a GRU (Cho et al., 2014), trained by backpropagation through "
    "time on composed streams",
}
