"""Measuring what a run folder holds, above all the very files that the device will run."""

from __future__ import annotations

from pathlib import Path

from convert import answers, interface, metrics
from convert.data import Data, Tiles, normalise
from convert.draft import draft
from convert.errors import RunError
from convert.run import Evaluation, read_record, write_record
from convert.train import load_network
from edge.networks import StreamNetworks


def evaluate(
    run: Path, faces: Data, *, through_crop: bool, by_majority: Tiles | None = None
) -> Evaluation:
    """Measure on the `val` split; leaves `evaluation.json`.

    Parameters
    ----------
    run
        A run folder after `quantise`.
    faces
        The data set, its labels and tiles as the run's `interface.json` has them.
    through_crop
        Whether to measure too what the device's own detector and crop cost.
    by_majority
        What `policies.by_majority` gives, to be measured besides.

    Raises
    ------
    RunError
        The run folder lacks something.
    """
    bundle, manifest = draft(run)
    networks = StreamNetworks(bundle, manifest)
    taken = interface.read(run)
    frame = load_network(run / "frame.keras")
    seen = normalise(faces.val.pixels, taken.mean, taken.std)
    floating = frame.predict(seen, batch_size=512, verbose=0)[1]
    quantised = answers.frame_logits(networks, faces.val.pixels)
    names, truth = manifest.labels, faces.val.labels
    evaluation = Evaluation(
        frame_sha256=manifest.frame.sha256,
        head_sha256=manifest.head.sha256,
        data_sha256=faces.labels_sha256,
        split="val",
        policy=faces.policy,
        floating=metrics.score(floating, truth, names=names),
        quantised=metrics.score(quantised, truth, names=names),
        streams=answers.on_streams(networks, manifest, faces.val),
        through_crop=(
            answers.as_the_device_crops(networks, manifest, faces.val) if through_crop else None
        ),
        published=(
            None
            if by_majority is None
            else metrics.published(
                answers.frame_logits(networks, by_majority.pixels), by_majority.labels
            )
        ),
    )
    write_record(run / "evaluation.json", evaluation)
    return evaluation


def evaluation_of(run: Path) -> Evaluation:
    """Read what `evaluate` left, held against the files that are there now.

    Raises
    ------
    RunError
        It is missing, or the files were quantised again since.
    """
    _, manifest = draft(run)
    found = read_record(run / "evaluation.json", Evaluation, made_by="evaluate")
    if (found.frame_sha256, found.head_sha256) != (manifest.frame.sha256, manifest.head.sha256):
        raise RunError(f"{run}: quantised again since it was evaluated; evaluate it again")
    return found
