"""The command line of a card's setup: `python3 -B CARD/mien/setup`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from firmware_configs.device.change import settle
from firmware_configs.device.files import SetupError
from firmware_configs.device.steps import alone, install, selftest
from firmware_configs.device.versions import Versions


def main(argv: Sequence[str] | None = None) -> int:
    """Set this device up, settle or test what is in force; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="mien-setup", description="Set this device up from its card, or update it."
    )
    here = Path(sys.argv[0]).resolve().parent
    parser.add_argument("--card", type=Path, default=here, help="the folder mien (%(default)s)")
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--settle", action="store_true", help="end a change that the power cut, and no more"
    )
    other.add_argument(
        "--selftest", action="store_true", help="only test what is in force; exit 0 if it passes"
    )
    arguments = parser.parse_args(argv)
    try:
        with alone(arguments.root):
            if arguments.settle:
                settle(Versions(arguments.root))
            elif arguments.selftest:
                selftest(arguments.root)
            else:
                install(arguments.card, arguments.root)
    except SetupError as exc:
        sys.stderr.write(f"mien-setup: {exc}\n")
        return 1
    except OSError as exc:
        sys.stderr.write(f"mien-setup: {exc.filename or 'the disk'}: {exc.strerror}\n")
        return 1
    return 0
