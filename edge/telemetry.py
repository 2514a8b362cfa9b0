"""Tells the broker how the device is: what runs, which cameras give pictures, who is in view.

The publisher knows topics and the broker, the monitor counts; this says what to publish when.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from time import monotonic

from edge import clock, health, payloads
from edge.bundle import Bundle
from edge.capture import Capture
from edge.health import Monitor, Sensors
from edge.mqtt import Publisher
from edge.outbox import Trouble
from edge.payloads import BundleInfo, CameraStatus, Condition, FaceNow, Info
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
        self._sensors = Sensors()
        cameras = tuple(camera.name for camera in settings.camera)
        self.monitor = Monitor(boot_id, cameras, sensors=self._sensors)
        self._conditions: dict[str, Condition] = {}
        self._troubled: set[str] = set()
        self._health_due_s = monotonic() + FIRST_HEALTH_S
        publisher.info(self._info(settings, bundle, boot_id, cameras))

    def frame(self, camera: str) -> None:
        """Count a frame of a camera; its first one says that the camera works."""
        self.monitor.frame(camera)
        self._condition(camera, "ok", "")

    def ended(self, camera: str, reason: str) -> None:
        """Say that a camera gives no more pictures, and that nobody is in its view."""
        self._condition(camera, "stalled", reason)
        self.present(camera, ())

    def present(self, camera: str, faces: Sequence[FaceNow]) -> None:
        """Say who is in view of a camera now."""
        self._publisher.state(
            payloads.state(
                camera, faces, ts=clock.utc(monotonic()), clock_synced=clock.synchronised()
            )
        )

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

    def _condition(self, camera: str, condition: Condition, reason: str) -> None:
        if self._conditions.get(camera) == condition:
            return
        self._conditions[camera] = condition
        self._publisher.status(
            CameraStatus(
                camera=camera,
                status=condition,
                since=clock.utc(monotonic()),
                clock_synced=clock.synchronised(),
                reason=reason,
            )
        )

    def _info(
        self, settings: Settings, bundle: Bundle, boot_id: str, cameras: tuple[str, ...]
    ) -> Info:
        return Info(
            device_id=settings.device_id,
            boot_id=boot_id,
            started=clock.utc(monotonic()),
            clock_synced=clock.synchronised(),
            versions=health.versions(_LIBRARIES),
            board=self._sensors.board(),
            machine=platform.machine(),
            bundle=BundleInfo(ident=bundle.ident, sha256=bundle.sha256),
            backend=f"{settings.runtime.library} on the CPU",
            cameras=cameras,
        )
