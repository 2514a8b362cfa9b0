"""What may be asked over MQTT is read strictly, carried out seldom, and never twice."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge import commands, schema
from edge.commands import RATES, Bucket, Command, CommandError, Inbox, Rate, Request, parse
from edge.outbox import Heard, Message

BASE = "mien/lobby"
RESULT = Draft202012Validator(json.loads(schema.text("result")))
COMMAND = Draft202012Validator(json.loads(schema.text("command")))


def heard(
    name: str, payload: bytes | str = b"", correlation: bytes | None = None, **flags: bool
) -> Heard:
    body = payload.encode() if isinstance(payload, str) else payload
    return Heard(f"{BASE}/cmd/{name}", body, correlation=correlation, **flags)


def inbox() -> Inbox:
    return Inbox(BASE, "lobby", "b00t")


def result(message: Message | None) -> dict[str, object]:
    assert message is not None
    assert message.topic == f"{BASE}/cmd/result"
    assert not message.retain
    payload = json.loads(message.payload)
    RESULT.validate(payload)
    return dict(payload)


# What is a command


def test_an_empty_payload_is_the_plain_form() -> None:
    for name in RATES:
        assert parse(name, heard(name)) == parse(name, heard(name, "{}")) == Request(name)


def test_an_id_a_camera_and_correlation_data_are_read() -> None:
    body = '{"schema": "mien-command/1", "id": "a:1", "camera": "door"}'
    assert parse("pause", heard("pause", body, b"\x00\xff")) == Request(
        "pause", "a:1", "door", b"\x00\xff"
    )


@pytest.mark.parametrize(
    ("name", "payload", "correlation", "why"),
    [
        ("reload", "x" * 1025, None, "longer than 1024 bytes"),
        ("reload", "", b"c" * 65, "correlation data is longer than 64 bytes"),
        ("reload", "PRESS", None, "not a mien-command/1"),
        ("reload", "null", None, "not a mien-command/1"),
        ("reload", '{"file": "/etc/passwd"}', None, "unknown field `file`"),
        ("reload", '{"schema": "mien-command/2"}', None, "mien-command/2"),
        ("reload", '{"id": ""}', None, "id"),
        ("reload", '{"id": "a\\nb"}', None, "id"),
        ("reload", b'{"id": "\xff"}', None, "not a mien-command/1"),
        ("reload", '{"camera": "door"}', None, "leave camera out"),
        ("selftest", '{"camera": "door"}', None, "leave camera out"),
        ("pause", '{"camera": "../#"}', None, "camera"),
    ],
)
def test_what_is_no_command_is_refused_with_the_reason(
    name: commands.CommandName, payload: bytes | str, correlation: bytes | None, why: str
) -> None:
    with pytest.raises(CommandError, match=r"^[^\n]+$") as refused:
        parse(name, heard(name, payload, correlation))
    assert why in str(refused.value)
    said = result(inbox().hear(heard(name, payload, correlation), 0.0))
    assert (said["outcome"], said["command"]) == ("refused", name)


def test_correlation_data_comes_back_and_what_is_too_long_of_it_does_not() -> None:
    answer = inbox().hear(heard("reload", "?", b"7"), 0.0)
    assert answer is not None
    assert answer.correlation == b"7"
    answer = inbox().hear(heard("reload", "", b"7" * 65), 0.0)
    assert answer is not None
    assert answer.correlation is None


def test_what_is_said_of_a_strangers_words_is_one_short_line() -> None:
    said = result(inbox().hear(heard("reload", json.dumps({"\x1b[2J\n" * 99: 1})), 0.0))
    text = str(said["text"])
    assert text.isprintable()
    assert len(text) <= 200


# What becomes of it


def test_a_command_wakes_who_takes_it_and_is_taken_once() -> None:
    box, woken = inbox(), []
    box.wakes(lambda: woken.append(True))
    assert box.hear(heard("pause", '{"camera": "door"}'), 0.0) is None
    assert woken == [True]
    assert box.waiting
    request = box.take()
    assert request == Request("pause", camera="door")
    assert (box.take(), box.waiting) == (None, False)
    said = result(box.answer(request, "done", "paused: door"))
    assert (said["outcome"], said["text"], said["id"]) == ("done", "paused: door", None)


@pytest.mark.parametrize("topic", ["mien/lobby/cmd/result", "mien/lobby/cmd/reboot", "a", ""])
def test_other_topics_are_nobodys_commands(topic: str) -> None:
    box = inbox()
    assert box.hear(Heard(topic, b""), 0.0) is None
    assert not box.waiting
    assert topic not in box.topics


def test_what_is_retained_is_refused_and_what_clears_it_is_no_command() -> None:
    box = inbox()
    said = result(box.hear(heard("reload", "{}", retained=True), 0.0))
    assert "without retain" in str(said["text"])
    assert box.hear(heard("reload", retained=True), 0.0) is None
    assert not box.waiting


def test_what_is_delivered_again_is_passed_over() -> None:
    box = inbox()
    assert box.hear(heard("reload", duplicate=True), 0.0) is None
    assert not box.waiting


@pytest.mark.parametrize(("payload", "correlation"), [('{"id": "a"}', None), ("", b"a")])
def test_what_is_asked_again_is_answered_again_and_done_once(
    payload: str, correlation: bytes | None
) -> None:
    box = inbox()
    asked = heard("reload", payload, correlation)
    assert box.hear(asked, 0.0) is None
    assert box.hear(asked, 0.0) is None, "it is not answered before it is done"
    request = box.take()
    assert request is not None
    assert box.take() is None
    first = box.answer(request, "done", "in force")
    assert box.hear(asked, 0.0) == first
    assert not box.waiting
    assert box.hear(heard("pause", payload, correlation), 0.0) is None
    assert box.waiting, "the same name, another command"


def test_what_was_refused_may_be_asked_again_under_its_id() -> None:
    box = inbox()
    for _ in range(2):
        assert box.hear(heard("reload", '{"id": "a"}'), 0.0) is None
        request = box.take()
        assert request is not None
        assert result(box.answer(request, "refused", "not TOML"))["outcome"] == "refused"


def test_an_answer_that_is_given_again_carries_the_correlation_it_was_asked_with() -> None:
    box = inbox()
    box.hear(heard("reload", '{"id": "a"}', b"1"), 0.0)
    request = box.take()
    assert request is not None
    assert box.answer(request, "done", "").correlation == b"1"
    again = box.hear(heard("reload", '{"id": "a"}', b"2"), 0.0)
    assert again is not None
    assert again.correlation == b"2"


def test_what_was_refused_for_want_of_time_may_be_asked_again_under_its_id() -> None:
    box = inbox()
    for _ in range(RATES["reload"].burst):
        assert box.hear(heard("reload"), 0.0) is None
        box.take()
    said = result(box.hear(heard("reload", '{"id": "late"}'), 0.0))
    assert (said["id"], said["outcome"]) == ("late", "refused")
    assert box.hear(heard("reload", '{"id": "late"}'), 1 / RATES["reload"].per_s) is None
    assert box.waiting


def test_only_so_many_wait() -> None:
    box = inbox()
    for _ in range(commands.MOST_WAITING):
        assert box.hear(heard("pause"), 0.0) is None
    assert "too many commands wait" in str(result(box.hear(heard("resume"), 0.0))["text"])
    while box.take():
        pass
    assert box.hear(heard("resume"), 0.0) is None


def test_too_many_of_one_command_are_refused_and_others_are_not() -> None:
    box = inbox()
    for _ in range(RATES["selftest"].burst):
        assert box.hear(heard("selftest"), 0.0) is None
        box.take()
    assert "too many of selftest" in str(result(box.hear(heard("selftest"), 0.0))["text"])
    assert box.hear(heard("pause"), 0.0) is None


def test_nobody_can_make_the_device_shout(caplog: pytest.LogCaptureFixture) -> None:
    box = inbox()
    with caplog.at_level("INFO"):
        answers = [box.hear(heard("reload", "?"), 0.0) for _ in range(1000)]
        assert len([each for each in answers if each]) == commands.REFUSALS.burst
    assert len(caplog.records) == commands.REFUSALS.burst + 1
    assert box.hear(heard("reload"), 0.0) is None
    assert box.waiting, "what is right is heard meanwhile"
    caplog.clear()
    assert box.hear(heard("reload", "?"), 1.5), "and a second later one is told again"
    assert caplog.records == [], "but not logged, while it goes on"
    with caplog.at_level("INFO"):
        assert box.hear(heard("reload", "?"), 60.0)
    assert len(caplog.records) == 1, "as it is when it was quiet for a while"


def test_a_repeated_command_cannot_make_it_shout_either() -> None:
    box = inbox()
    box.hear(heard("pause", '{"id": "a"}'), 0.0)
    request = box.take()
    assert request is not None
    box.answer(request, "done", "")
    answers = [box.hear(heard("pause", '{"id": "a"}'), 0.0) for _ in range(1000)]
    assert len([each for each in answers if each]) == commands.REFUSALS.burst


def test_what_is_remembered_is_bounded() -> None:
    box, now_s = inbox(), count()
    for number in range(1000):
        assert box.hear(heard("pause", f'{{"id": "a{number}"}}'), float(next(now_s))) is None
        request = box.take()
        assert request is not None
        box.answer(request, "done", "")
    assert box.hear(heard("pause", '{"id": "a0"}'), float(next(now_s))) is None
    assert box.take() is not None, "so long ago that it is new again"
    assert box.hear(heard("pause", '{"id": "a999"}'), float(next(now_s))) is not None


# Properties


@given(
    rate=st.builds(Rate, st.integers(1, 20), st.floats(0.01, 10.0)),
    waits=st.lists(st.floats(0.0, 5.0), max_size=60),
)
def test_a_bucket_never_gives_more_than_its_rate(rate: Rate, waits: list[float]) -> None:
    now_s, given_out, bucket = 100.0, 0, Bucket(rate)
    for wait_s in waits:
        now_s += wait_s
        given_out += bucket.take(now_s)
        assert given_out <= rate.burst + (now_s - 100.0) * rate.per_s + 1e-6


@given(st.binary(max_size=200), st.sampled_from(sorted(RATES)))
def test_what_is_read_is_what_the_schema_allows(payload: bytes, name: commands.CommandName) -> None:
    try:
        parse(name, heard(name, payload))
    except CommandError:
        return
    if payload:
        COMMAND.validate(json.loads(payload))


@given(
    st.builds(
        Command,
        id=st.none() | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z"),
        camera=st.none() | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"),
    )
)
def test_every_command_of_the_schema_is_read(command: Command) -> None:
    payload = msgspec.json.encode(command)
    COMMAND.validate(json.loads(payload))
    request = parse("pause", heard("pause", payload))
    assert (request.id, request.camera) == (command.id, command.camera)


# Ten thousand


VALID = [
    b"",
    b"{}",
    b'{"id": "a1"}',
    b'{"camera": "door"}',
    b'{"schema": "mien-command/1", "id": "0f8c:2", "camera": "door"}',
]
TOPICS = [*(f"{BASE}/cmd/{name}" for name in RATES), f"{BASE}/cmd/result", f"{BASE}/info"]


def mutations(seed: int, number: int) -> list[Heard]:
    """Messages made from right ones by up to four changes; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # to be repeated, not to be guessed
    return [_mutation(chance) for _ in range(number)]


def _mutation(chance: random.Random) -> Heard:
    payload = bytearray(chance.choice(VALID))
    for _ in range(chance.randrange(5)):
        chance.choice(CHANGES)(payload, chance)
    topic = chance.choice(TOPICS)
    if chance.random() < 0.1:
        place = chance.randrange(len(topic) + 1)
        topic = topic[:place] + chance.choice("/aé_-. ") + topic[place + chance.randrange(2) :]
    return Heard(
        topic,
        bytes(payload),
        retained=chance.random() < 0.05,
        duplicate=chance.random() < 0.05,
        correlation=chance.randbytes(chance.choice((0, 1, 64, 65)))
        if chance.random() < 0.3
        else None,
    )


def _flip(payload: bytearray, chance: random.Random) -> None:
    if payload:
        payload[chance.randrange(len(payload))] ^= 1 << chance.randrange(8)


def _insert(payload: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(payload) + 1)
    odd = (chance.randbytes(4), b"\x00", b"\xff", b'"', b"{", b"[" * 300, b"1e999", b"\\ud800")
    payload[place:place] = chance.choice(odd)


def _cut(payload: bytearray, chance: random.Random) -> None:
    del payload[chance.randrange(len(payload) + 1) :]


def _repeat(payload: bytearray, chance: random.Random) -> None:
    payload *= chance.choice((2, 3, 40))


def _replace(payload: bytearray, chance: random.Random) -> None:
    words = (b"id", b"camera", b"schema", b"a1", b"door", b"mien-command/1")
    others = (b"null", b"file", b"-1", b'"', "é".encode(), b"x" * 70, string.printable.encode())
    found = payload.replace(chance.choice(words), chance.choice(others))
    payload[:] = found


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _insert, _cut, _repeat, _replace,
)  # fmt: skip


def test_ten_thousand_mutated_commands_crash_nothing_and_say_nothing_that_is_not_so(
    figure: Callable[[str], None],
) -> None:
    box, valid, refused, told = inbox(), 0, 0, 0
    for now_s, each in enumerate(mutations(7, 10_000)):
        message = box.hear(each, float(now_s))
        request = box.take()
        assert request is None or message is None
        if request is not None:
            valid += 1
            COMMAND.validate(json.loads(each.payload or b"{}"))
            told += 1
            result(box.answer(request, "done", ""))
        elif message is not None:
            told += 1
            refused += result(message)["outcome"] == "refused"
    assert min(valid, refused) > 500, "the mutator makes both kinds"
    figure(f"10,000 mutated messages: {valid} right, {refused} refused, {told} results, all valid")
