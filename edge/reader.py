"""The thread that reads one camera: opens it, hands on its frames, and opens it again.

A live camera that fails, ends, freezes or gives nothing but garbage is closed and opened again
after a wait, for as long as the process lives. A clip is read once: its end is its end, and what
is wrong with it is raised where its frames are taken.

Every step that may take long (a call into a driver, a wait) is begun by saying until when it must
be over; whoever looks at `Reader.step` can tell a thread that waits for its turn from one that
hangs in a call. Such a call cannot be interrupted. Once its mailbox is closed, a thread that
comes back from it finds nobody who listens, releases the camera and ends.
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Literal, final

import numpy as np

from edge.backoff import Backoff
from edge.cameras import Camera, is_live, open_camera
from edge.datatypes import Frame
from edge.errors import CameraError, CameraUriError
from edge.imaging import arrange, thinned
from edge.mailbox import Mailbox
from edge.settings import CAMERA_TABLES, Recovery, Stream
from edge.settings import Camera as CameraSettings
from edge.stillness import Stillness

_log = logging.getLogger(__name__)

MOST_UNUSABLE = 30
"""Pictures in a row that are none; a camera that goes on like this is opened again."""

_STEADY_S = 10.0
"""A camera that gave pictures for this long has recovered: the next wait is short again."""

_FIRST_RETRY_S = 0.5
_SLACK_S = 10.0
"""How late a thread may be that has to wait for the processor."""

Activity = Literal["opening", "reading", "closing", "waiting", "handing over"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a thread does since `begun_s`, and until when it must be over (monotonic seconds)."""

    activity: Activity
    begun_s: float
    over_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How long calls into a camera's driver may take, in seconds, before they count as hanging."""

    open_s: float
    read_s: float


def limits_of(camera: CameraSettings, recovery: Recovery) -> Limits:
    """Return the camera's own time limits, as far as there are any, and `hang_s` on top."""
    own = Stream(open_timeout_s=0.5, read_timeout_s=0.5)
    if camera.scheme in CAMERA_TABLES["stream"]:
        own = camera.stream or Stream()
    return Limits(recovery.hang_s + own.open_timeout_s, recovery.hang_s + own.read_timeout_s)


def prepared(frame: Frame, settings: CameraSettings) -> Frame:
    """Turn, mirror and cut a frame as its camera's settings say, and thin out its colour."""
    return thinned(arrange(frame, settings.rotate, settings.flip, settings.region))


def usable(frame: Frame) -> bool:
    """Whether a frame is a picture at all: luma [h, w] and colour [h', w', 3], not empty."""
    luma, colour = frame.luma, frame.colour
    return (
        luma.ndim == 2  # noqa: PLR2004  # a plane
        and colour.ndim == 3  # noqa: PLR2004  # a plane of pixels
        and colour.shape[2] == 3  # noqa: PLR2004  # blue, green, red
        and luma.dtype == colour.dtype == np.uint8
        and min(luma.size, colour.size) > 0
        and math.isfinite(frame.time_s)
    )


@final
class Reader:
    """Reads one camera in a thread of its own, into a mailbox.

    Parameters
    ----------
    settings
        The camera: its URI, its name, how its pictures are turned and cut.
    mailbox
        Where frames and changes of the situation go.
    recovery
        How a live camera is opened again; without it, it is read once, as a clip is.
    resumed
        Set while the camera may look. Cleared, a live one is closed until it is set again.
    """

    def __init__(
        self,
        settings: CameraSettings,
        mailbox: Mailbox,
        recovery: Recovery | None,
        resumed: threading.Event,
    ) -> None:
        self.frames = 0
        self.skipped = 0
        self.interval_s = 0.0
        """Frames that come sooner than this after the one before are passed over."""
        self._settings = settings
        self._mailbox = mailbox
        self._resumed = resumed
        self._renews = recovery is not None and is_live(settings)
        recovery = recovery or Recovery()
        self._limits = limits_of(settings, recovery)
        self._backoff = Backoff(_FIRST_RETRY_S, recovery.retry_longest_s)
        self._still = Stillness()
        self._unusable = 0
        self._last_s = -math.inf
        self._shape: tuple[int, ...] | None = None
        self._said = ""
        self._opened_s = -math.inf
        self._step = Step("waiting", monotonic(), math.inf)
        # A read that hangs in C cannot be interrupted; it must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, name=f"capture {settings.name}", daemon=True
        )

    @property
    def step(self) -> Step:
        """What the thread does now."""
        return self._step

    @property
    def renews(self) -> bool:
        """Whether the camera is opened again where it fails or ends."""
        return self._renews

    @property
    def alive(self) -> bool:
        """Whether the thread runs or hangs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Open the camera and read it, in the background."""
        self._begin("opening", self._limits.open_s)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, for as long as told."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            if self._renews:
                self._read_for_ever()
            else:
                self._read_once()
        except Exception as exc:  # noqa: BLE001  # handed over whole: `take` raises it
            error = exc
        self._mailbox.finish(error)

    def _read_for_ever(self) -> None:
        while not self._mailbox.closed:
            if not self._resumed.is_set():
                self._hold()
                continue
            frozen = False
            try:
                self._read_once()
                reason = "the stream ended"
            except CameraUriError:
                raise
            except _FrozenError as exc:
                reason, frozen = str(exc), True
            except CameraError as exc:
                reason = str(exc)
            if self._resumed.is_set():
                self._wait_for_the_next_attempt(reason)
            self._still.reopened(monotonic(), frozen=frozen)

    def _wait_for_the_next_attempt(self, reason: str) -> None:
        if self._mailbox.note("reconnecting", reason) and reason != self._said:
            self._said = reason
            _log.warning("camera %s: %s; trying again", self._settings.name, reason)
        wait_s = self._backoff.next_s()
        self._begin("waiting", wait_s + _SLACK_S)
        self._mailbox.wait(wait_s, lambda: not self._resumed.is_set())

    def _read_once(self) -> None:
        self._begin("opening", self._limits.open_s)
        camera = open_camera(self._settings)
        try:
            _log.info("camera %s: open", self._settings.name)
            self._opened_s = monotonic()
            while not self._mailbox.closed:
                if not self._resumed.is_set():
                    if self._renews:
                        return
                    self._hold()
                self._begin("reading", self._limits.read_s)
                frame = camera.read()
                if frame is None:
                    return
                if not self._taken_in(camera, frame):
                    return
        finally:
            self._begin("closing", self._limits.read_s)
            camera.close()

    def _taken_in(self, camera: Camera, frame: Frame) -> bool:
        """Hand a frame on if it is one to look at. False where nobody listens any more."""
        self.frames += 1
        if not usable(frame):
            self._unusable += 1
            if self._unusable >= MOST_UNUSABLE:
                self._unusable = 0
                raise CameraError(
                    f"camera {self._settings.name}: {MOST_UNUSABLE} pictures in a row that are none"
                )
            return True
        self._unusable = 0
        if self._renews and not self._moves(frame):
            return True
        self._note_progress(frame)
        if not camera.lossless and frame.time_s - self._last_s < self.interval_s:
            self.skipped += 1
            return True
        self._last_s = frame.time_s
        self._begin("handing over", math.inf)
        put = self._mailbox.put_waiting if camera.lossless else self._mailbox.put
        return put(prepared(frame, self._settings))

    def _moves(self, frame: Frame) -> bool:
        """Whether the picture changes, or may yet; what it froze with is not shown again."""
        limit_s = self._settings.frozen_s
        if not limit_s:
            return True
        if self._still.seconds(frame.luma, self._step.begun_s) < limit_s:
            return not self._still.suspect
        reason = f"one and the same picture for {limit_s:g} s"
        self._mailbox.note("stalled", reason)
        raise _FrozenError(
            f"{reason}: it froze; if what it shows may really be so still, set its frozen_s = 0"
        )

    def _note_progress(self, frame: Frame) -> None:
        if self._mailbox.note("ok") and self._said:
            _log.info("camera %s: gives pictures again", self._settings.name)
        if frame.luma.shape != self._shape:
            if self._shape is not None:
                height, width = frame.luma.shape
                _log.info("camera %s: pictures are now %dx%d", self._settings.name, width, height)
            self._shape = frame.luma.shape
        if self._said and self._step.begun_s - self._opened_s > _STEADY_S:
            self._backoff.reset()
            self._said = ""

    def _hold(self) -> None:
        """Wait while the camera is paused."""
        self._mailbox.note("paused", "on request")
        self._begin("waiting", math.inf)
        self._mailbox.wait(None, self._resumed.is_set)
        if self._renews:
            self._mailbox.note("reconnecting", "resumed")

    def _begin(self, activity: Activity, within_s: float) -> None:
        now_s = monotonic()
        self._step = Step(activity, now_s, now_s + within_s)


class _FrozenError(CameraError):
    """The camera gives one and the same picture."""
