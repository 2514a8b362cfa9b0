"""The models: whose they are, and whether they answer here as they did where they were made."""

from __future__ import annotations

from collections.abc import Iterator

from edge import goldens
from edge.payloads import SelfTestCheck
from edge.pipeline import Models
from edge.selftest.subject import Subject, at_most, said

BOOT_STEPS = 50
"""Golden steps before the daemon is ready; on demand, all."""

_WRONG = "the models answer differently here; install another [runtime] library, or another bundle"


def bundles(subject: Subject) -> Iterator[SelfTestCheck]:
    """Say whose bundles run: loading them has verified every hash, and the signature if asked."""
    if subject.models is None:
        return
    key = subject.settings.bundle_key
    signed = f"signed by {key}" if key else "no bundle_key, so signatures were not asked for"
    yield said("bundles", "passed", f"{subject.models.bundle.ident}; hashes hold; {signed}")


def golden(subject: Subject) -> Iterator[SelfTestCheck]:
    """Compare this machine's answers, by its own runtime, with the golden ones, in logits."""
    if subject.models is None:
        return
    models: Models = subject.models
    expected = goldens.read(models.bundle, models.manifest)
    steps = BOOT_STEPS if subject.quick else None
    found = goldens.check(models.networks, expected, steps=steps)
    for part, difference, tolerance in (
        ("frame", found.frame_difference, found.frame_tolerance),
        ("head", found.head_difference, found.head_tolerance),
    ):
        yield at_most(f"golden-{part}", difference, tolerance, "logits", cure=_WRONG)
