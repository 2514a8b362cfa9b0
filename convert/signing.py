"""Any bundle, copied with a signature: what a device that has a `bundle_key` asks for.

It needs no TensorFlow: whoever puts devices up signs the bundles that come with Mien too.
"""

from __future__ import annotations

from pathlib import Path

from convert import folder
from convert.errors import ConversionError, RunError
from edge import bundle
from edge.bundle import MANIFEST, Manifest
from edge.errors import BundleError
from edge.signature import SIGNATURE, read_private_key


def sign(source: str, out: Path, *, key: Path) -> Manifest:
    """Copy a bundle, signed; the same bundle and key give the same bytes.

    Parameters
    ----------
    source
        The folder of a bundle, or the name of one that comes with Mien. A signature that it has
        is replaced.
    out
        The copy's folder, or the bundle's own to sign it in place; a bundle that is there
        already is replaced.
    key
        An Ed25519 private key in PEM.

    Raises
    ------
    UsageError
        The key cannot be used.
    ConversionError
        There is no such bundle, or it is damaged.
    RunError
        `out` cannot be written, or holds something that is no bundle.
    BundleError
        What was written does not load, as when the bundle changed meanwhile.
    """
    private = read_private_key(key)
    try:
        original = bundle.load(source)
    except BundleError as exc:
        # Not the device's configuration error: the bundle is what was asked about.
        raise ConversionError(str(exc)) from exc
    out = out.resolve()
    if out.exists() and not (out / MANIFEST).is_file():
        raise RunError(f"{out}: exists and is not a bundle; choose another --out")
    files = _files(original.path)
    files[SIGNATURE] = private.sign(files[MANIFEST])

    def check(written: Path) -> None:
        bundle.load(str(written), key=private.public)

    folder.write(out, files, check=check)
    return original.manifest


def _files(path: Path) -> dict[str, bytes]:
    """Return every file of a bundle by its name, such as licences that no manifest names too."""
    files = {}
    try:
        for each in sorted(path.iterdir()):
            if not each.is_file():
                raise ConversionError(
                    f"{each}: no file, and a bundle has nothing else; move it away"
                )
            files[each.name] = each.read_bytes()
    except OSError as exc:
        raise ConversionError(f"{exc.filename}: {exc.strerror}; copy the bundle again") from exc
    return files
