"""The command line of the device: `mien`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from edge import __version__
from edge.errors import EXIT_FAILURE, MienError
from edge.install import options

if TYPE_CHECKING:
    from edge.settings import Settings

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # no public name

_EXIT_CODES = "exit codes: 0 done, 1 failure, 2 wrong usage, 78 configuration error"


class Arguments(options.Options):
    """The parsed command line; each command reads the fields it declared."""

    command: Callable[[Arguments], int]
    config: Path | None
    bundle: str | None = None
    no_mqtt: bool
    events: str | None
    verbose: bool
    file: Path | None
    name: str | None
    clip: Path | None
    faces: int
    frames: int
    json: bool
    skip: Sequence[str] = ()
    no_publish: bool
    out: Path | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv, Arguments())
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="mien: %(message)s",
        stream=sys.stderr,
    )
    try:
        return arguments.command(arguments)
    except MienError as exc:
        sys.stderr.write(f"mien: {exc}\n")
        return exc.exit_code
    except BrokenPipeError:
        # The reader of our standard output has gone, as `mien schema | head` does.
        sys.stderr.close()
        return EXIT_FAILURE


def program() -> NoReturn:
    """Run one command as this process, and end it with the command's exit code.

    A thread that hangs in a driver, or has not come back from one, outlives the command. When
    the interpreter ends, it would be torn down inside of C++, which aborts the process, or be
    waited for; so the process ends at once.
    """
    _leave_no_core()
    sys.excepthook = _tell_of_a_defect
    code = main()
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _tell_of_a_defect(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print a traceback, as Python would, without the secrets that an address in it may hold."""
    from traceback import format_exception  # noqa: PLC0415  # a defect is seldom

    from edge.cameras import masked  # noqa: PLC0415  # see _run

    told = "".join(format_exception(kind, error, traceback))
    sys.stderr.write(re.sub(r"\w[\w+.-]*://[^\s'\"]*", lambda found: masked(found[0]), told))


def _leave_no_core() -> None:
    """Let no crash, and no watchdog, have the kernel write the memory's pictures to a disk."""
    # A service manager that refuses the call has set its own limit.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="mien",
        description="Recognise facial expressions on a small computer and say what is seen.",
        epilog=_EXIT_CODES,
    )
    whole.add_argument("--version", action="version", version=f"mien {__version__}")
    whole.add_argument("-v", "--verbose", action="store_true", help="log more, to stderr")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return whole


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="read cameras and emit events", epilog=_EXIT_CODES)
    _add_config_file(run)
    run.add_argument(
        "--camera",
        metavar="URI",
        action="append",
        default=[],
        help="picamera2:0, v4l2:/dev/video0, rtsp:, http:, argus:0 or clip:PATH; "
        "may be repeated; replaces the configuration's cameras",
    )
    run.add_argument("--bundle", metavar="NAME|PATH", help="the expression bundle to run")
    broker = run.add_mutually_exclusive_group()
    broker.add_argument("--mqtt", metavar="URL", help="the broker: mqtt[s]://HOST[:PORT]")
    broker.add_argument(
        "--no-mqtt", action="store_true", help="publish nothing; only --events is written"
    )
    run.add_argument(
        "--events", metavar="PATH|-", help="write each event as a line of JSON to a file or stdout"
    )
    run.set_defaults(command=_run)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo", help="see it all work here, without hardware: broker, clip, daemon, subscriber"
    )
    demo.set_defaults(command=_demo)


def _add_watch(commands: Commands) -> None:
    watch = commands.add_parser("watch", help="show what every device on a broker sees, live")
    _add_config_file(watch)
    watch.add_argument("--mqtt", metavar="URL", help="the broker: mqtt[s]://HOST[:PORT]")
    watch.set_defaults(command=_watch)


def _add_aim(commands: Commands) -> None:
    aim = commands.add_parser("aim", help="show where faces are and what they need, no pixels")
    _add_config_file(aim)
    aim.add_argument("--camera", metavar="URI", action="append", default=[], help="the camera")
    aim.set_defaults(command=_aim)


def _add_bench(commands: Commands) -> None:
    bench = commands.add_parser("bench", help="measure what a frame costs on this machine")
    _add_config_file(bench)
    bench.add_argument("--clip", type=Path, metavar="FILE", help="a video (the carried sample)")
    bench.add_argument("--bundle", metavar="NAME|PATH", help="the expression bundle to run")
    bench.add_argument(
        "--faces", type=_positive, default=1, metavar="N", help="faces a frame (%(default)s)"
    )
    bench.add_argument("--frames", type=_positive, default=300, metavar="N", help="(%(default)s)")
    bench.add_argument("--json", action="store_true", help="print JSON")
    bench.set_defaults(command=_bench)


def _add_selftest(commands: Commands) -> None:
    selftest = commands.add_parser(
        "selftest", help="is this device well? measure it against its budgets; exit 0 if it passes"
    )
    _add_config_file(selftest)
    selftest.add_argument("--camera", metavar="URI", action="append", default=[], help="the camera")
    selftest.add_argument("--bundle", metavar="NAME|PATH", help="the expression bundle")
    broker = selftest.add_mutually_exclusive_group()
    broker.add_argument("--mqtt", metavar="URL", help="the broker: mqtt[s]://HOST[:PORT]")
    broker.add_argument(
        "--no-mqtt", action="store_true", help="leave the broker alone, and publish no report"
    )
    selftest.add_argument(
        "--no-publish", action="store_true", help="test the broker too, but publish no report"
    )
    selftest.add_argument(
        "--skip",
        metavar="GROUP",
        action="append",
        default=[],
        help="leave a group out (camera: while the daemon has it); may be repeated",
    )
    selftest.add_argument("--json", action="store_true", help="print JSON: mien-selftest/1")
    selftest.set_defaults(command=_selftest)


def _add_support(commands: Commands) -> None:
    support = commands.add_parser(
        "support",
        help="write what a bug report needs into one file: no pictures, no secrets, no names",
    )
    _add_config_file(support)
    support.add_argument(
        "--out", type=Path, metavar="FILE", help="(mien-support-DATE-TIME.tar.gz, here)"
    )
    support.set_defaults(command=_support)


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check a configuration or show the one in force")
    verbs = config.add_subparsers(title="verbs", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="exit 0 if FILE is a valid configuration, else 78")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(command=_config_check)
    show = verbs.add_parser("show", help="print the configuration in force as TOML")
    _add_config_file(show)
    show.set_defaults(command=_config_show)


def _add_schema(commands: Commands) -> None:
    schema = commands.add_parser(
        "schema", help="print the JSON Schema of a payload or file, or the AsyncAPI document"
    )
    schema.add_argument("name", nargs="?", metavar="NAME", help="leave out to list the names")
    schema.set_defaults(command=_schema)


def _add_install(commands: Commands) -> None:
    install = commands.add_parser("install", help="put it in place here: systemd, user, udev")
    options.add_install(install)
    install.set_defaults(command=_install)


def _add_uninstall(commands: Commands) -> None:
    uninstall = commands.add_parser("uninstall", help="take away what install put in place")
    options.add_uninstall(uninstall)
    uninstall.set_defaults(command=_uninstall)


_COMMANDS = (
    _add_run,
    _add_demo,
    _add_watch,
    _add_aim,
    _add_bench,
    _add_selftest,
    _add_support,
    _add_config,
    _add_schema,
    _add_install,
    _add_uninstall,
)


def _add_config_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="mien.toml (default: /etc/mien/mien.toml)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _settings(arguments: Arguments) -> Settings:
    """Return the configuration with what the command line replaces in it."""
    from edge import config  # noqa: PLC0415  # see _run

    settings = config.load(arguments.config)
    if arguments.camera:
        settings = config.with_cameras(settings, list(arguments.camera))
    if arguments.bundle:
        settings = config.with_bundle(settings, arguments.bundle)
    if arguments.mqtt:
        settings = config.with_broker(settings, arguments.mqtt)
    return settings


def _run(arguments: Arguments) -> int:
    from edge import daemon  # noqa: PLC0415  # --help must not wait for OpenCV

    return daemon.run(
        _settings(arguments),
        events=arguments.events,
        publish=not arguments.no_mqtt,
        reread=lambda: _settings(arguments),
    )


def _demo(_arguments: Arguments) -> int:
    from edge import demo  # noqa: PLC0415  # see _run

    return demo.run()


def _watch(arguments: Arguments) -> int:
    from edge import watch  # noqa: PLC0415  # see _run

    return watch.run(_settings(arguments).mqtt)


def _aim(arguments: Arguments) -> int:
    from edge import aim  # noqa: PLC0415  # see _run

    return aim.run(_settings(arguments))


def _bench(arguments: Arguments) -> int:
    from edge import bench  # noqa: PLC0415  # see _run

    clip = arguments.clip or bench.SAMPLE
    report = bench.measure(
        _settings(arguments), clip, faces=arguments.faces, frames=arguments.frames
    )
    print(bench.to_json(report) if arguments.json else bench.table(report))
    return 0


def _selftest(arguments: Arguments) -> int:
    from edge import selftest  # noqa: PLC0415  # see _run
    from edge.selftest import broker, report  # noqa: PLC0415  # see _run

    settings = _settings(arguments)
    skip = [*arguments.skip, *(["broker"] if arguments.no_mqtt else [])]
    found = selftest.full(settings, skip=skip)
    print(report.to_json(found) if arguments.json else report.table(found))
    if not (arguments.no_mqtt or arguments.no_publish):
        try:
            broker.publish(settings, found)
        except MienError as exc:
            sys.stderr.write(f"mien: the report is not published: {exc}\n")
    return 0 if found.verdict == "passed" else EXIT_FAILURE


def _support(arguments: Arguments) -> int:
    from edge import support  # noqa: PLC0415  # see _run

    print(support.run(arguments.config, arguments.out))
    return 0


def _config_check(arguments: Arguments) -> int:
    from edge import config, signature  # noqa: PLC0415  # see _run

    signature.trusted_key(config.load(arguments.file).bundle_key)
    print(f"{arguments.file}: valid")
    return 0


def _config_show(arguments: Arguments) -> int:
    from edge import cameras, config  # noqa: PLC0415  # see _run

    # It will be pasted into a bug report.
    print(config.to_toml(cameras.without_secrets(config.load(arguments.config))), end="")
    return 0


def _schema(arguments: Arguments) -> int:
    from edge import schema  # noqa: PLC0415  # see _run

    listed = "".join(f"{name}\n" for name in schema.names())
    print(schema.text(arguments.name) if arguments.name else listed, end="")
    return 0


def _install(arguments: Arguments) -> int:
    from edge.install import commands  # noqa: PLC0415  # see _run

    return commands.install(arguments)


def _uninstall(arguments: Arguments) -> int:
    from edge.install import commands  # noqa: PLC0415  # see _run

    return commands.uninstall(arguments)


if __name__ == "__main__":
    program()
