"""Tells the broker how the device is: what runs, which cameras give pictures, who is in view.

The publisher knows topics and the broker, the monitor counts; this says what to publish when.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence
from time import monotonic

from edge import __version__, clock, health, payloads
from edge.boards import board_of
from edge.bundle import Bundle
from edge.capture import Capture
from edge.health import Monitor, Sensors
from edge.homeassistant import Device
from edge.mailbox import Situation
from edge.mqtt import Link, Publisher
from edge.outbox import Trouble
from edge.payloads import BundleInfo, CameraStatus, FaceNow, Info, SelfTest
from edge.settings import Settings

HEALTH_EVERY_S = 30.0
FIRST_HEALTH_S = 5.0
"""Soon enough that whoever has just set the device up sees it."""

_LIBRARIES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime", "paho-mqtt")


class Telemetry:
    """What is published besides events. Used by the main thread only.

    Parameters
    ----------
    publisher
        Not started yet.
    settings
        Those in force.
    bundle
        The expression bundle.
    boot_id
        As in events.
    """

    def __init__(
        self, publisher: Publisher, settings: Settings, bundle: Bundle, boot_id: str
    ) -> None:
        self._publisher = publisher
        self._boot_id = boot_id
        self._begun_s = monotonic()
        self._settings, self._bundle = settings, bundle
        self._accelerated = False
        self._sensors = Sensors()
        cameras = tuple(camera.name for camera in settings.camera)
        self.monitor = Monitor(
            boot_id,
            cameras,
            sensors=self._sensors,
            budgets_ms=board_of(self._sensors.board()).busy_ms,
        )
        self._ailing: dict[str, str] = {}
        self._troubled: set[str] = set()
        self._health_due_s = monotonic() + FIRST_HEALTH_S
        self._introduce()

    def situation(self, camera: str, now: Situation) -> None:
        """Say how it stands with a camera; what a person should know of becomes a problem."""
        self._publisher.status(
            CameraStatus(
                camera=camera,
                status=now.condition,
                since=clock.utc(now.since_s),
                clock_synced=clock.synchronised(),
                reason=now.reason,
            )
        )
        if now.condition in ("ok", "paused"):
            self._ailing.pop(camera, None)
        else:
            self._ailing[camera] = now.reason
        self._renew_ailing()

    def _renew_ailing(self) -> None:
        if self._ailing:
            text = "; ".join(f"{name}: {reason}" for name, reason in self._ailing.items())
            self.monitor.problem("camera-away", text)
        else:
            self.monitor.solved("camera-away")

    def configured(self, settings: Settings, bundle: Bundle, begun: Collection[str]) -> None:
        """Take in another configuration; the cameras in `begun` begin anew with it."""
        self._settings, self._bundle = settings, bundle
        cameras = tuple(camera.name for camera in settings.camera)
        self.monitor.cameras(cameras)
        self._ailing = {
            name: reason
            for name, reason in self._ailing.items()
            if name in cameras and name not in begun
        }
        self._renew_ailing()
        self._publisher.configure(cameras, begun)
        self._introduce()

    def reload(self, refused: str | None) -> None:
        """Say, at once, that a new configuration was refused and why; None ends that."""
        if refused is None:
            self.monitor.solved("reload-refused")
        else:
            text = f"the configuration before stays in force: {refused}"
            self.monitor.problem("reload-refused", text)
        self._health_due_s = monotonic()

    def accelerator(self, trouble: str | None, *, in_service: bool) -> None:
        """Say whether the Edge TPU is used, and why not though it should be."""
        if trouble is None:
            self.monitor.solved("edgetpu-away")
        else:
            self.monitor.problem("edgetpu-away", f"the CPU does its work: {trouble}")
        if in_service != self._accelerated:
            self._accelerated = in_service
            self._publisher.info(self._info())

    def selftest(self, report: SelfTest) -> None:
        """Publish what a self-test found; what failed in it is a problem until one passes."""
        self._publisher.selftest(report)
        failed = [f"{each.name}: {each.text}" for each in report.checks if each.verdict == "failed"]
        if failed:
            self.monitor.problem("selftest-failed", "; ".join(failed))
        else:
            self.monitor.solved("selftest-failed")

    def hot(self, celsius: float | None, fps: float) -> None:
        """Say that cameras are looked at less often for heat; None ends it."""
        if celsius is None:
            self.monitor.solved("slowed-by-heat")
            return
        self.monitor.problem(
            "slowed-by-heat",
            f"the board is at {celsius:.0f} degrees: at most {fps:g} frames a second are looked "
            "at; cool it, or raise cadence.hot_celsius",
        )

    def present(self, camera: str, faces: Sequence[FaceNow]) -> None:
        """Say who is in view of a camera now."""
        self._publisher.state(
            payloads.state(
                camera, faces, ts=clock.utc(monotonic()), clock_synced=clock.synchronised()
            )
        )

    def link(self) -> Link:
        """Return how it stands with the broker."""
        return self._publisher.link()

    def tick(self, captures: Sequence[Capture]) -> None:
        """Publish the health report when it is due."""
        if monotonic() < self._health_due_s:
            return
        self._health_due_s = monotonic() + HEALTH_EVERY_S
        link = self._publisher.link()
        self._renew(link.troubles)
        self._publisher.health(
            self.monitor.report(
                frames_dropped={capture.name: capture.dropped for capture in captures},
                events_dropped=link.dropped + link.refused,
                spool_depth=link.depth,
            )
        )

    def _renew(self, troubles: Sequence[Trouble]) -> None:
        """Open a problem for each trouble of the outbox, and close those that are over."""
        codes = {trouble.code for trouble in troubles}
        for code in self._troubled - codes:
            self.monitor.solved(code)
        for trouble in troubles:
            self.monitor.problem(trouble.code, trouble.text)
        self._troubled = codes

    def _introduce(self) -> None:
        """Say what runs here, to everybody and in Home Assistant's words."""
        settings = self._settings
        self._publisher.info(self._info())
        self._publisher.announce(
            settings.homeassistant,
            Device(
                base=f"{settings.mqtt.prefix}/{settings.device_id}",
                cameras=tuple(camera.name for camera in settings.camera),
                labels=self._bundle.labels,
                board=self._sensors.board(),
                version=__version__,
                thermometer=self._sensors.celsius() is not None,
                commands=settings.commands.enabled,
            ),
        )

    def _info(self) -> Info:
        settings, bundle = self._settings, self._bundle
        where = "the CPU, the frame model on the Edge TPU" if self._accelerated else "the CPU"
        return Info(
            device_id=settings.device_id,
            boot_id=self._boot_id,
            started=clock.utc(self._begun_s),
            clock_synced=clock.synchronised(),
            versions=health.versions(_LIBRARIES),
            board=self._sensors.board(),
            machine=platform.machine(),
            bundle=BundleInfo(ident=bundle.ident, sha256=bundle.sha256),
            backend=f"{settings.runtime.library} on {where}",
            cameras=tuple(camera.name for camera in settings.camera),
        )
