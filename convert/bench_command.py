"""What the commands that measure a bundle on the faces of `val` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from convert import options

if TYPE_CHECKING:
    import msgspec

    from convert.data import Tiles
    from convert.measure import DataFacts
    from edge.bundle import StreamManifest
    from edge.networks import StreamNetworks

_STREAMS = 150
Found = TypeVar("Found", bound="msgspec.Struct")


class Asked(argparse.Namespace):
    """What was asked of a command that composes streams."""

    bundle: str
    data: Path
    count: int
    seed: int
    out: Path | None
    json: bool


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A bundle and the faces to measure it on; `files` are the sha256 of its files."""

    networks: StreamNetworks
    manifest: StreamManifest
    tiles: Tiles
    facts: DataFacts
    files: dict[str, str]


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add all options but `--data`; the files that are written are called `name`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder or name")
    parser.add_argument(
        "--count", type=options.whole(1), default=_STREAMS, metavar="N",
        help="compose so many streams at each frame rate (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=options.whole(0), default=1, help="(%(default)s)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"write {name}.md, {name}.png and {name}.json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def opened(told: str, data: Path) -> Opened:
    """Open a bundle and, as what it was taught counts faces, the faces of `val`.

    Raises
    ------
    MienError
        What is wrong with either.
    """
    from convert import measure, policies, subjects  # noqa: PLC0415  # --help must not wait for numpy

    options.check_bundle(told)
    subject = subjects.open_model(told, subjects.Given())
    assert subject.networks is not None  # noqa: S101  # every bundle of expressions has them
    faces = policies.faces(data, subject.policy, subject.labels, subject.size)
    facts = measure.facts_of(faces, data.stem, "val")
    return Opened(*subject.networks, faces.val, facts, subject.files)


def run(
    asked: Asked,
    bench: Callable[..., Found],
    write: Callable[[Found, Path], None],
    tables: Callable[[Found], str],
) -> int:
    """Measure, print, and write what was asked for; return the exit code.

    Parameters
    ----------
    asked
        The options.
    bench
        Takes networks, manifest, tiles and facts, and `files`, `count`, `seed` by name.
    write, tables
        What becomes of its record in a folder, and as text.

    Raises
    ------
    MienError
        What is wrong with the bundle, the data or the options.
    """
    from convert import report  # noqa: PLC0415  # --help must not wait for numpy

    options.check_out(asked.out)
    given = opened(asked.bundle, asked.data)
    found = bench(
        given.networks, given.manifest, given.tiles, given.facts,
        files=given.files, count=asked.count, seed=asked.seed,
    )  # fmt: skip
    if asked.out is not None:
        write(found, asked.out)
    text = report.as_json(found) if asked.json else tables(found)
    sys.stdout.write(f"{text}\n")
    return 0
