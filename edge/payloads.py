"""What is published besides events, one type for each topic.

Every payload is JSON with a `schema` field; schema /1 only ever gains keys, and consumers ignore
those they do not know. All but events and results are retained: a subscriber that comes late hears
how things stand. `<prefix>/availability` alone is plain text, `online` or `offline`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Literal

import msgspec

from edge.datatypes import EventBox, Flaw, Fraction, Milliseconds, Valence

ONLINE = b"online"
OFFLINE = b"offline"

Count = Annotated[int, msgspec.Meta(ge=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Timestamp = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="UTC, RFC 3339; trust it only where clock_synced is true",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """The expression bundle; `sha256` is its manifest's, which names the sha256 of each file."""

    ident: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What runs where, on `<prefix>/info`; changes only when the process starts again.

    `versions` are those of mien, python and the libraries that matter; `board` is the name the
    board gives itself, `machine` its processor architecture; `backend` is what runs the models;
    `started` is when the process began.
    """

    schema: Literal["mien-info/1"] = "mien-info/1"
    device_id: str
    boot_id: str
    started: Timestamp
    clock_synced: bool
    versions: dict[str, str]
    board: str
    machine: str
    bundle: BundleInfo
    backend: str
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Latency of one stage since the health report before, in milliseconds."""

    p50: Milliseconds
    p95: Milliseconds
    p99: Milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """What was lost since the process began.

    `frames` per camera: newer ones took their place before they were looked at. `events`: the
    broker refused them, or was away until there were too many or they were too old to keep, or
    the disk lost them.
    """

    frames: dict[str, Count]
    events: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person should know of, for as long as it lasts.

    `code` is for programs and stays the same between versions, `text` is for people, `since`
    is when it began.
    """

    code: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
    text: str
    since: Timestamp


Pace = Literal["full", "idle", "hot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the device is doing, on `<prefix>/health`, every 30 seconds.

    `uptime_s` counts since the process began. `fps` is frames looked at a second, per camera,
    since the report before. `pace` is why that often: `full` is as the camera gives them, `idle`
    less often because no face was seen for a while, `hot` because the board is. `latency_ms` is
    per stage; stages that did not run are left out. `rss_mb` is resident memory in units of 10^6
    bytes. `celsius` is the hottest sensor's temperature, null where there is none. `throttled`
    says whether the board runs slower than it could, for heat or lack of power; null where it
    does not say. `spool_depth` is how many events wait for the broker.
    """

    schema: Literal["mien-health/1"] = "mien-health/1"
    boot_id: str
    ts: Timestamp
    clock_synced: bool
    uptime_s: NonNegative
    fps: dict[str, NonNegative]
    pace: dict[str, Pace] = field(default_factory=dict)
    latency_ms: dict[str, Percentiles]
    rss_mb: NonNegative
    celsius: float | None
    throttled: bool | None
    drops: Drops
    spool_depth: Count
    problems: tuple[Problem, ...]


Verdict = Literal["passed", "warned", "failed", "skipped"]
Scope = Literal["boot", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestCheck:
    """One thing that was looked at.

    `failed`: a promise of the device is broken, and `text` says how to mend it. `warned`: it works,
    but not as well as it could. `skipped`: there was nothing to look at, or not this time; `text`
    says why. `measured` and `budget` are in `unit`, and null where there is no number. Where a
    time was measured many times, `measured` is the 95th percentile, and `percentiles` has all.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    verdict: Verdict
    measured: float | None = None
    budget: float | None = None
    unit: str = ""
    percentiles: Percentiles | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What the last self-test found, on `<prefix>/selftest`.

    `scope` is `boot` for the short one before the daemon is ready, else `full`. `boot_id` is as in
    events, null where no daemon ran it. `profile` is the row of the board table whose budgets were
    used. `took_s` is how long it took. `verdict` is `failed` where any check failed.
    """

    schema: Literal["mien-selftest/1"] = "mien-selftest/1"
    boot_id: str | None
    ts: Timestamp
    clock_synced: bool
    scope: Scope
    board: str
    profile: str
    took_s: NonNegative
    verdict: Literal["passed", "failed"]
    checks: tuple[SelfTestCheck, ...]


CommandName = Literal["selftest", "pause", "resume", "reload"]
CommandId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$",
        max_length=64,
        description="chosen by who asks; letters, digits, '_', '.', ':' and '-'",
    ),
]
Conclusion = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a command, on `<prefix>/cmd/result`; not retained.

    `done`: it was carried out; what a self-test found is on `<prefix>/selftest`. `refused`: nothing
    was changed. `failed`: it was begun and did not come to its end. `text` says so for people.
    `id` is the command's, null where it had none or could not be read.
    """

    schema: Literal["mien-result/1"] = "mien-result/1"
    device_id: str
    boot_id: str
    command: CommandName
    id: CommandId | None
    outcome: Conclusion
    text: str
    ts: Timestamp
    clock_synced: bool


Condition = Literal["ok", "stalled", "reconnecting", "paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatus:
    """Whether a camera gives pictures, on `<prefix>/camera/<camera>/status`.

    `ok`: frames come. `stalled`: it is open and none come. `reconnecting`: it is being opened.
    `paused`: on request. `since` is when that began, `reason` why, in words; empty for `ok`.
    """

    schema: Literal["mien-camera-status/1"] = "mien-camera-status/1"
    camera: str
    status: Condition
    since: Timestamp
    clock_synced: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNow:
    """One face in view; `track` is its events' `track.id`, `valence` and `poor` are as in those."""

    track: Annotated[int, msgspec.Meta(ge=1)]
    emotion: str
    confidence: Fraction
    box: EventBox
    valence: Valence = 0.0
    poor: tuple[Flaw, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState:
    """Who is in view now, on `<prefix>/camera/<camera>/state`.

    `faces` is how many; `emotion` is the one most of them show, the surer one where two are
    shown equally often; `confidence` is the mean of those that show it, `valence` the mean of all.
    The three are null where there is no face. `present` lists the faces.
    """

    schema: Literal["mien-camera-state/1"] = "mien-camera-state/1"
    camera: str
    ts: Timestamp
    clock_synced: bool
    faces: Count
    emotion: str | None
    confidence: Fraction | None = None
    valence: Valence | None = None
    present: tuple[FaceNow, ...]


def state(
    camera: str, present: Iterable[FaceNow] = (), *, ts: str, clock_synced: bool
) -> CameraState:
    """Return the state of a camera whose faces in view are `present`."""
    faces = tuple(present)
    emotion = dominant(faces)
    return CameraState(
        camera=camera,
        ts=ts,
        clock_synced=clock_synced,
        faces=len(faces),
        emotion=emotion,
        confidence=_mean(face.confidence for face in faces if face.emotion == emotion),
        valence=_mean(face.valence for face in faces),
        present=faces,
    )


def _mean(shares: Iterable[float]) -> float | None:
    every = tuple(shares)
    return round(fmean(every), 4) if every else None


def dominant(faces: Iterable[FaceNow]) -> str | None:
    """Return the emotion most faces show; of equally frequent ones that with more confidence."""
    votes: dict[str, tuple[int, float]] = {}
    for face in faces:
        count, confidence = votes.get(face.emotion, (0, 0.0))
        votes[face.emotion] = (count + 1, confidence + face.confidence)
    return max(votes, key=lambda emotion: votes[emotion]) if votes else None
