"""When something is worth telling. Pure: estimates and times in, events out.

A subscriber should hear of changes, not of noise. A new label is told only when it has led the
told one by `margin` for `hold_s` without a break; a face is told when it has been looked at for
`settle_s`; and while nothing changes, a heartbeat every `heartbeat_s` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

from edge.datatypes import (
    UNSURE,
    Box,
    Estimate,
    Event,
    EventBox,
    Flaw,
    Latency,
    Track,
    TrackInfo,
)
from edge.settings import Rules

VALENCE = {
    "angry": -0.51,
    "disgust": -0.60,
    "fear": -0.64,
    "happy": 0.81,
    "sad": -0.63,
    "surprise": 0.40,
    "neutral": 0.0,
}
"""The pleasure dimension of each emotion: Russell and Mehrabian, "Evidence for a three-factor
theory of emotions", Journal of Research in Personality 11 (1977), 273-294, table of means.
A label that is not here counts as 0."""

Kind = Literal["start", "update", "end"]

_ROUNDING = 1e-6
"""Seconds by which a frame may come too early: a hold of 0.3 s is over three frames later at 10 Hz,
whatever the difference of their times is rounded to."""


@dataclass(frozen=True, slots=True)
class Story:
    """What a subscriber has been told of one face.

    `told` is the label of the last event, None before the first. `rival` is the label that
    would replace it, and since when it leads.
    """

    begun_s: float
    told: str | None = None
    told_s: float = 0.0
    rival: str | None = None
    rival_since_s: float = 0.0


def advance(
    story: Story | None, estimate: Estimate, time_s: float, rules: Rules
) -> tuple[Story, Kind | None]:
    """Take in one estimate of a face.

    Parameters
    ----------
    story
        What was told so far; None for a face that is new.
    estimate
        The newest estimate.
    time_s
        Its time; never earlier than the one before.
    rules
        `edge.settings.Events.rules`.

    Returns
    -------
    Story
        To be given to the next call.
    Kind or None
        The event to send now, if any; its emotion is `story.told`.
    """
    story = story or Story(begun_s=time_s)
    if story.told is None:
        if not _over(story.begun_s, rules.settle_s, time_s):
            return story, None
        return replace(story, told=estimate.emotion, told_s=time_s), "start"
    if not _leads(estimate, story.told, rules.margin):
        if story.rival is not None:
            story = replace(story, rival=None)
    elif story.rival != estimate.emotion:
        story = replace(story, rival=estimate.emotion, rival_since_s=time_s)
    if story.rival is not None and _over(story.rival_since_s, rules.hold_s, time_s):
        return replace(story, told=story.rival, told_s=time_s, rival=None), "update"
    if _over(story.told_s, rules.heartbeat_s, time_s):
        return replace(story, told_s=time_s), "update"
    return story, None


def _over(since_s: float, wait_s: float, now_s: float) -> bool:
    return now_s - since_s >= wait_s - _ROUNDING


def _leads(estimate: Estimate, told: str, margin: float) -> bool:
    """Whether an estimate speaks against the told label by enough."""
    if estimate.emotion == told:
        return False
    # `unsure` has no probability of its own: the abstain threshold already is its margin.
    if UNSURE in (estimate.emotion, told):
        return True
    return estimate.confidence - confidence_in(told, estimate) >= margin


def confidence_in(emotion: str, estimate: Estimate) -> float:
    """Return the probability of a label; for `unsure`, that of the most probable one."""
    if emotion == UNSURE:
        return max(estimate.probabilities)
    return estimate.probabilities[estimate.labels.index(emotion)]


def valence(estimate: Estimate) -> float:
    """Return how pleasant the expression is, -1 to 1: the probability-weighted `VALENCE`."""
    pairs = zip(estimate.labels, estimate.probabilities, strict=True)
    total = sum(VALENCE.get(label, 0.0) * share for label, share in pairs)
    return min(max(total, -1.0), 1.0)


class EventFactory:
    """Numbers the events of one process and fills them in.

    Parameters
    ----------
    boot_id
        Tells this run of the process from every other.
    bundle
        The expression bundle's `ident`.
    """

    def __init__(self, boot_id: str, bundle: str) -> None:
        self._boot_id = boot_id
        self._bundle = bundle
        self._numbers = count(1)
        self._tracks: dict[str, Iterator[int]] = {}

    def successor(self, bundle: str) -> EventFactory:
        """Return the factory that goes on where this one ends, for another bundle's answers."""
        after = EventFactory(self._boot_id, bundle)
        after._numbers, after._tracks = self._numbers, self._tracks
        return after

    def tracks(self, camera: str) -> Iterator[int]:
        """Return the numbers of a camera's tracks: each is given once in the process's life."""
        return self._tracks.setdefault(camera, count(1))

    def make(
        self,
        kind: Kind,
        *,
        camera: str,
        track: Track,
        emotion: str,
        estimate: Estimate,
        latency: Latency,
        time_s: float,
        ts: str,
        clock_synced: bool,
        poor: tuple[Flaw, ...] = (),
    ) -> Event:
        """Return the next event of the frame at `time_s`, which was at `ts` on the wall clock.

        `poor` is what was wrong with the newest look at the face.
        """
        seq = next(self._numbers)
        probabilities = [round(min(max(each, 0.0), 1.0), 4) for each in estimate.probabilities]
        return Event(
            id=f"{self._boot_id}-{seq}",
            seq=seq,
            boot_id=self._boot_id,
            type=kind,
            camera=camera,
            track=TrackInfo(
                id=track.number, age_ms=max(0, round((time_s - track.first_seen_s) * 1000))
            ),
            box=clipped(track.face.box),
            emotion=emotion,
            confidence=round(min(confidence_in(emotion, estimate), 1.0), 4),
            probs=dict(zip(estimate.labels, probabilities, strict=True)),
            valence=round(valence(estimate), 4),
            ts=ts,
            clock_synced=clock_synced,
            latency_ms=latency,
            bundle=self._bundle,
            poor=poor,
        )


def clipped(box: Box) -> EventBox:
    """Return the part of a box that lies in the frame."""
    left, right = _inside(box.x, box.x + box.width)
    top, bottom = _inside(box.y, box.y + box.height)
    return EventBox(
        x=round(left, 4),
        y=round(top, 4),
        width=round(right - left, 4),
        height=round(bottom - top, 4),
    )


def _inside(*ends: float) -> Sequence[float]:
    return [min(max(end, 0.0), 1.0) for end in ends]
