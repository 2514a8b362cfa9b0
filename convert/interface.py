"""What the networks of a run folder take and give: what no file of weights tells by itself.

Networks trained here need no such record, for they are as the defaults say; those read from
elsewhere leave it as `interface.json`.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from convert.data import LABELS, MEAN, STD, TILE
from convert.framing import CROP
from convert.recipe import Policy
from convert.run import TrainingRecord, read_record
from convert.streams import STEP_HZ
from edge.bundle import CropSpec, FaceInput

FILE = "interface.json"


class Interface(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How faces become inputs and what the outputs stand for.

    Attributes
    ----------
    labels
        In the order of the logits.
    size
        Side of the tile, in pixels.
    mean, std
        The float network sees `(pixel - mean) / std`, pixels in 0..255.
    crop
        How the device frames a face.
    step_hz
        How often the head steps.
    policy
        Which answers count as right where a data set has votes beside its labels; see
        `convert.policies`.
    """

    labels: tuple[str, ...] = LABELS
    size: int = TILE
    mean: float = MEAN
    std: float = STD
    crop: CropSpec = CROP
    step_hz: float = STEP_HZ
    policy: Policy = "labels"

    @property
    def device_mean(self) -> float:
        """The mean that the device subtracts: a whole number.

        With an int8 input of scale 1/std a pixel becomes `pixel - device_mean`, exactly. Between
        two whole numbers every pixel would lie on a tie, and two correct programs could round
        it differently. What half a pixel value changes, the parity gates measure.
        """
        return float(math.floor(self.mean + 0.5))

    def face_input(self) -> FaceInput:
        """Return the entry of the manifest."""
        return FaceInput(
            size=self.size, colour="luma", mean=self.device_mean, std=self.std, crop=self.crop
        )


def read(run: Path) -> Interface:
    """Return the interface of a run folder's networks.

    Without a record of its own it is the usual one, with the policy that the frame model was
    trained by.

    Raises
    ------
    RunError
        The record is damaged.
    """
    if not (run / FILE).exists():
        trained = run / "frame.json"
        if not trained.exists():
            return Interface()
        settings = read_record(trained, TrainingRecord, made_by="train").settings
        return Interface(policy="consensus" if settings.get("policy") == "consensus" else "labels")
    return read_record(run / FILE, Interface, made_by="quantise")
