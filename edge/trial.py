"""Tries a bundle that did not come with the program, in a process of its own, before it is used.

The hashes of a manifest say that its files are the ones it was packaged with, not that the
runtime can live with them. TFLite verifies the form of a model and refuses most damage beyond that;
some makes it crash, abort or take all memory: one file in four hundred of those that
`tests/edge/test_fuzz.py` damages and hashes anew. At the start that would be a process that is
started afresh for ever, and on SIGHUP the end of one that works. So a bundle is loaded and run by
another process first, and refused where that does not end well.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from time import monotonic

import numpy as np

from edge import bundle, goldens
from edge.bundle import MANIFEST, Bundle, StreamManifest
from edge.datatypes import Frame
from edge.detector import Detector
from edge.errors import BundleError, MienError, ModelError
from edge.networks import StreamNetworks
from edge.runtime import Library

LONGEST_S = 15.0
"""How long it may take, which the main thread waits for on SIGHUP: less than WatchdogSec."""

MOST_BYTES = 1 << 30
"""Of memory for the process: ten times what the shipped bundles take."""

STEPS = 50
"""Golden steps that are run; whether they answer rightly is the self-test's to say."""

_REFUSED = 3
"""Exit code of a process that survived and refused a bundle, as its parent then does."""


def require(bundles: Sequence[Bundle], library: Library) -> None:
    """Have every bundle that was not shipped loaded and run by another process.

    Raises
    ------
    BundleError
        The process crashed, or refused the bundle.
    ModelError
        It hung, or could not be begun; or the runtime is missing or refuses a model.
    """
    foreign = [each for each in bundles if each.sha256 not in _shipped()]
    if not foreign:
        return
    code = "import sys; from edge import trial; trial.run(*sys.argv[1:])"
    which = [argument for each in foreign for argument in (str(each.path), each.sha256)]
    names = " and ".join(each.ident for each in foreign)
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, "-c", code, library, *which],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{names}: loading and running it takes longer than {LONGEST_S:g} s; "
            "package a smaller model"
        ) from None
    except OSError as exc:
        raise ModelError(f"{names}: no process can be begun to try it: {exc.strerror}") from exc
    if done.returncode == _REFUSED:
        for each in foreign:
            # It was survived there: here it raises the very error.
            examine(each, library)
    if done.returncode != 0:
        raise BundleError(
            f"{names}: {_why(done, library)}; copy the whole bundle again, or package it again "
            "with the mien that is installed"
        )


def _why(done: subprocess.CompletedProcess[bytes], library: Library) -> str:
    if done.returncode < 0:
        return f"it crashes {library} (signal {-done.returncode})"
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
    return f"the process that tried it failed ({said[-1]})"


def run(library: Library, *which: str) -> None:
    """Try bundles, each given by its folder and its manifest's sha256; the work of the process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    # A crash is the expected end of a bad bundle, not a thing to keep a dump of.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What the parent has read and, where a key is asked for, found signed; nothing else.
    loaded = [
        bundle.load(folder, sha256=sha256)
        for folder, sha256 in zip(which[::2], which[1::2], strict=True)
    ]
    try:
        for each in loaded:
            examine(each, library)
    except MienError:
        sys.exit(_REFUSED)


def examine(loaded: Bundle, library: Library) -> None:
    """Load a bundle's networks and run them.

    Raises
    ------
    MienError
        They cannot be loaded or run, or their golden vectors are none.
    """
    manifest = loaded.manifest
    if isinstance(manifest, StreamManifest):
        networks = StreamNetworks(loaded, manifest, library=library)
        goldens.check(networks, goldens.read(loaded, manifest), steps=STEPS)
        return
    gray = np.full((240, 320), 128, np.uint8)
    now_s = monotonic()
    Detector(loaded, manifest, library=library)(
        Frame(gray, np.dstack([gray, gray, gray]), now_s, now_s)
    )


@cache
def _shipped() -> frozenset[str]:
    """Return the sha256 of the manifests that came with the program."""
    files = (bundle.locate(name) / MANIFEST for name in bundle.shipped())
    return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
