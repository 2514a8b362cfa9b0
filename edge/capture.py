"""A thread for each camera, watched over by the main thread.

The main thread infers; it must never wait for a camera it is not ready for. So each camera is
read by a thread of its own (`edge.reader`), which leaves its newest frame in a mailbox
(`edge.mailbox`). All mailboxes of a device ring one bell, so that the main thread waits for
whichever camera comes first and then takes from each in turn:

    with Captures(settings.camera) as captures:
        while captures.active:
            captures.wait(timeout_s=1.0)
            for capture in captures.active:
                frame = capture.take()
                ...

A thread that hangs in a call into its driver cannot be ended. `Capture.attend` notices, leaves it
behind with its mailbox closed, and starts another; where that does not help, only a new process
will, and it raises `HungError`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from time import monotonic
from types import TracebackType
from typing import final

from edge.datatypes import Frame
from edge.errors import HungError
from edge.mailbox import Mailbox, Situation
from edge.reader import Reader, limits_of
from edge.settings import Camera as CameraSettings
from edge.settings import Recovery

_log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 1.5
"""How long the cameras' threads are given, all together, to finish the reads they are in."""

_LATE_S = 10.0
"""How much later than it should a thread may do its next step before it counts as lost."""


class Capture:
    """Reads one camera in a thread of its own.

    Parameters
    ----------
    settings
        The camera: its URI, its name, how its pictures are turned and cut.
    bell
        See `Mailbox`.
    recovery
        How a live camera is opened again when it is lost; without it, `take` raises what was
        wrong.
    """

    def __init__(
        self,
        settings: CameraSettings,
        bell: threading.Condition | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        self._settings = settings
        self._recovery = recovery
        self._bell = threading.Condition() if bell is None else bell
        self._resumed = threading.Event()
        self._resumed.set()
        self._mailbox = Mailbox(self._bell)
        self._reader = self._new_reader()
        self._abandoned: Reader | None = None
        self._abandoned_s = 0.0
        self._earlier_frames = 0
        self._earlier_drops = 0

    @property
    def name(self) -> str:
        """The camera's name in the settings."""
        return self._settings.name

    @property
    def settings(self) -> CameraSettings:
        """The camera's settings."""
        return self._settings

    @property
    def frames(self) -> int:
        """How many frames the camera gave."""
        return self._earlier_frames + self._reader.frames

    @property
    def dropped(self) -> int:
        """How many of them were replaced by newer ones before they were taken."""
        return self._earlier_drops + self._mailbox.dropped

    @property
    def ready(self) -> bool:
        """Whether `take` has news or, for whoever lets it recover, `changes`."""
        changed = self._recovery is not None and self._mailbox.changed
        return self._mailbox.ready or (changed and not self.ended)

    @property
    def ended(self) -> bool:
        """Whether the camera is done and `take` has said so."""
        return self._mailbox.ended

    @property
    def situation(self) -> Situation:
        """How it stands with the camera now."""
        return self._mailbox.situation

    @property
    def interval_s(self) -> float:
        """Frames that come sooner than this after the one before are passed over."""
        return self._reader.interval_s

    @interval_s.setter
    def interval_s(self, seconds: float) -> None:
        self._reader.interval_s = seconds

    def start(self) -> None:
        """Open the camera and read it, in the background."""
        self._reader.start()

    def take(self, timeout_s: float | None = 0.0) -> Frame | None:
        """Take the newest frame, arranged as the settings say.

        Parameters
        ----------
        timeout_s
            How long to wait for it, in seconds; None waits for ever.

        Returns
        -------
        Frame or None
            None where none came in time, and at the end: then `ended` is true.

        Raises
        ------
        CameraError
            The camera could not be opened, or failed; of one that is opened again, only that
            its URI can name no camera.
        Exception
            A defect in the thread, raised here so that it is not lost there.
        """
        return self._mailbox.take(timeout_s)

    def changes(self) -> list[Situation]:
        """Return how the camera's situation changed since the last call, the oldest first."""
        return self._mailbox.changes()

    def pause(self) -> None:
        """Stop looking: a live camera is closed as soon as it has given its next picture."""
        with self._bell:
            self._resumed.clear()
            self._bell.notify_all()

    def resume(self) -> None:
        """Look again."""
        with self._bell:
            self._resumed.set()
            self._bell.notify_all()

    def on_schedule(self, now_s: float) -> bool:
        """Whether the thread does in time what it should: reads, or waits for its next attempt."""
        return self.ended or now_s <= self._reader.step.over_s + _LATE_S

    def attend(self, now_s: float) -> None:
        """Look after the thread; to be called about once a second.

        Raises
        ------
        HungError
            A call into the camera's driver does not return, and leaving it behind did not help.
        """
        if self.ended or self._recovery is None:
            return
        step, stalled_s = self._reader.step, self._recovery.stalled_s
        if step.activity == "reading" and now_s - step.begun_s > stalled_s:
            self._mailbox.note("stalled", f"no picture for {stalled_s:g} s")
        if now_s > step.over_s:
            self._leave_behind(now_s, f"hangs while {step.activity} it")
        elif self._abandoned is not None:
            self._look_after_the_abandoned(now_s, self._abandoned)

    def request_stop(self) -> None:
        """Let the thread end after the read it is in, without waiting for it."""
        self._mailbox.close()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End the thread, which closes the camera.

        Parameters
        ----------
        timeout_s
            How long to wait for the read it is in, in seconds.

        Returns
        -------
        bool
            False where the camera did not let go in time. The process can still end.
        """
        self.request_stop()
        self._reader.join(timeout_s)
        if self._reader.alive:
            _log.warning("camera %s: did not let go within %.2g s", self.name, timeout_s)
            return False
        return True

    def _new_reader(self) -> Reader:
        return Reader(self._settings, self._mailbox, self._recovery, self._resumed)

    def _leave_behind(self, now_s: float, why: str) -> None:
        """Start anew beside a thread that hangs; one is enough for a driver that is well."""
        if not self._reader.renews or (self._abandoned is not None and self._abandoned.alive):
            raise self._hung(why)
        _log.error("camera %s: %s; its thread is left behind", self.name, why)
        self._mailbox.note("stalled", why)
        with self._bell:
            self._mailbox.close()
            self._earlier_frames += self._reader.frames
            self._earlier_drops += self._mailbox.dropped
            untold = self._mailbox.changes()
            self._mailbox = Mailbox(self._bell, self._mailbox.situation)
            self._mailbox.inherit(untold)
        self._abandoned, self._abandoned_s = self._reader, now_s
        interval_s = self._reader.interval_s
        self._reader = self._new_reader()
        self._reader.interval_s = interval_s
        self._mailbox.note("reconnecting", why)
        self._reader.start()

    def _look_after_the_abandoned(self, now_s: float, abandoned: Reader) -> None:
        """Give up the process where the driver, still held by the lost thread, gives nothing."""
        assert self._recovery is not None  # noqa: S101  # else nothing is abandoned
        if not abandoned.alive or self.situation.condition in ("ok", "paused"):
            self._abandoned = None if not abandoned.alive else abandoned
            self._abandoned_s = now_s
            return
        limits = limits_of(self._settings, self._recovery)
        if now_s - self._abandoned_s > max(limits.open_s, limits.read_s):
            raise self._hung(f"a call into its driver still hangs ({self.situation.reason})")

    def _hung(self, why: str) -> HungError:
        return HungError(
            f"camera {self.name}: {why}, and only a new process gets rid of that; check its "
            "cable and power supply"
        )


@final
class Captures:
    """The captures of a device's cameras, waited for together. A context manager.

    Parameters
    ----------
    cameras
        The cameras' settings.
    recovery
        How live cameras are opened again when they are lost; see `Capture`.
    """

    def __init__(self, cameras: Sequence[CameraSettings], recovery: Recovery | None = None) -> None:
        self._bell = threading.Condition()
        self._woken = False
        self._recovery = recovery
        self._all = tuple(Capture(settings, self._bell, recovery) for settings in cameras)

    def __enter__(self) -> Captures:
        """Start every camera."""
        for capture in self._all:
            capture.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every camera."""
        self.stop()

    def configure(
        self,
        cameras: Sequence[CameraSettings],
        recovery: Recovery | None = None,
        *,
        paused: Collection[str] = (),
    ) -> frozenset[str]:
        """Have these cameras from now on; those whose settings did not change go on undisturbed.

        Those in `paused` do not begin to look before they are resumed.

        Returns
        -------
        frozenset of str
            The names of those that were begun anew.
        """
        kept = {
            capture.name: capture
            for capture in self._all
            if recovery == self._recovery and capture.settings in cameras
        }
        self._stop([capture for capture in self._all if capture.name not in kept])
        self._recovery = recovery
        self._all = tuple(
            kept.get(settings.name) or Capture(settings, self._bell, recovery)
            for settings in cameras
        )
        begun = [capture for capture in self._all if capture.name not in kept]
        for capture in begun:
            if capture.name in paused:
                capture.pause()
            capture.start()
        return frozenset(capture.name for capture in begun)

    @property
    def all(self) -> tuple[Capture, ...]:
        """Every capture, in the order of the settings."""
        return self._all

    @property
    def active(self) -> list[Capture]:
        """The captures that have not ended, in the order of the settings."""
        return [capture for capture in self._all if not capture.ended]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a camera has news: a frame, a change of its situation, its end, an error.

        Parameters
        ----------
        timeout_s
            How long, in seconds; None waits for ever.

        Returns
        -------
        bool
            Whether there is news; False after `timeout_s`, and when `wake` was called.
        """
        with self._bell:
            self._bell.wait_for(lambda: self._woken or self._has_news(), timeout_s)
            self._woken = False
            return self._has_news()

    def wake(self) -> None:
        """Let `wait` return. A signal handler may call it: the bell's lock is reentrant."""
        with self._bell:
            self._woken = True
            self._bell.notify_all()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End every thread within a time for all; False where a camera did not let go."""
        return self._stop(self._all, timeout_s)

    def _stop(self, captures: Sequence[Capture], timeout_s: float = STOP_TIMEOUT_S) -> bool:
        for capture in captures:
            capture.request_stop()
        until_s = monotonic() + timeout_s
        stopped = [capture.stop(max(until_s - monotonic(), 0.0)) for capture in captures]
        return all(stopped)

    def _has_news(self) -> bool:
        return any(capture.ready for capture in self._all)
