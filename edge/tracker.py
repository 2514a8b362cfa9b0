"""Who is who between frames. Pure: the same detections at the same times give the same tracks.

Each detection goes to the track whose predicted place is nearest, measured in face sizes;
nearest pairs first. A track is told once `confirm` detections agree, is carried over short
losses for `bridge_s`, and its number is never used again.

No more than `most` faces are followed, those carried over included: in a crowd the largest. One
that is followed already gives way only to one that is plainly larger, since in a crowd of equals
the largest few are others at every look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from edge.datatypes import Box, Detection, Keypoints, Point, Track

_REACH = 1.0
"""How far apart, in face sizes, two detections can be and still be one face. Faces do not
overlap by much, so another person's is rarely this near."""

_MEMORY = 0.6
"""The share of a track's old velocity in its new one: steadies the detector's jitter."""

_LOYALTY = 2.0
"""How many times the area of a face that is followed a new one must have to take its place."""

_LONGEST_GLIDE_S = 0.3
"""A face is taken to keep its velocity this long; after that, to stand still."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """The tracks after a frame: those in view, oldest first, and those that have just left."""

    present: tuple[Track, ...]
    ended: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A track, told or not yet; `number` is 0 until it is."""

    number: int
    face: Detection
    first_seen_s: float
    last_detected_s: float
    velocity: tuple[float, float]
    detections: int
    in_view: bool

    def shift(self, time_s: float) -> tuple[float, float]:
        """Return how far the face is expected to have moved by a time."""
        glide = min(time_s - self.last_detected_s, _LONGEST_GLIDE_S)
        return self.velocity[0] * glide, self.velocity[1] * glide

    def at(self, time_s: float) -> Detection:
        """Return where the face is expected at a time."""
        return moved(self.face, *self.shift(time_s))

    def box_at(self, time_s: float) -> Box:
        """Return where the face's box is expected at a time."""
        x, y = self.shift(time_s)
        box = self.face.box
        return Box(box.x + x, box.y + y, box.width, box.height)


class Tracker:
    """Follows the faces of one camera.

    Parameters
    ----------
    confirm
        Detections before a track is told.
    bridge_s
        Seconds a track may go undetected before it has left.
    most
        How many faces are followed at a time.
    numbers
        Where tracks get their numbers; from 1 on unless given.
    """

    def __init__(
        self, *, confirm: int, bridge_s: float, most: int, numbers: Iterator[int] | None = None
    ) -> None:
        self._confirm = confirm
        self._bridge_s = bridge_s
        self._most = most
        self._candidates: list[_Candidate] = []
        self._numbers = count(1) if numbers is None else numbers

    @property
    def candidates(self) -> int:
        """How many faces are followed, those not believed yet included."""
        return len(self._candidates)

    @property
    def tracks(self) -> int:
        """How many faces are followed and believed."""
        return sum(1 for each in self._candidates if each.number)

    def detected(self, detections: Sequence[Detection], time_s: float) -> Tracking:
        """Take in what the detector found at a time, and return the tracks."""
        expected = [each.box_at(time_s) for each in self._candidates]
        owners = _associate(expected, [each.box for each in detections])
        candidates = []
        for index, candidate in enumerate(self._candidates):
            found = owners.get(index)
            if found is not None:
                candidates.append(self._followed(candidate, detections[found], time_s))
            elif candidate.number:
                candidates.append(replace(candidate, in_view=False))
        taken = set(owners.values())
        for index, detection in enumerate(detections):
            if index not in taken:
                candidates.append(
                    _Candidate(0, detection, time_s, time_s, (0.0, 0.0), 1, in_view=True)
                )
        kept, crowded_out = _largest(candidates, self._most)
        # Numbered only now, so that who is left out takes no number.
        self._candidates = [self._numbered(each) for each in kept]
        return self._result(time_s, crowded_out)

    def predicted(self, time_s: float) -> Tracking:
        """Return the tracks at a time when the detector did not look."""
        return self._result(time_s, ())

    def finish(self) -> tuple[Track, ...]:
        """End every track, and return those that were told."""
        ended = tuple(_track(each, each.face) for each in self._candidates if each.number)
        self._candidates = []
        return ended

    def _followed(self, candidate: _Candidate, face: Detection, time_s: float) -> _Candidate:
        elapsed = time_s - candidate.last_detected_s
        vx, vy = candidate.velocity
        if elapsed > 0:
            (x, y), (u, v) = _centre(face.box), _centre(candidate.face.box)
            vx = _MEMORY * vx + (1 - _MEMORY) * (x - u) / elapsed
            vy = _MEMORY * vy + (1 - _MEMORY) * (y - v) / elapsed
        return _Candidate(
            candidate.number,
            face,
            candidate.first_seen_s,
            time_s,
            (vx, vy),
            candidate.detections + 1,
            in_view=True,
        )

    def _numbered(self, candidate: _Candidate) -> _Candidate:
        if candidate.number or candidate.detections < self._confirm:
            return candidate
        return replace(candidate, number=next(self._numbers))

    def _result(self, time_s: float, crowded_out: Sequence[_Candidate]) -> Tracking:
        left = [
            each
            for each in self._candidates
            if not each.in_view and time_s - each.last_detected_s > self._bridge_s
        ]
        self._candidates = [each for each in self._candidates if each not in left]
        return Tracking(
            present=tuple(
                _track(each, each.at(time_s))
                for each in sorted(self._candidates, key=lambda each: each.number)
                if each.number and each.in_view
            ),
            ended=tuple(_track(each, each.face) for each in (*left, *crowded_out) if each.number),
        )


def _largest(candidates: list[_Candidate], most: int) -> tuple[list[_Candidate], list[_Candidate]]:
    """Part those to be followed from those that are too many, both in the order they were in."""
    if len(candidates) <= most:
        return candidates, []

    def weight(index: int) -> float:
        each = candidates[index]
        area = each.face.box.width * each.face.box.height
        return area * (_LOYALTY if each.detections > 1 else 1.0)

    chosen = set(sorted(range(len(candidates)), key=weight, reverse=True)[:most])
    kept = [each for index, each in enumerate(candidates) if index in chosen]
    return kept, [each for index, each in enumerate(candidates) if index not in chosen]


def distance(one: Box, other: Box) -> float:
    """How far apart two faces are, in face sizes; a change of size counts as distance too."""
    (x, y), (u, v) = _centre(one), _centre(other)
    width = max((one.width + other.width) / 2, 1e-9)
    height = max((one.height + other.height) / 2, 1e-9)
    growth = abs(math.log(max(one.width, 1e-9) / max(other.width, 1e-9)))
    return math.hypot((x - u) / width, (y - v) / height) + growth


def moved(face: Detection, x: float, y: float) -> Detection:
    """Return a face shifted by fractions of the frame."""
    if x == 0 and y == 0:
        return face
    box = Box(face.box.x + x, face.box.y + y, face.box.width, face.box.height)
    points = Keypoints(*(Point(point.x + x, point.y + y) for point in face.keypoints))
    return Detection(box, points, face.score)


def _associate(expected: Sequence[Box], found: Sequence[Box]) -> dict[int, int]:
    """Pair expected faces with found ones, nearest first; return {expected: found}."""
    pairs = []
    places = [(2 * box.x + box.width, box.width) for box in found]
    for i, one in enumerate(expected):
        middle, width = 2 * one.x + one.width, one.width
        for j, (other_middle, other_width) in enumerate(places):
            # In a crowd most pairs are plainly out of reach; measuring each would cost more
            # than all the rest of tracking.
            if abs(middle - other_middle) < _REACH * (width + other_width):
                apart = distance(one, found[j])
                if apart < _REACH:
                    pairs.append((apart, i, j))
    pairs.sort()
    owners: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in pairs:
        if i not in owners and j not in taken:
            owners[i] = j
            taken.add(j)
    return owners


def _centre(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _track(candidate: _Candidate, face: Detection) -> Track:
    return Track(candidate.number, face, candidate.first_seen_s, candidate.last_detected_s)
