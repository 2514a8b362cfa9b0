"""Whether there is a picture in data: pixels of known ones, or something that may be any."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

import cv2
import numpy as np

BLOCK = 24
"""Bytes that are compared. Of a picture that is in the data, each run of 2 * BLOCK - 1 bytes has a
block that begins where the picture's own blocks do."""

_DISTINCT = 8
"""Values in a block below which it is no evidence: blank parts of a picture look like padding."""

_BITS = 24
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_LETTERS = re.compile(rb"[A-Za-z0-9+/=_-]{120,}")
_NUMBERS = re.compile(rb"(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[,;\s]+){24}")
_MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|BM|GIF8|II\*\0|MM\0\*", re.DOTALL)
_DEFLATED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_INFLATED = 1024
"""Bytes that something must become before it counts as compressed: what chance inflates to is
shorter, and a tile's pixels are more."""


def _hashes(blocks: np.ndarray) -> np.ndarray:
    """A number below 2 ** _BITS for each block; [count, BLOCK // 8] of uint64."""
    mixed = (blocks * _FACTORS).sum(axis=1, dtype=np.uint64)
    return mixed >> np.uint64(64 - _BITS)


def _aligned(data: bytes) -> np.ndarray:
    whole = len(data) // BLOCK * BLOCK
    return np.frombuffer(data[:whole], np.uint64).reshape(-1, BLOCK // 8)


def _sliding(data: bytes) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), BLOCK)
    return np.ascontiguousarray(windows).view(np.uint64)


def forms(name: str, values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """A picture or tensor as programs keep one: as it is, and as pixels with a sign or without."""
    yield name, np.ascontiguousarray(values).tobytes()
    if values.dtype == np.uint8:
        yield f"{name}, signed", (values ^ 0x80).tobytes()
        yield f"{name}, as floats", values.astype(np.float32).tobytes()
    if values.dtype == np.int8:
        yield f"{name}, unsigned", (values.view(np.uint8) ^ 0x80).tobytes()
    if values.ndim >= 3 and values.shape[-1] == 3:
        yield f"{name}, red first", np.ascontiguousarray(values[..., ::-1]).tobytes()
        yield f"{name}, in planes", np.ascontiguousarray(np.moveaxis(values, -1, 0)).tobytes()


def shown_in(data: Mapping[str, bytes], known: Iterable[tuple[str, np.ndarray]]) -> Iterator[str]:
    """Look for known pictures, in all their forms, and say what is where.

    Parameters
    ----------
    data
        Where to look, by name.
    known
        Pictures and tensors, by name.
    """
    table = np.zeros(1 << _BITS, bool)
    for each in data.values():
        if len(each) >= BLOCK:
            table[_hashes(_sliding(each))] = True
    for picture, values in known:
        for form, raw in forms(picture, values):
            blocks = _aligned(raw)
            for index in np.flatnonzero(table[_hashes(blocks)]):
                block = blocks[index].tobytes()
                if len(set(block)) >= _DISTINCT:
                    places = [name for name, each in data.items() if block in each]
                    yield from (f"{form} is in {name}" for name in places)


def coded_in(data: Mapping[str, bytes]) -> list[str]:
    """Look for what may hide one: encoded pictures, compressed data, long letters or numbers."""
    found: dict[str, None] = {}
    for name, each in data.items():
        for kind, there in (
            ("letters as of base64", _LETTERS.search(each) is not None),
            ("a list of numbers", _NUMBERS.search(each) is not None),
            ("an encoded picture", any(_is_picture(each, at) for at in _starts(_MAGIC, each))),
            ("compressed data", any(_is_deflated(each, at) for at in _starts(_DEFLATED, each))),
        ):
            if there:
                found[f"{kind} in {name}"] = None
    return list(found)


def _starts(pattern: re.Pattern[bytes], data: bytes) -> Iterator[int]:
    return (match.start() for match in pattern.finditer(data))


def _is_picture(data: bytes, start: int) -> bool:
    try:
        return cv2.imdecode(np.frombuffer(data[start:], np.uint8), cv2.IMREAD_COLOR) is not None
    except cv2.error:
        return False


def _is_deflated(data: bytes, start: int) -> bool:
    try:
        inflated = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data[start:], _INFLATED)
    except zlib.error:
        return False
    return len(inflated) >= _INFLATED
