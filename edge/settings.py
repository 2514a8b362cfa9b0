"""What can be set, and what each setting means: the structs that `mien.toml` is read into.

`edge.config` reads and checks them; everything else takes only the struct it needs.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

# `$` alone is satisfied before a line end too, here and in Python, though not in JavaScript.
END = r"(?!\n)$"

Text = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[^\u0000-\u001f\u007f]+{END}",
        max_length=4096,
        description="without line ends and other control characters",
    ),
]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)]
Luma = Annotated[float, msgspec.Meta(ge=0.0, le=255.0)]
TopicLevel = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]*{END}",
        max_length=64,
        description="letters, digits, '_', '.' and '-'; it becomes one level of an MQTT topic",
    ),
]
Pixels = Annotated[int, msgspec.Meta(ge=16, le=8192)]
EvenPixels = Annotated[int, msgspec.Meta(ge=16, le=8192, multiple_of=2)]
FramesPerSecond = Annotated[float, msgspec.Meta(ge=1.0, le=240.0)]
# A track is bridged over 0.8 s, and takes two looks to begin.
PacedFps = Annotated[float, msgspec.Meta(ge=2.0, le=240.0)]
MainsFrequency = Literal["off", 50, 60]
StreamTimeout = Annotated[float, msgspec.Meta(ge=0.5, le=120.0)]
TopicPath = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*{END}",
        max_length=256,
        description="one or more levels of an MQTT topic",
    ),
]


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manner of every settings struct."""


class Picamera2(_Settings, frozen=True):
    """A Raspberry Pi camera, through libcamera.

    The `main` stream is read at `width` x `height`. With `lores` the main stream runs at twice
    that, and what is read is scaled down from it by the image processor: many sensors crop their
    view for small pictures, and this keeps it wide. `mains_hz` lets exposure times fit the
    flicker of lamps, `exposure_ev` brightens (+) or darkens (-) by powers of two, `autofocus`
    keeps focusing where the lens can move. What is left out stays as the camera has it.
    """

    width: EvenPixels = 640
    height: EvenPixels = 480
    fps: FramesPerSecond = 30.0
    stream: Literal["main", "lores"] = "main"
    mains_hz: MainsFrequency | None = None
    exposure_ev: Annotated[float, msgspec.Meta(ge=-8.0, le=8.0)] | None = None
    autofocus: bool | None = None


class V4l2(_Settings, frozen=True):
    """A USB camera, or whatever else the kernel shows as /dev/videoN.

    `format` is what crosses the cable (MJPG, YUYV; OpenCV chooses unless told): MJPG for large
    pictures, because USB 2 is too slow for 1280x720 YUYV. `mains_hz` is the camera's own filter
    against the flicker of lamps; left out, it stays as it is.
    """

    width: Pixels = 640
    height: Pixels = 480
    fps: Annotated[int, msgspec.Meta(ge=1, le=240)] = 30
    format: Annotated[str, msgspec.Meta(pattern=rf"^[A-Z0-9]{{4}}{END}")] | None = None
    buffers: Annotated[int, msgspec.Meta(ge=2, le=10)] = 4
    mains_hz: MainsFrequency | None = None


class Stream(_Settings, frozen=True):
    """A camera on the network: RTSP, or MJPEG over HTTP.

    `transport` is RTSP's: `tcp` is tried first and UDP where the camera refuses it; `udp` is
    UDP alone. All cameras of a process share one, because OpenCV has one setting for all.
    """

    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: StreamTimeout = 10.0
    read_timeout_s: StreamTimeout = 10.0


class Argus(_Settings, frozen=True):
    """A CSI camera of a Jetson. Its own rotation is left alone: use the camera's `rotate`."""

    width: EvenPixels = 1280
    height: EvenPixels = 720
    fps: Annotated[int, msgspec.Meta(ge=1, le=240)] = 30


class Camera(_Settings, frozen=True):
    """One camera. `region` (x, y, width, height as fractions) is cut after turning.

    A live camera whose pictures have been identical, pixel for pixel, for `frozen_s` seconds is
    opened again; 0 is never, for a source that may really hold still. Each kind of camera has a
    table of its own, which only a URI of that kind may have.
    """

    uri: Text
    name: TopicLevel = "camera"
    rotate: Literal[0, 90, 180, 270] = 0
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    region: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    frozen_s: Seconds = 30.0
    picamera2: Picamera2 | None = None
    v4l2: V4l2 | None = None
    stream: Stream | None = None
    argus: Argus | None = None

    @property
    def scheme(self) -> str:
        """What stands before the colon of the URI."""
        return self.uri.partition(":")[0]


CAMERA_TABLES = {
    "picamera2": ("picamera2",),
    "v4l2": ("v4l2",),
    "stream": ("rtsp", "http", "https"),
    "argus": ("argus",),
}
"""The tables that a `[[camera]]` may have, each with the URI schemes it is for."""


class Detector(_Settings, frozen=True):
    """Which faces are found. `every` frames the detector looks; between, tracks are predicted.

    `score` replaces the bundle's own threshold. Faces beyond the `most_faces` largest are left
    out, so that a crowd cannot stall the device; one that is followed gives way only to one of
    twice its area.
    """

    bundle: Text = "blazeface-short"
    every: Annotated[int, msgspec.Meta(ge=1, le=30)] = 1
    score: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] | None = None
    most_faces: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16


class Tracker(_Settings, frozen=True):
    """`confirm` detections begin a track; one not detected for `bridge_s` seconds has left."""

    confirm: Annotated[int, msgspec.Meta(ge=1, le=30)] = 2
    bridge_s: Seconds = 0.8


class Emotion(_Settings, frozen=True):
    """Which expression bundle runs."""

    bundle: Text = "mien-consensus"


class Limits(_Settings, frozen=True):
    """How poor a look at a face may be; one beyond any of these limits is not judged.

    What each measures: see `edge.quality.Quality`. 0 for a least, and 255 or 90 for a most, never
    refuse. The defaults were measured by `mien-convert quality`: see docs/measurements.md.
    """

    least_side_pixels: Annotated[float, msgspec.Meta(ge=0.0, le=512.0)] = 10.0
    least_sharpness: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.02
    least_light: Luma = 5.0
    most_light: Luma = 250.0
    least_contrast: Luma = 3.0
    most_yaw_degrees: Annotated[float, msgspec.Meta(ge=0.0, le=90.0)] = 60.0


Preset = Literal["calm", "quick"]


class Rules(_Settings, frozen=True):
    """When a change is told, every number known: see `edge.events`."""

    settle_s: Seconds
    hold_s: Seconds
    margin: Share
    heartbeat_s: Seconds


class Events(_Settings, frozen=True):
    """When a change is told. What is left out is the preset's; see `PRESETS`."""

    preset: Preset = "quick"
    settle_s: Seconds | None = None
    hold_s: Seconds | None = None
    margin: Share | None = None
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600.0)] = 5.0

    @property
    def rules(self) -> Rules:
        """The numbers in force."""
        told = {name: getattr(self, name) for name in ("settle_s", "hold_s", "margin")}
        return msgspec.structs.replace(
            PRESETS[self.preset],
            heartbeat_s=self.heartbeat_s,
            **{name: value for name, value in told.items() if value is not None},
        )


PRESETS: dict[Preset, Rules] = {
    "calm": Rules(settle_s=0.2, hold_s=0.4, margin=0.4, heartbeat_s=5.0),
    "quick": Rules(settle_s=0.2, hold_s=0.1, margin=0.3, heartbeat_s=5.0),
}
"""Chosen by `mien-convert events`, whose rule and figures are in docs/events."""


class Recovery(_Settings, frozen=True):
    """When a live camera is given up and opened again.

    One that gives no picture for `stalled_s` is told as `stalled`. A call into its driver that
    has not returned `hang_s` after the camera's own time limit (`stream.open_timeout_s`,
    `stream.read_timeout_s`) hangs: its thread is left behind and the camera opened anew; where
    that does not help within the same time, the process ends, to be started afresh. Between
    attempts to open it there are random waits, which double up to `retry_longest_s`.
    """

    stalled_s: Annotated[float, msgspec.Meta(ge=0.5, le=3600.0)] = 5.0
    hang_s: Annotated[float, msgspec.Meta(ge=0.5, le=3600.0)] = 30.0
    retry_longest_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600.0)] = 15.0


class Cadence(_Settings, frozen=True):
    """How often cameras are looked at when there is little to see, or too much heat.

    A camera that saw no face for `idle_after_s` is looked at `idle_fps` times a second until one
    appears. While the board is at `hot_celsius` or above, until it is 5 degrees cooler, no camera
    is looked at more than `hot_fps` times a second. Clips with `pace=fast` are exempt: every
    frame of them is looked at.
    """

    idle_after_s: Seconds = 30.0
    idle_fps: PacedFps = 5.0
    hot_celsius: Annotated[float, msgspec.Meta(ge=0.0, le=150.0)] = 80.0
    hot_fps: PacedFps = 5.0


class Runtime(_Settings, frozen=True):
    """What runs the models, and on how many cores.

    With `edgetpu`, the frame model runs on a Coral Edge TPU, from a `frame_edgetpu.tflite` beside
    the bundle's own; the CPU runs it while there is none or it does not work. One that failed is
    tried again after `edgetpu_retry_s`. One that does not answer for `edgetpu_hang_s` hangs: the
    process ends, and the next one begins without it.
    """

    library: Literal["ai-edge-litert", "tflite-runtime"] = "ai-edge-litert"
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    edgetpu: bool = False
    # Less than WatchdogSec of the unit, or systemd would be first, and no track be ended.
    edgetpu_hang_s: Annotated[float, msgspec.Meta(ge=0.5, le=20.0)] = 10.0
    edgetpu_retry_s: Annotated[float, msgspec.Meta(ge=1.0, le=86_400.0)] = 300.0


class Mqtt(_Settings, frozen=True):
    """Where events are published, and as whom.

    `password_file` and the TLS files are read at every connection, so that they can be renewed
    while the daemon runs. Each may be `credential:NAME` instead, one that systemd hands over: see
    `edge.credentials`. `queue` events are kept in memory while the broker is away and there
    is no spool, or its disk fails; then the oldest are dropped. A broker forgets an event that
    it could not deliver for `event_expiry_s` (MQTT 5). With `protocol` auto, MQTT 5 is tried
    first, and 3.1.1 where the broker does not take it. A password is sent without TLS only to
    this machine, or with `allow_plaintext_password`.
    """

    url: Text = "mqtt://localhost"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    prefix: TopicPath = "mien"
    username: Text | None = None
    password_file: Text | None = None
    allow_plaintext_password: bool = False
    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30
    queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    event_expiry_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 3600


class Commands(_Settings, frozen=True):
    """Whether others may ask something of the device over MQTT: see `edge.commands`.

    Without `enabled`, nothing is subscribed to. Who may ask is the broker's to say: let none but
    them publish below `<prefix>/<device_id>/cmd/`.
    """

    enabled: bool = False


class HomeAssistant(_Settings, frozen=True):
    """How Home Assistant finds the device by itself, where it uses the same broker.

    `discovery_prefix` and the topic of its birth message are as in the options of its MQTT
    integration. With `enabled` false, what it was told before is taken back.
    """

    enabled: bool = True
    discovery_prefix: TopicPath = "homeassistant"
    status_topic: TopicPath = "homeassistant/status"


class Spool(_Settings, frozen=True):
    """Where events are kept until the broker has them, so that they outlive process and power.

    `path` is a folder of their own, for one process at a time; left out, it is `spool` below
    the state directory that systemd gives (`STATE_DIRECTORY`), and where there is none, or with
    `enabled` false, events wait in memory (`mqtt.queue` of them) and are lost with the process.
    Beyond `most_mb` (10^6 bytes on disk) or `most_hours` the oldest are dropped and counted.
    """

    enabled: bool = True
    path: Text | None = None
    most_mb: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    most_hours: Annotated[float, msgspec.Meta(gt=0.0, le=87_600.0)] = 168.0


class Settings(_Settings, frozen=True):
    """Everything that can be set. Every table may be left out; only a camera must be named.

    With `bundle_key`, the PEM file of an Ed25519 public key, only bundles that this key signed
    are loaded: see `edge.signature`.
    """

    device_id: TopicLevel = "mien"
    camera: tuple[Camera, ...] = ()
    detector: Detector = Detector()
    tracker: Tracker = Tracker()
    quality: Limits = Limits()
    emotion: Emotion = Emotion()
    events: Events = Events()
    runtime: Runtime = Runtime()
    recovery: Recovery = Recovery()
    cadence: Cadence = Cadence()
    mqtt: Mqtt = Mqtt()
    commands: Commands = Commands()
    homeassistant: HomeAssistant = HomeAssistant()
    spool: Spool = Spool()
    # Empty would look like switched off.
    bundle_key: Annotated[Text, msgspec.Meta(min_length=1)] | None = None
