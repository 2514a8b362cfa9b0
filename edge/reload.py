"""A new configuration: read and validated whole before anything changes.

What it takes to run it is tried here too, as far as that disturbs nothing: bundles are loaded and
held against their golden vectors, recordings opened. A live camera that is away is no reason to
refuse: it is retried, as at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge import goldens
from edge.cameras import check_uri, is_live, open_camera
from edge.errors import CameraError, ConfigError, MienError, ModelError
from edge.pipeline import Models, load_models
from edge.settings import Settings

Reread = Callable[[], Settings]
"""Reads the settings again, as they were read at the start. It may raise `MienError`."""

FIXED = ("device_id", "mqtt", "commands", "spool")
"""Settings of the connection, and of what waits for it; only a new process changes them."""

GOLDEN_STEPS = 50

_FACES = ("detector", "tracker", "quality", "events")
_MODELS = ("detector", "emotion", "runtime", "bundle_key")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a new configuration is in force, and in one line what became of it."""

    accepted: bool
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A valid configuration, and all that it needs.

    `models` are those before where nothing about them changed. `faces` says whether faces are
    followed by other rules, so that every track ends.
    """

    settings: Settings
    models: Models
    faces: bool


def checked(settings: Settings) -> Settings:
    """Return settings that name a camera.

    Raises
    ------
    ConfigError
        They name none.
    """
    if not settings.camera:
        raise ConfigError(
            "no camera: give --camera URI, or a [[camera]] table in the configuration"
        )
    return settings


def prepare(reread: Reread, before: Settings, models: Models) -> Prepared:
    """Read the new configuration and make ready what it needs; nothing in force is touched.

    Parameters
    ----------
    reread
        Reads it.
    before, models
        What is in force.

    Raises
    ------
    MienError
        It cannot be put in force; the text says why.
    """
    try:
        settings = checked(reread())
    except OSError as exc:
        raise ConfigError(f"the configuration cannot be read: {exc}") from exc
    fixed = [name for name in FIXED if getattr(settings, name) != getattr(before, name)]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)}: cannot change while the daemon runs; restart it instead"
        )
    _check_cameras(settings, before)
    fresh = load_models(settings)
    same = fresh.sha256 == models.sha256 and _equal(_MODELS, settings, before)
    if not same:
        _check_answers(fresh)
    return Prepared(
        settings, models if same else fresh, faces=not (same and _equal(_FACES, settings, before))
    )


def _equal(names: tuple[str, ...], one: Settings, other: Settings) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _check_cameras(settings: Settings, before: Settings) -> None:
    for camera in settings.camera:
        check_uri(camera)
        if camera in before.camera or is_live(camera):
            continue
        try:
            open_camera(camera).close()
        except CameraError as exc:
            raise ConfigError(str(exc)) from exc


def _check_answers(models: Models) -> None:
    expected = goldens.read(models.bundle, models.manifest)
    found = goldens.check(models.networks, expected, steps=GOLDEN_STEPS)
    if not found.passed:
        raise ModelError(
            f"{models.bundle.ident} answers differently here than where it was made; install "
            "another [runtime] library, or another bundle"
        )


def refusal(exc: MienError) -> Outcome:
    """Return the outcome of a configuration that was refused, in one line."""
    return Outcome(accepted=False, text=" ".join(str(exc).split()))
