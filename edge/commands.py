"""What may be asked of the device over MQTT, by whoever the broker lets publish there.

A command is a message on `<prefix>/<device_id>/cmd/<name>`; what became of it is said on
`<prefix>/<device_id>/cmd/result`, and nowhere else: a requester who could name the topic of the
answer could have the device, which may write more than they, write for them. Nothing that is
asked names a file, a host or a value, so the worst that a stranger with the right to publish can do
is to let the device look away, look again, or test itself.

The network's thread hears (`Inbox.hear`) and only ever refuses or queues; the main thread
takes (`Inbox.take`), carries out between two frames, and answers (`Inbox.answer`).
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal, final

import msgspec

from edge import clock
from edge.errors import MienError
from edge.outbox import Heard, Message
from edge.payloads import CommandId, CommandName, Conclusion, Result
from edge.settings import TopicLevel

_log = logging.getLogger(__name__)

MOST_BYTES = 1024
"""The longest payload of a command."""

MOST_CORRELATION_BYTES = 64
"""The longest MQTT 5 correlation data: what comes back is kept for a while, and counts as ours."""

MOST_WAITING = 4
"""Commands that wait for the main thread; it takes one after each round of frames."""

MOST_REMEMBERED = 64
"""Commands with an id or correlation data whose repetition is known as one."""

RESULT_EXPIRY_S = 60
"""After this a broker need not deliver a result any more (MQTT 5)."""

_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and `per_s` a second from then on."""

    burst: int
    per_s: float


RATES: dict[CommandName, Rate] = {
    "selftest": Rate(burst=2, per_s=1 / 60),
    "pause": Rate(burst=10, per_s=1.0),
    "resume": Rate(burst=10, per_s=1.0),
    "reload": Rate(burst=3, per_s=0.1),
}
"""Every command there is, and how often it is carried out."""

REFUSALS = Rate(burst=10, per_s=1.0)
"""How often a refusal is said, so that nobody can make the device shout."""


class CommandError(MienError):
    """A command is refused; the text says why. `id` is the command's, as far as it was read."""

    def __init__(self, text: str, id_: str | None = None) -> None:
        super().__init__(text)
        self.id = id_


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payload of a command; one that is empty is as good as `{}`.

    `id` comes back in the result, and a command with the same one is not carried out twice.
    `camera` is for `pause` and `resume`: the one that is meant, all of them without it.
    """

    schema: Literal["mien-command/1"] = "mien-command/1"
    id: CommandId | None = None
    camera: TopicLevel | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A command that is valid. `correlation` is MQTT 5's and comes back with the result."""

    command: CommandName
    id: str | None = None
    camera: str | None = None
    correlation: bytes | None = None

    @property
    def key(self) -> tuple[str, str | bytes] | None:
        """What repetitions of it have in common; None where it was not given a name."""
        name = self.correlation if self.id is None else self.id
        return None if name is None else (self.command, name)


def parse(command: CommandName, heard: Heard) -> Request:
    """Read a command from the message that came on its topic.

    Raises
    ------
    CommandError
        It is retained, too long, not what its schema says, or asks for what this command has not.
    """
    payload, correlation = heard.payload, heard.correlation
    if heard.retained:
        raise CommandError("it is retained: clear it, and publish without retain")
    if len(payload) > MOST_BYTES:
        raise CommandError(f"the payload is longer than {MOST_BYTES} bytes")
    if correlation is not None and len(correlation) > MOST_CORRELATION_BYTES:
        raise CommandError(f"the correlation data is longer than {MOST_CORRELATION_BYTES} bytes")
    try:
        asked = msgspec.json.decode(payload, type=Command) if payload else Command()
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CommandError(f"the payload is not a mien-command/1: {exc}") from exc
    if asked.camera is not None and command not in ("pause", "resume"):
        raise CommandError(f"{command} is for the whole device: leave camera out", asked.id)
    return Request(command, asked.id, asked.camera, correlation)


@final
class Bucket:
    """Holds tokens, one for each time that something may happen. For one thread."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._now_s = -math.inf

    def take(self, now_s: float) -> bool:
        """Take a token at `now_s` (monotonic seconds), if there is one."""
        tokens = self._filled(now_s)
        taken = tokens >= 1.0
        self._tokens, self._now_s = tokens - taken, now_s
        return taken

    def rested(self, now_s: float) -> bool:
        """Whether it is full, since nothing was asked of it for a while."""
        return self._filled(now_s) >= self._rate.burst

    def _filled(self, now_s: float) -> float:
        gained = (now_s - self._now_s) * self._rate.per_s
        return min(self._tokens + gained, self._rate.burst)


@final
class Inbox:
    """Commands on their way from the network's thread to the main thread.

    Parameters
    ----------
    base
        `<prefix>/<device_id>`.
    device_id, boot_id
        As in other payloads.
    """

    def __init__(self, base: str, device_id: str, boot_id: str) -> None:
        self._topics: dict[str, CommandName] = {f"{base}/cmd/{name}": name for name in RATES}
        self._result = f"{base}/cmd/result"
        self._device_id, self._boot_id = device_id, boot_id
        self._buckets = {name: Bucket(rate) for name, rate in RATES.items()}
        self._refusals = Bucket(REFUSALS)
        self._flooded = False
        self._waiting: deque[Request] = deque()
        self._known: OrderedDict[tuple[str, str | bytes] | None, Message | None] = OrderedDict()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = _nobody

    @property
    def topics(self) -> tuple[str, ...]:
        """Where commands come from. Not a wildcard, which would bring our own results back."""
        return tuple(self._topics)

    def wakes(self, wake: Callable[[], None]) -> None:
        """Let `wake` be called when something is to be taken; it must not block."""
        self._wake = wake

    def hear(self, heard: Heard, now_s: float) -> Message | None:
        """Take a message in; return what is to be published at once, if anything. Never waits.

        What is delivered a second time is passed over: a connection begins without a session, so
        the first time was on the same one. What is retained is refused: it would be heard again at
        every connection. An empty retained message is no command, it clears another.
        """
        command = self._topics.get(heard.topic)
        if command is None or heard.duplicate or (heard.retained and not heard.payload):
            return None
        try:
            request = parse(command, heard)
            repeated, answer = self._admit(request, now_s)
        except CommandError as exc:
            return self._refusal(command, exc, heard, now_s)
        if not repeated:
            self._wake()
        elif answer is not None and self._refusals.take(now_s):
            return replace(answer, correlation=request.correlation)
        return None

    def take(self) -> Request | None:
        """Return the oldest command that waits. For the main thread."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting)

    def answer(self, request: Request, conclusion: Conclusion, text: str) -> Message:
        """Return what is to be published of a command that was taken. For the main thread.

        What was refused changed nothing, so it may be asked again under its id.
        """
        _log.info("command %s: %s: %s", request.command, conclusion, text)
        message = self._message(
            request.command, conclusion, text, id_=request.id, correlation=request.correlation
        )
        with self._lock:
            if conclusion == "refused":
                self._known.pop(request.key, None)
            elif request.key in self._known:
                self._known[request.key] = message
        return message

    def _admit(self, request: Request, now_s: float) -> tuple[bool, Message | None]:
        """Let a command wait. Of a repeated one, return True and the answer as far as there is one.

        Raises
        ------
        CommandError
            There were too many, or there is no room.
        """
        key = request.key
        with self._lock:
            if key is not None and key in self._known:
                return True, self._known[key]
            if len(self._waiting) >= MOST_WAITING:
                raise CommandError("too many commands wait: ask again later", request.id)
            if not self._buckets[request.command].take(now_s):
                raise CommandError(f"too many of {request.command}: ask again later", request.id)
            if key is not None:
                self._known[key] = None
                if len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)
            self._waiting.append(request)
        return False, None

    def _refusal(
        self, command: CommandName, error: CommandError, heard: Heard, now_s: float
    ) -> Message | None:
        """Return the refusal, or None where there were too many of them."""
        if self._refusals.rested(now_s):
            self._flooded = False
        if not self._refusals.take(now_s):
            if not self._flooded:
                _log.warning("commands: too many are refused; not each is answered or logged now")
            self._flooded = True
            return None
        if not self._flooded:
            # What was sent is not logged: it may be anything.
            _log.info("command %s: refused", command)
        correlation = heard.correlation
        if correlation is not None and len(correlation) > MOST_CORRELATION_BYTES:
            correlation = None
        return self._message(command, "refused", str(error), id_=error.id, correlation=correlation)

    def _message(
        self,
        command: CommandName,
        conclusion: Conclusion,
        text: str,
        *,
        id_: str | None,
        correlation: bytes | None,
    ) -> Message:
        result = Result(
            device_id=self._device_id,
            boot_id=self._boot_id,
            command=command,
            id=id_,
            outcome=conclusion,
            text=_printable(text),
            ts=clock.utc(monotonic()),
            clock_synced=clock.synchronised(),
        )
        return Message(
            self._result,
            msgspec.json.encode(result),
            schema=result.schema,
            expiry_s=RESULT_EXPIRY_S,
            correlation=correlation,
        )


def _printable(text: str) -> str:
    """Return one line of at most `_MOST_TEXT` characters: errors quote what a stranger sent."""
    line = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return line if len(line) <= _MOST_TEXT else f"{line[: _MOST_TEXT - 3]}..."


def _nobody() -> None:
    """Nobody waits yet."""
