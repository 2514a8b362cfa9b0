"""`mien install` and `mien uninstall`: plan, say, ask, do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edge import cameras, config
from edge.errors import MienError, UsageError
from edge.install import network, plan, shipped
from edge.install.options import Options
from edge.install.perform import perform
from edge.install.place import Place, find
from edge.install.plan import Plan
from edge.settings import Camera, Settings

_RESOLVERS = Path("/etc/resolv.conf")


def install(options: Options, environ: Mapping[str, str] = os.environ) -> int:
    """Put the daemon in place; return the exit code, 1 where the answer is no.

    Raises
    ------
    MienError
        It cannot be done, or a step failed; what was done by then has been undone.
    """
    place = find(options.scope, options.root, environ)
    example = shipped.configuration(place, options.camera, options.mqtt)
    settings, start = _settings(place, options, example)
    files = [*shipped.support(place), *shipped.units(place, shipped.program(place))]
    note = ""
    if place.scope == "system":
        resolvers = _look(place.at(_RESOLVERS)) or ""
        allow = options.allow or shipped.told(_look(place.at(place.drop_in)) or "")
        reach = network.reach(settings, allow=allow, resolv_conf=resolvers)
        files.append(shipped.drop_in(place, settings, reach))
        if reach.open:
            note = (
                f"the IP filter is open, for nobody knows where {reach.why} will be; --allow "
                "ADDRESS/BITS, or addresses in mien.toml, close it"
            )
    made = plan.install(place, files, example, _look, start=start)
    if note:
        made = replace(made, notes=(*made.notes, note))
    return _carry_out(made, place, options)


def uninstall(options: Options, environ: Mapping[str, str] = os.environ) -> int:
    """Take the daemon away; return the exit code, 1 where the answer is no.

    Raises
    ------
    MienError
        A step failed; what was done by then has been undone.
    """
    place = find(options.scope, options.root, environ)
    files = [*shipped.support(place), *shipped.units(place, Path(shipped.PROGRAM))]
    paths = [*(file.path for file in files), place.drop_in]
    return _carry_out(plan.uninstall(place, paths, _look, purge=options.purge), place, options)


def _settings(place: Place, options: Options, example: shipped.File) -> tuple[Settings, bool]:
    """Return what the daemon will be told, and whether it can run so."""
    file = place.at(place.config_file)
    if not file.exists():
        for uri in options.camera:
            cameras.check_uri(Camera(uri=uri))
        settings = config.loads(example.text, source="command line")
        return settings, bool(options.camera)
    if options.camera or options.mqtt:
        told = "--camera" if options.camera else "--mqtt"
        raise UsageError(f"{told}: {file} is there already; change it there")
    return config.load(file, {}), True


def _carry_out(made: Plan, place: Place, options: Options) -> int:
    """Say what will be done, ask, and do it."""
    will = "would" if options.dry_run else "will"
    if made.actions:
        sys.stdout.write(f"as {'root' if place.scope == 'system' else 'you'}, this {will}\n")
    sys.stdout.write("".join(f"  {line}\n" for line in str(made).splitlines()))
    if options.dry_run or not made.actions:
        return 0
    if place.scope == "system" and place.live and os.geteuid() != 0:
        raise MienError("needs root: put sudo and the path of this program before it")
    if not options.yes and not _agreed():
        sys.stdout.write("nothing was done\n")
        return 1
    perform(made)
    sys.stdout.write("done\n")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; --yes does it, --dry-run only says it")
    try:
        return input("go on? [y/N] ").strip().lower() in {"y", "yes"}
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return False


def _look(path: Path) -> str | None:
    """Return what is at a path now; see `plan.Look`.

    Raises
    ------
    MienError
        It may not be read.
    """
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else _nothing_but(path)
    except PermissionError:
        raise MienError(f"{path}: may not be read; needs root") from None
    except (OSError, UnicodeDecodeError):
        return ""


def _nothing_but(path: Path) -> str | None:
    return "" if path.is_symlink() or path.exists() else None
