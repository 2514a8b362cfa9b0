"""What a client sends over MQTT, read back from the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_PUBLISH = 3
_OTHERS = {
    1: "CONNECT",
    4: "PUBACK",
    8: "SUBSCRIBE",
    10: "UNSUBSCRIBE",
    12: "PINGREQ",
    14: "DISCONNECT",
}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; `topic` is a PUBLISH's, else empty. `body` is its payload, or all of it."""

    kind: str
    topic: str
    body: bytes


def packets(stream: bytes) -> Iterator[Packet]:
    """Take all that a client of MQTT 5 sent apart; whatever cannot be taken apart is an error."""
    while stream:
        kind, flags = stream[0] >> 4, stream[0] & 0x0F
        length, stream = _number(stream[1:])
        body, stream = stream[:length], stream[length:]
        assert len(body) == length, "a packet is cut short"
        if kind == _PUBLISH:
            yield _published(body, qos=flags >> 1 & 3)
        else:
            assert kind in _OTHERS, f"a packet of kind {kind}"
            yield Packet(_OTHERS[kind], "", body)


def _published(body: bytes, *, qos: int) -> Packet:
    size = int.from_bytes(body[:2], "big")
    topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
    length, rest = _number(rest[2:] if qos else rest)
    return Packet("PUBLISH", topic, rest[length:])


def _number(data: bytes) -> tuple[int, bytes]:
    """A variable byte integer (MQTT 5, section 1.5.5), and what comes after it."""
    number = 0
    for index in range(4):
        number |= (data[index] & 0x7F) << 7 * index
        if data[index] < 0x80:
            return number, data[index + 1 :]
    raise AssertionError("a length of more than four bytes")
