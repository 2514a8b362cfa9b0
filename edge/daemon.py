"""The daemon: what it loads, tests, opens and closes around its loop (`edge.loop`), and signals."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from edge import selftest, spool
from edge.capture import Captures
from edge.commands import Inbox
from edge.errands import Errands
from edge.errors import MienError, ModelError
from edge.events import EventFactory
from edge.examiner import Examiner
from edge.liveness import Liveness
from edge.loop import Loop
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.payloads import SelfTest
from edge.pipeline import Models, load_models
from edge.reload import Reread, checked
from edge.selftest import broker
from edge.settings import Settings
from edge.sinks import JsonLines, Sink
from edge.telemetry import Telemetry

_log = logging.getLogger(__name__)

_STOP = (signal.SIGINT, signal.SIGTERM)


def run(
    settings: Settings,
    *,
    events: str | None = None,
    publish: bool = True,
    reread: Reread | None = None,
) -> int:
    """Run until every camera has ended or a signal asks to stop. Live cameras never end.

    Parameters
    ----------
    settings
        At least one camera.
    events
        Where each event is written as a line of JSON: a path, or `-` for standard output.
    publish
        Whether to publish over MQTT, as `settings.mqtt` says.
    reread
        Reads the settings again when SIGHUP asks for it; without it, SIGHUP is left alone.

    Returns
    -------
    int
        The exit code, 0; every track that was told has been ended by then.

    Raises
    ------
    MienError
        Something the user must mend: no camera, a bad bundle, a clip that cannot be read.
    HungError
        Something only a new process mends.
    """
    settings = checked(settings)
    # Who asks for a self-test before the loop runs, or after, must not end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    notifier = Notifier.from_environment()
    notifier.status("loading the models")
    boot_id = secrets.token_hex(8)
    models, tested = _checked_models(settings, boot_id, notifier, publish=publish)
    with ExitStack() as stack:
        stack.callback(notifier.close)
        sinks: list[Sink] = []
        if events is not None:
            sinks.append(JsonLines(events))
            stack.callback(sinks[-1].close)
        telemetry = publisher = inbox = None
        if publish:
            names = [camera.name for camera in settings.camera]
            inbox = _inbox(settings, boot_id)
            publisher = Publisher(
                settings.mqtt,
                settings.device_id,
                names,
                outbox=spool.outbox(settings),
                inbox=inbox,
            )
            telemetry = Telemetry(publisher, settings, models.bundle, boot_id)
            telemetry.selftest(tested)
            publisher.start()
            sinks.append(publisher)
            stack.callback(publisher.close)
        captures = stack.enter_context(Captures(settings.camera, settings.recovery))
        stopping = stack.enter_context(_signals(captures, _STOP))
        # At a terminal it says that the terminal has gone, and ends the process as it always did.
        hup = () if reread is None or os.isatty(0) else (signal.SIGHUP,)
        reloading = stack.enter_context(_signals(captures, hup))
        examining = stack.enter_context(_signals(captures, (signal.SIGUSR1,)))
        if inbox is not None:
            inbox.wakes(captures.wake)
        liveness = Liveness(notifier, captures.all, publisher)
        Loop(
            settings,
            models,
            captures,
            EventFactory(boot_id, models.bundle.ident),
            liveness,
            sinks=sinks,
            telemetry=telemetry,
            reread=reread,
            errands=Errands(
                Examiner(captures.wake), boot_id, inbox, publisher.answer if publisher else None
            ),
        ).run(stopping, reloading, examining)
    return 0


def _inbox(settings: Settings, boot_id: str) -> Inbox | None:
    """Return where commands are heard; None where none are."""
    if not settings.commands.enabled:
        return None
    return Inbox(f"{settings.mqtt.prefix}/{settings.device_id}", settings.device_id, boot_id)


def _checked_models(
    settings: Settings, boot_id: str, notifier: Notifier, *, publish: bool
) -> tuple[Models, SelfTest]:
    """Load the models and test the device; go no further where the models answer wrongly.

    All else that the self-test finds is published, and the daemon does what it can.

    Raises
    ------
    ModelError
        The golden vectors failed: no event is better than a wrong one.
    """
    models = load_models(settings)
    _log.info("expression bundle %s", models.bundle.ident)
    notifier.status("testing itself")
    tested = selftest.at_boot(settings, models, boot_id)
    _log.info("self-test: %s in %.2f s", tested.verdict, tested.took_s)
    failed = [check for check in tested.checks if check.verdict == "failed"]
    for check in failed:
        _log.warning("self-test: %s: %s", check.name, check.text)
    wrong = next((check for check in failed if check.name.startswith("golden")), None)
    if wrong is None:
        return models, tested
    if publish:
        # A broker that is away as well must not hide what is wrong here.
        with suppress(MienError):
            broker.publish(settings, tested)
    raise ModelError(f"self-test: {wrong.name}: {wrong.text}")


@contextmanager
def _signals(captures: Captures, numbers: Sequence[int]) -> Iterator[threading.Event]:
    """Turn signals into an event that is set, and wake the loop."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        asked.set()
        captures.wake()

    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
