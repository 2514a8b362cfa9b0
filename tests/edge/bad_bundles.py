"""Bundles that are damaged: in ways a card or a copy damages them, where hashes tell, and in ways
only who packaged them could have, where the hashes hold."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import mutations

from edge import bundle

SHIPPED = Path(bundle.__file__).parent / "bundles"
NAMES = ("mien-fer2013", "blazeface-short")


class Draft:
    """A copy of a shipped bundle, to be damaged."""

    def __init__(self, folder: Path, name: str, random: Random) -> None:
        self.folder, self.random = folder, random
        folder.mkdir()
        self.manifest = json.loads((SHIPPED / name / bundle.MANIFEST).read_text())
        self.parts = [part for part in ("frame", "head", "golden") if part in self.manifest]
        for part in self.parts:
            (folder / self.manifest[part]["file"]).symlink_to(SHIPPED / name / self.file(part).name)
        self.write_manifest()

    def file(self, part: str) -> Path:
        return self.folder / str(self.manifest[part]["file"])

    def any_file(self) -> Path:
        part = self.random.choice([*self.parts, ""])
        return self.file(part) if part else self.folder / bundle.MANIFEST

    def replace(self, file: Path, data: bytes) -> None:
        file.unlink()
        file.write_bytes(data)

    def write_manifest(self) -> None:
        (self.folder / bundle.MANIFEST).write_text(json.dumps(self.manifest))

    def package(self, part: str, data: bytes) -> None:
        """Replace a file, and its hash too."""
        self.replace(self.file(part), data)
        self.manifest[part]["sha256"] = hashlib.sha256(data).hexdigest()
        self.write_manifest()


def _missing(draft: Draft) -> None:
    draft.any_file().unlink()


def _damaged(draft: Draft) -> None:
    file = draft.any_file()
    draft.replace(file, mutations.of_bytes(file.read_bytes(), draft.random))


def _folder(draft: Draft) -> None:
    file = draft.any_file()
    file.unlink()
    file.mkdir()


def _link(draft: Draft) -> None:
    file = draft.any_file()
    to = draft.random.choice((file.name, "nowhere", ".", "/dev/null", "/dev/zero", "/etc/passwd"))
    file.unlink()
    file.symlink_to(to)


def _pipe(draft: Draft) -> None:
    file = draft.any_file()
    file.unlink()
    os.mkfifo(file)


def _vast(draft: Draft) -> None:
    file = draft.any_file()
    draft.replace(file, b"")
    os.truncate(file, draft.random.choice((10**6 + 1, 10**9, 10**12)))


def _swapped(draft: Draft) -> None:
    one, other = draft.random.choices([*draft.parts, "frame"], k=2)
    first, second = draft.file(one).read_bytes(), draft.file(other).read_bytes()
    draft.replace(draft.file(one), second)
    draft.replace(draft.file(other), first)


def _manifest(draft: Draft) -> None:
    data = mutations.json_of(mutations.of_values(draft.manifest, draft.random))
    draft.replace(draft.folder / bundle.MANIFEST, data)


def _repackaged(draft: Draft) -> None:
    one, other = draft.random.choices([*draft.parts, "frame"], k=2)
    draft.package(one, draft.file(other).read_bytes())


def _other_model(draft: Draft) -> None:
    other = draft.random.choice(sorted(SHIPPED.glob("*/*.tflite")))
    draft.package(draft.random.choice(draft.parts), other.read_bytes())


def _model_bytes(draft: Draft) -> None:
    part = draft.random.choice([part for part in draft.parts if part != "golden"])
    draft.package(part, mutations.of_bytes(draft.file(part).read_bytes(), draft.random))


def _model_words(draft: Draft) -> None:
    part = draft.random.choice([part for part in draft.parts if part != "golden"])
    draft.package(part, mutations.of_words(draft.file(part).read_bytes(), draft.random))


def _goldens(draft: Draft) -> None:
    if "golden" not in draft.parts:
        _model_words(draft)
        return
    raw = draft.file("golden").read_bytes()
    act = draft.random.randrange(20)
    if act == 0:
        draft.package("golden", mutations.bomb())
    elif act < 5:
        draft.package("golden", mutations.of_bytes(raw, draft.random))
    else:
        draft.package("golden", mutations.of_archive(raw, draft.random))


HASHES_TELL: tuple[Callable[[Draft], None], ...] = (
    _missing, _damaged, _damaged, _folder, _link, _pipe, _vast, _swapped, _manifest,
)  # fmt: skip
HASHES_HOLD: tuple[Callable[[Draft], None], ...] = (
    _repackaged, _other_model, _model_bytes, _model_words, _model_words, _goldens,
)  # fmt: skip


def make(folder: Path, random: Random, *, hashes_hold: bool) -> str:
    """Make a bad bundle, and return what is bad about it; `remove` takes it away again."""
    draft = Draft(folder, random.choice(NAMES), random)
    damage = random.choice(HASHES_HOLD if hashes_hold else HASHES_TELL)
    damage(draft)
    return damage.__name__.strip("_").replace("_", " ")


def remove(folder: Path) -> None:
    shutil.rmtree(folder)
