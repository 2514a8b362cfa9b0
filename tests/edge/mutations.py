"""Bad input: what a bad card, a bad cable, a bad editor or a bad mind makes of a good file.

Everything is drawn from the `Random` it is given, so that the same seed makes the same input:

    bytes    bits flip, ranges are overwritten, repeated, moved, lost, or the file ends early
    tokens   words of the text are lost, repeated, swapped, or replaced by others that are awkward
    values   a tree of tables and arrays has keys and values added, removed, renamed, replaced
    words    numbers that are likely lengths, offsets or indices become others
    archive  arrays are lost, swapped, of another type or shape, or no numbers
"""

from __future__ import annotations

import copy
import functools
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

Tree = Any
"""What JSON and TOML hold: tables, arrays and plain values."""

_TOKENS = re.compile(r"\w+|\s+|[^\w\s]")

_DEEP = 3000
_LONG = 100_000

_ENDLESS = {"@arrays": ("[", "0", "]"), "@tables": ('{"a"=', "0", "}"), "@digits": ("9", "", "")}
"""What stands for nesting, and a number, without an end: written out only in the text."""

AWKWARD_TEXTS = (
    "", " ", "\0", "\n", "a\nb", "a\r\nmien: all is well", "\x1b[2J", "..", "../../etc/passwd", "/",
    "~nobody-of-that-name/x", "a\0b", "x" * 300, "é" * 200, "\ud800", "\U0001f600", "\u202eevil",
    "#", "+", "a/#", "`field`", "$", "{}", "%s", "true", "NaN", "lobby\n", "9" * 5000, "x" * _LONG,
)  # fmt: skip

AWKWARD_NUMBERS = (
    0, -1, 1, 2, 255, 256, 65_536, 2**31, -(2**31), 2**53 + 1, 2**63, 2**64, -(2**64), 10**30,
    10**400, 0.0, -0.0, 1e-320, 1e-300, 1e-9, 0.5, 1e9, 1e300, math.inf, -math.inf, math.nan,
)  # fmt: skip

AWKWARD_TOKENS = (
    "nan", "inf", "-inf", "1e999", "-0", "0x7fffffffffffffff", "9" * 5000, "1_0", "0o17", '"', "'",
    '"""', "[", "]", "[[", "]]", "{", "}", "=", ",", ".", ":", "#", "\n", "\r", "\0", "\ufeff",
    "\\", "\\u0000", "\\ud800", '"\\ud800"', "null", "true", "1979-05-27T07:32:00Z", "[" * _DEEP,
    "{a=" * _DEEP, '{"a":' * _DEEP, "a." * 500, "a" * _LONG, "[" + "0," * 20_000 + "]",
)  # fmt: skip


def of_bytes(raw: bytes, random: Random) -> bytes:
    """Damage a file as storage and cables do."""
    data = bytearray(raw)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        random.choice(_BYTE_DAMAGES)(data, random)
    return bytes(data)


def _place(data: bytearray, random: Random) -> int:
    return random.randrange(max(len(data), 1))


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, random: Random) -> None:
    at, length = _place(data, random), random.choice((1, 1, 4, 64, 4096))
    fresh = bytes(length) if random.random() < 0.5 else random.randbytes(length)
    data[at : at + length] = fresh[: len(data) - at]


def _lose(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.choice((1, 1, 7, 512, 100_000))]


def _end_early(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


def _repeat(data: bytearray, random: Random) -> None:
    at, length = _place(data, random), random.choice((1, 16, 200))
    to = _place(data, random)
    data[to:to] = data[at : at + length] * random.choice((1, 1, 50))


def _insert(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.choice((b"\0", b"\xff", b"\n", b'"', b"\xef\xbb\xbf", random.randbytes(9)))


_BYTE_DAMAGES: Sequence[Callable[[bytearray, Random], None]] = (
    _flip, _flip, _overwrite, _lose, _end_early, _repeat, _insert,
)  # fmt: skip


def of_tokens(text: str, random: Random) -> str:
    """Damage a text as editors and scripts do."""
    tokens = _TOKENS.findall(text)
    for _ in range(random.choice((1, 1, 2, 5))):
        at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        act = random.randrange(6)
        if act == 0:
            tokens[at] = ""
        elif act == 1:
            tokens[at] *= 2
        elif act == 2:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif act == 3:
            tokens[at:at] = tokens[other : other + 30]
        elif act == 4:
            tokens[at] = random.choice(AWKWARD_TOKENS)
        else:
            tokens[at] += random.choice(AWKWARD_TOKENS)
    return "".join(tokens)


def of_values(tree: Tree, random: Random) -> Tree:
    """Damage what a file says: right in form, wrong in content."""
    fresh = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _alter(fresh, random)
    return fresh


def _alter(tree: Tree, random: Random) -> None:
    inside = random.choice(_containers(tree))
    keys: list[Any] = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
    act = random.randrange(6)
    if act == 0 or not keys:
        fresh = awkward(random)
        if isinstance(inside, dict):
            inside[random.choice((*AWKWARD_TEXTS[:-2], "x", "name", "camera"))] = fresh
        else:
            inside.append(fresh)
        return
    key = random.choice(keys)
    if act == 1:
        del inside[key]
    elif act == 2 and isinstance(inside, dict):
        inside[key[:-1] or "x"] = inside.pop(key)
    elif act == 3 and isinstance(inside, list):
        inside *= random.choice((2, 300))
    else:
        inside[key] = _similar(inside[key], random) if random.random() < 0.5 else awkward(random)


def _containers(tree: Tree) -> list[Any]:
    """Return every table and array of a tree."""
    if not isinstance(tree, dict | list):
        return []
    below = tree.values() if isinstance(tree, dict) else tree
    return [tree, *(found for each in below for found in _containers(each))]


def _similar(value: Tree, random: Random) -> Tree:
    """Return another value of the same type, so that it gets past the first look at it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return random.choice((*AWKWARD_NUMBERS, value * 2, value / 3, value + 1, -value))
    if isinstance(value, str):
        return random.choice((*AWKWARD_TEXTS, value + "\n", value * 3, value[:-1], value.upper()))
    return awkward(random)


def awkward(random: Random) -> Tree:
    """Return a value that nobody expects."""
    kind = random.randrange(8)
    if kind < 3:
        return random.choice(AWKWARD_NUMBERS)
    if kind < 6:
        return random.choice(AWKWARD_TEXTS)
    if kind == 6:
        return random.choice(tuple(_ENDLESS))
    return random.choice(([], {}, True, [[]], [{}], {"": {}}, [1, "a", {}], [0.0] * 5000))


def json_of(tree: Tree) -> bytes:
    """Write a tree as JSON, or as what a careless program takes for it."""
    text = json.dumps(tree)
    for name, (many, least, ends) in _ENDLESS.items():
        text = text.replace(f'"{name}"', many.replace("=", ":") * _DEEP + least + ends * _DEEP)
    return text.encode()


def toml_of(tree: Tree) -> bytes:
    """Write a tree as TOML, all of it in inline tables but the uppermost."""
    text = "\n".join(f"{_quoted(key)} = {_toml(value)}" for key, value in tree.items())
    for name, (many, least, ends) in _ENDLESS.items():
        text = text.replace(f'"{name}"', many * _DEEP + least + ends * _DEEP)
    return text.encode("utf-8", "surrogatepass")


def _toml(value: Tree) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_quoted(key)} = {_toml(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def of_words(raw: bytes, random: Random) -> bytes:
    """Damage what in a binary file is most likely a length, an offset or an index: small words."""
    words = np.frombuffer(raw[: len(raw) // 4 * 4], np.int32).copy()
    likely = np.flatnonzero(np.abs(words.astype(np.int64)) < 5000)
    for _ in range(random.choice((1, 1, 2, 3))):
        words[likely[random.randrange(len(likely))]] = random.choice(_WORDS)
    return words.tobytes() + raw[len(words) * 4 :]


_WORDS = (0, -1, 1, 2, 3, 7, -7, 100, 255, 65_535, 1 << 20, 2**31 - 1, -(2**31))


def of_archive(raw: bytes, random: Random) -> bytes:
    """Damage an .npz file: what it holds, or the arrays' own headers, with checksums made anew."""
    with np.load(io.BytesIO(raw)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = random.choice(list(arrays))
    act = random.randrange(7)
    if act == 0:
        del arrays[name]
    elif act == 1:
        arrays[name] = arrays[name].astype(random.choice(("float64", "int8", "complex64", "S3")))
    elif act == 2:
        arrays[name] = arrays[name].reshape(-1)[: random.choice((0, 1, 5))]
    elif act == 3:
        arrays[name] = np.full_like(arrays[name], random.choice((0, 1, 127)))
    elif act == 4 and arrays[name].dtype.kind == "f":
        arrays[name] = arrays[name] * random.choice((math.nan, math.inf, -1.0, 1e30))
    elif act == 5:
        arrays[name] = arrays[random.choice(list(arrays))]
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as packed:
        for each, array in arrays.items():
            entry = io.BytesIO()
            np.save(entry, array)
            data = entry.getvalue()
            if each == name and act == 6:
                data = of_bytes(data[:128], random) + data[128:]
            packed.writestr(f"{each}.npy", data)
    return fresh.getvalue()


@functools.cache
def bomb() -> bytes:
    """Return a small .npz file that unpacks to 300 MB."""
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("faces", "order", "resets"):
            packed.writestr(f"{name}.npy", bytes(100_000_000))
    return fresh.getvalue()
