"""Pictures of two labels, dark and light, and networks that tell them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tflite_files import Step, Value, build

NAMES = ("dark", "light")
SIDE = 8


def pictures(count: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Tiles of one shade each, uint8 [n, 8, 8], dark and light in turn; and their labels."""
    labels = np.arange(count) % 2
    shades = 60 + 130 * labels + np.arange(count)
    return np.broadcast_to(shades[:, None, None], (count, SIDE, SIDE)).astype(np.uint8), labels


def write_archive(file: Path, **other: Any) -> Path:  # noqa: ANN401  # any array
    """Write the pictures as an .npz, three of four in train; `other` takes the place of arrays."""
    images, labels = pictures()
    split = np.where(np.arange(len(labels)) % 8 < 6, "train", "val")
    arrays = {"images": images, "labels": np.array(NAMES)[labels], "split": split, **other}
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


def frame_file(  # a table of what such files may be like
    *, dtype: str = "float32", shape: tuple[int, ...] = (1, SIDE, SIDE, 1), softmax: bool = False,
    outputs: int = 1,
) -> bytes:  # fmt: skip
    """A .tflite file whose logits are minus and plus the mean of its picture."""
    total = int(np.prod(shape))
    real = dtype == "float32"
    inner = "float32" if real else "int8"
    signs = np.array([[-1], [1]]) * np.ones((1, total))
    weights = (signs / total).astype(np.float32) if real else signs.astype(np.int8)
    biases = np.zeros(2, np.float32 if real else np.int32)
    values = [
        Value(shape, inner, scales=[1 / 128], name="face"),
        Value([2, total], inner, data=weights, scales=[1 / total]),
        Value([2], str(biases.dtype), data=biases, scales=[]),
        Value([1, 2], inner, scales=[1 / 64], name="scores"),
        Value([1, 2], inner, scales=[1 / 256], zero_point=-128, name="shares"),
        Value(shape, dtype, scales=[1 / 128], zero_point=128, name="bytes"),
    ]
    steps = [Step("FULLY_CONNECTED", [0, 1, 2], [3], version=1 if real else 4)]
    if dtype == "uint8":
        steps.insert(0, Step("QUANTIZE", [5], [0], version=2))
    if softmax:
        steps.append(Step("SOFTMAX", [3], [4], {"beta": 1.0}, version=1 if real else 2))
    given, answer = 5 if dtype == "uint8" else 0, 4 if softmax else 3
    return build(values, steps, [given], [answer] * outputs)
