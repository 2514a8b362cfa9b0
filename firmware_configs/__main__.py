"""The command line that prepares cards: `mien-flash`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edge import __version__
from edge.errors import EXIT_FAILURE, MienError, UsageError, one_line

if TYPE_CHECKING:
    from firmware_configs.answers import Admin, Answers, Wifi

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # no public name

_EXIT_CODES = "exit codes: 0 done, 1 failure, 2 wrong usage, 78 configuration error"


class Arguments(argparse.Namespace):
    """The parsed command line; each command reads the fields it declared."""

    command: Callable[[Arguments], int]
    board: str
    role: str
    image: str | None
    device_id: str | None
    fleet: Path | None
    broker: str
    camera: Sequence[str]
    username: str | None
    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    allow_plaintext_password: bool
    wifi: str | None
    wifi_password_file: Path | None
    wifi_country: str | None
    admin: str | None
    ssh_key: Path | None
    ntp: str | None
    wheelhouse: Path | None
    mien: Path | None
    debs: Path | None
    out: Path
    folder: Path
    seal: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv, Arguments())
    try:
        return arguments.command(arguments)
    except MienError as exc:
        sys.stderr.write(f"mien-flash: {exc}\n")
        return exc.exit_code
    except BrokenPipeError:
        # The reader of our standard output has gone, as `mien-flash list | head` does.
        sys.stderr.close()
        return EXIT_FAILURE
    except OSError as exc:
        said = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
        sys.stderr.write(f"mien-flash: {one_line(said)}\n")
        return EXIT_FAILURE


def program() -> NoReturn:
    """Run one command as this process."""
    sys.exit(main())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="mien-flash", description="Prepare cards for boards.", epilog=_EXIT_CODES
    )
    whole.add_argument("--version", action="version", version=f"mien {__version__}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_render, _add_check, _add_list, _add_lock, _add_budgets):
        add(commands)
    return whole


def _add_render(commands: Commands) -> None:
    render = commands.add_parser("render", help="make a card in a new folder", epilog=_EXIT_CODES)
    render.add_argument("--board", required=True, help="mien-flash list names them")
    render.add_argument("--role", required=True, help="kiosk or robot")
    render.add_argument("--image", help="one of the board's images (its usual one)")
    render.add_argument("--broker", required=True, metavar="URL", help="mqtt[s]://HOST[:PORT]")
    render.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    who = render.add_argument_group("who the device is")
    who.add_argument("--device-id", metavar="ID|serial", help="`serial`: the board's own number")
    who.add_argument("--fleet", type=Path, metavar="CSV|DIR", help="many devices: docs/flash.md")
    who.add_argument("--username", metavar="NAME", help="its user at the broker")
    for name, what in (
        ("password-file", "the broker's password, one line"),
        ("ca-file", "the broker's authority, PEM"),
        ("cert-file", "the device's certificate, PEM"),
        ("key-file", "that certificate's key, PEM"),
    ):
        who.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)
    who.add_argument(
        "--allow-plaintext-password",
        action="store_true",
        help="send it to a broker without TLS, to be read by all",
    )
    what_it_has = render.add_argument_group("what it has")
    what_it_has.add_argument(
        "--camera",
        metavar="URI",
        action="append",
        default=[],
        help="(the board's); may be repeated",
    )
    what_it_has.add_argument("--wifi", metavar="SSID", help="a wireless network")
    what_it_has.add_argument("--wifi-password-file", type=Path, metavar="FILE", help="one line")
    what_it_has.add_argument("--wifi-country", metavar="CC", help="two letters, such as GB")
    what_it_has.add_argument("--ntp", metavar="HOST", help="a clock of its own network")
    what_it_has.add_argument("--admin", metavar="NAME", help="who may log in over SSH")
    what_it_has.add_argument("--ssh-key", type=Path, metavar="FILE", help="with which public keys")
    sources = render.add_argument_group("what it is made from")
    sources.add_argument("--wheelhouse", type=Path, metavar="DIR", help="wheels (pip fetches them)")
    sources.add_argument("--mien", type=Path, metavar="WHEEL", help="(built from this source tree)")
    sources.add_argument("--debs", type=Path, metavar="DIR", help="Debian packages to bring")
    render.set_defaults(command=_render)


def _add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="is this card right? exit 0 if it is")
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument(
        "--seal", action="store_true", help="it was edited by hand: take it as it is, then check it"
    )
    check.set_defaults(command=_check)


def _add_list(commands: Commands) -> None:
    listing = commands.add_parser("list", help="boards and roles, and what was tried on each")
    listing.set_defaults(command=_list)


def _add_lock(commands: Commands) -> None:
    lock = commands.add_parser("lock", help="print a new lock for a board: for who maintains Mien")
    lock.add_argument("--board", required=True)
    lock.add_argument("--image", help="one of the board's images (its usual one)")
    lock.set_defaults(command=_lock)


def _add_budgets(commands: Commands) -> None:
    budgets = commands.add_parser("budgets", help="print edge/boards.json: for who maintains Mien")
    budgets.set_defaults(command=_budgets)


def _render(arguments: Arguments) -> int:
    from firmware_configs import render  # noqa: PLC0415  # --help must not wait for msgspec

    _see_that_it_was_typed(arguments)
    order = render.Order(
        board=arguments.board,
        role=arguments.role,
        image=arguments.image,
        answers=_answers(arguments),
        out=arguments.out,
        wheelhouse=arguments.wheelhouse,
        mien=arguments.mien,
        debs=arguments.debs,
    )
    for line in render.render(order):
        print(line)
    print(one_line(f"{arguments.out}: made"))
    return 0


def _see_that_it_was_typed(arguments: Arguments) -> None:
    from firmware_configs import answers  # noqa: PLC0415  # see _render

    for name, value in vars(arguments).items():
        said = value if isinstance(value, list) else [value]
        if not all(answers.typed(each) for each in said if isinstance(each, str)):
            # Not quoted: a broker's URL may hold a password.
            option = name.replace("_", "-")
            raise UsageError(
                f"--{option}: holds a control character, or is not UTF-8; write it anew"
            )


def _answers(arguments: Arguments) -> Answers:
    from firmware_configs import answers, fleet  # noqa: PLC0415  # see _render
    from firmware_configs.device.card import FLEET, SERIAL  # noqa: PLC0415  # see _render

    own, many = arguments.device_id, arguments.fleet
    if (own is None) == (many is None) and own != SERIAL:
        raise UsageError(
            f"who is the device? give either --device-id or --fleet (or --device-id {SERIAL} "
            "beside it)"
        )
    if arguments.username == "":
        raise UsageError("--username: is empty; leave it out where the broker asks for none")
    return answers.Answers(
        device_id=FLEET if own is None else answers.device_id(own),
        broker=arguments.broker,
        cameras=tuple(arguments.camera),
        username=arguments.username,
        files=_files(arguments),
        fleet=() if many is None else fleet.fleet(many),
        wifi=_wifi(arguments),
        admin=_admin(arguments),
        ntp=None if arguments.ntp is None else answers.clock(arguments.ntp),
        plaintext_password=arguments.allow_plaintext_password,
    )


def _files(arguments: Arguments) -> dict[str, bytes]:
    """Return the credentials, named as on the card."""
    from firmware_configs import answers, pem  # noqa: PLC0415  # see _render

    given = {
        pem.AUTHORITY: arguments.ca_file,
        pem.CERTIFICATE: arguments.cert_file,
        pem.KEY: arguments.key_file,
    }
    files = {name: answers.read(file) for name, file in given.items() if file is not None}
    pem.check(files, {name: str(file) for name, file in given.items()})
    if arguments.password_file is not None:
        files["password"] = f"{answers.secret(arguments.password_file)}\n".encode()
    return files


def _wifi(arguments: Arguments) -> Wifi | None:
    from firmware_configs import answers  # noqa: PLC0415  # see _render

    ssid, file, country = (
        arguments.wifi, arguments.wifi_password_file, arguments.wifi_country,
    )  # fmt: skip
    if ssid is None and file is None and country is None:
        return None
    if ssid is None or file is None or country is None:
        raise UsageError("--wifi, --wifi-password-file and --wifi-country go together")
    return answers.wifi(ssid, answers.secret(file), country)


def _admin(arguments: Arguments) -> Admin | None:
    from firmware_configs import answers  # noqa: PLC0415  # see _render

    if arguments.admin is None and arguments.ssh_key is None:
        return None
    if arguments.admin is None or arguments.ssh_key is None:
        raise UsageError("--admin and --ssh-key go together")
    return answers.admin(arguments.admin, answers.text(arguments.ssh_key))


def _check(arguments: Arguments) -> int:
    from firmware_configs import check  # noqa: PLC0415  # see _render

    if arguments.seal:
        check.seal_again(arguments.folder)
    wrong = check.check(arguments.folder)
    for line in wrong:
        sys.stderr.write(f"mien-flash: {one_line(line)}\n")
    if wrong:
        return EXIT_FAILURE
    for line in check.unchecked(arguments.folder):
        print(one_line(line))
    print(one_line(f"{arguments.folder}: right"))
    return 0


def _list(_arguments: Arguments) -> int:
    from firmware_configs import tried  # noqa: PLC0415  # see _render

    print(tried.listing())
    return 0


def _lock(arguments: Arguments) -> int:
    from firmware_configs import lock, render  # noqa: PLC0415  # see _render

    _, image = render.chosen(arguments.board, "kiosk", arguments.image)
    print(lock.make(image), end="")
    return 0


def _budgets(_arguments: Arguments) -> int:
    from firmware_configs import budgets  # noqa: PLC0415  # see _render

    print(budgets.text(), end="")
    return 0


if __name__ == "__main__":
    program()
