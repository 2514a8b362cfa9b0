"""A thread for each camera, and a mailbox of one slot between it and the main thread.

The main thread infers; it must never wait for a camera it is not ready for, nor look at an old
picture when a newer one exists. So each camera's thread leaves its newest frame in a mailbox
and what is not fetched in time is dropped and counted, except where a source asks that every
frame be looked at (a clip played fast): then the thread waits for the slot.

All mailboxes of a device ring one bell, so that the main thread waits for whichever camera
comes first and then takes from each in turn:

    with Captures(settings.camera) as captures:
        while captures.active:
            captures.wait(timeout_s=1.0)
            for capture in captures.active:
                frame = capture.take()
                ...
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import final

from edge.cameras import open_camera
from edge.datatypes import Frame
from edge.imaging import arrange, thinned
from edge.settings import Camera as CameraSettings

_log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0
"""How long a camera's thread is given to finish the read it is in."""


class Mailbox:
    """One slot for frames, then the end of the stream: its mere end, or the error that ended it.

    Safe between one thread that puts and one that takes.

    Parameters
    ----------
    bell
        What rings when something is put; shared by all the mailboxes one thread waits for.
    """

    def __init__(self, bell: threading.Condition | None = None) -> None:
        self._bell = threading.Condition() if bell is None else bell
        self._slot: Frame | None = None
        self._error: Exception | None = None
        self._finished = False
        self._told = False
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many frames were replaced by newer ones before anyone took them."""
        return self._dropped

    @property
    def closed(self) -> bool:
        """Whether the taker wants no more."""
        return self._closed

    @property
    def ready(self) -> bool:
        """Whether `take` has news: a frame, or an end it has not told of yet."""
        return self._slot is not None or (self._finished and not self._told)

    @property
    def ended(self) -> bool:
        """Whether the stream is over, every frame of it taken and its end told."""
        return self._told

    def put(self, frame: Frame) -> bool:
        """Leave a frame, in place of one that was not taken. False where the box is closed."""
        with self._bell:
            self._dropped += self._slot is not None
            return self._leave(frame)

    def put_waiting(self, frame: Frame) -> bool:
        """Wait until the slot is empty, then leave a frame. False where the box is closed."""
        with self._bell:
            self._bell.wait_for(lambda: self._slot is None or self._closed)
            return self._leave(frame)

    def finish(self, error: Exception | None = None) -> None:
        """Say that no frame will follow and, where something went wrong, what."""
        with self._bell:
            self._finished, self._error = True, error
            self._bell.notify_all()

    def take(self, timeout_s: float | None = 0.0) -> Frame | None:
        """Take the frame.

        Parameters
        ----------
        timeout_s
            How long to wait for news, in seconds; None waits for ever.

        Returns
        -------
        Frame or None
            None where no frame came in time, and at the end: then `ended` is true.

        Raises
        ------
        Exception
            The error that ended the stream, after the last frame and from then on.
        """
        with self._bell:
            self._bell.wait_for(lambda: self.ready or self._told or self._closed, timeout_s)
            frame, self._slot = self._slot, None
            if frame is not None:
                self._bell.notify_all()
                return frame
            self._told = self._finished
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Want no more: what is in the slot is dropped and whoever waits is let go."""
        with self._bell:
            self._closed, self._slot = True, None
            self._bell.notify_all()

    def _leave(self, frame: Frame) -> bool:
        if self._closed:
            return False
        self._slot = frame
        self._bell.notify_all()
        return True


def prepared(frame: Frame, settings: CameraSettings) -> Frame:
    """Turn, mirror and cut a frame as its camera's settings say, and thin out its colour."""
    return thinned(arrange(frame, settings.rotate, settings.flip, settings.region))


class Capture:
    """Reads one camera in a thread of its own.

    Parameters
    ----------
    settings
        The camera: its URI, its name, how its pictures are turned and cut.
    bell
        See `Mailbox`.
    """

    def __init__(self, settings: CameraSettings, bell: threading.Condition | None = None) -> None:
        self._settings = settings
        self._mailbox = Mailbox(bell)
        self._frames = 0
        # A read that hangs in C cannot be interrupted; it must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, name=f"capture {settings.name}", daemon=True
        )

    @property
    def name(self) -> str:
        """The camera's name in the settings."""
        return self._settings.name

    @property
    def frames(self) -> int:
        """How many frames the camera gave."""
        return self._frames

    @property
    def dropped(self) -> int:
        """How many of them were replaced by newer ones before they were taken."""
        return self._mailbox.dropped

    @property
    def ready(self) -> bool:
        """Whether `take` has news."""
        return self._mailbox.ready

    @property
    def ended(self) -> bool:
        """Whether the camera is done and `take` has said so."""
        return self._mailbox.ended

    def start(self) -> None:
        """Open the camera and read it, in the background."""
        self._thread.start()

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
            The camera could not be opened, or failed.
        Exception
            A defect in the thread, raised here so that it is not lost there.
        """
        return self._mailbox.take(timeout_s)

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
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("camera %s: did not let go within %g s", self.name, timeout_s)
            return False
        return True

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._read_all()
        except Exception as exc:  # noqa: BLE001  # handed over whole: `take` raises it
            error = exc
        self._mailbox.finish(error)

    def _read_all(self) -> None:
        settings = self._settings
        camera = open_camera(settings)
        try:
            _log.info("camera %s: open", self.name)
            put = self._mailbox.put_waiting if camera.lossless else self._mailbox.put
            while not self._mailbox.closed and (frame := camera.read()) is not None:
                self._frames += 1
                if not put(prepared(frame, settings)):
                    break
            _log.info("camera %s: %d frames read", self.name, self._frames)
        finally:
            camera.close()


@final
class Captures:
    """The captures of a device's cameras, waited for together. A context manager.

    Parameters
    ----------
    cameras
        The cameras' settings.
    """

    def __init__(self, cameras: Sequence[CameraSettings]) -> None:
        self._bell = threading.Condition()
        self._woken = False
        self._all = tuple(Capture(settings, self._bell) for settings in cameras)

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

    @property
    def all(self) -> tuple[Capture, ...]:
        """Every capture, in the order of the settings."""
        return self._all

    @property
    def active(self) -> list[Capture]:
        """The captures that have not ended, in the order of the settings."""
        return [capture for capture in self._all if not capture.ended]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a camera has news: a frame, its end, or an error.

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
        """End every thread; see `Capture.stop`. False where a camera did not let go."""
        for capture in self._all:
            capture.request_stop()
        stopped = [capture.stop(timeout_s) for capture in self._all]
        return all(stopped)

    def _has_news(self) -> bool:
        return any(capture.ready for capture in self._all)
