"""Golden vectors: drawn faces, and what a bundle answers to a long stream of them here.

The faces are drawn, so that no picture of a person lies in a bundle.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from convert.data import TILE
from edge.bundle import StreamManifest
from edge.datatypes import Float32Array, UInt8Array
from edge.goldens import Goldens, replay
from edge.networks import StreamNetworks

FACES = 64
STEPS = 1024
SEED = 1
STEPS_APART = 3
"""By how many steps of int8 correct runtimes differ: tflite-runtime 2.14 by up to 3 from the
others, arm64 by 1 from x86-64; see DESIGN."""


def draw_face(random: np.random.Generator, size: int = TILE) -> UInt8Array:
    """Draw a face: an oval on a gradient, two eyes, brows, nose and mouth, uint8 [size, size]."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    slope_x, slope_y = random.uniform(-80, 80, 2)
    picture = random.uniform(40, 150) + slope_x * x + slope_y * y

    def paint(cx: float, cy: float, width: float, height: float, value: float) -> None:
        distance = ((x - cx) / width) ** 2 + ((y - cy) / height) ** 2
        cover = np.clip((1.15 - distance) / 0.3, 0, 1)
        picture[:] = picture * (1 - cover) + value * cover

    skin = random.uniform(120, 230)
    dark = skin * random.uniform(0.2, 0.5)
    paint(0, 0.02, random.uniform(0.34, 0.44), random.uniform(0.44, 0.52), skin)
    picture += random.uniform(-40, 40) * x
    open_eye, raised = random.uniform(0.015, 0.06), random.uniform(0.07, 0.13)
    frown = random.uniform(-0.04, 0.04)
    for side in (-0.18, 0.18):
        paint(side, -0.12, 0.08, open_eye, dark)
        for part in (-0.06, 0.0, 0.06):
            inner = part if side < 0 else -part
            paint(side + part, -0.12 - raised + frown * inner / 0.06, 0.035, 0.018, dark)
    paint(0, 0.06, 0.03, 0.08, skin * 0.8)
    bend, gape = random.uniform(-0.07, 0.07), random.uniform(0.01, 0.07)
    for part in np.linspace(-1, 1, 9):
        paint(0.15 * part, 0.27 - bend * part**2, 0.03, 0.012 + gape * (1 - part**2), dark)
    picture += random.normal(0, 3, picture.shape)
    return np.asarray(np.clip(np.rint(picture), 0, 255), dtype=np.uint8)


def make(networks: StreamNetworks, manifest: StreamManifest) -> Goldens:
    """Draw faces, an order to show them in, and record what the networks answer.

    The tolerances come from `STEPS_APART`: for the frame model as many steps of its logits; for
    the head the largest difference that embeddings wrong by up to as many steps make anywhere
    in the stream.
    """
    random = np.random.default_rng(SEED)
    faces = np.stack([draw_face(random, manifest.input.size) for _ in range(FACES)])
    order, resets = schedule(random)
    frame_logits, head_logits = replay(networks, faces, order, resets)
    scale = next(each.scale for each in manifest.frame.outputs if each.role == "logits") or 0.0
    shaken = _shaken(networks, manifest, faces, order, resets)
    head_tolerance = float(np.abs(shaken - head_logits).max())
    # A hundredth more: the comparison is between floats.
    return Goldens(
        faces=faces,
        order=order,
        resets=resets,
        frame_logits=frame_logits,
        head_logits=head_logits,
        frame_tolerance=round(STEPS_APART * scale * 1.01, 6),
        head_tolerance=round(head_tolerance * 1.01, 6),
    )


def schedule(
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return which face is shown at each step, every one at least once, and when state resets."""
    shown = [*random.permutation(FACES), *random.integers(0, FACES, STEPS)]
    holds = random.integers(4, 13, len(shown))
    order = np.repeat(shown, holds)[:STEPS].astype(np.int32)
    resets = random.random(STEPS) < 4 / STEPS
    resets[0] = True
    return order, resets


def to_bytes(goldens: Goldens) -> bytes:
    """Return goldens as the bytes of an .npz; the same goldens give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in Goldens.__dataclass_fields__:
            part = io.BytesIO()
            np.save(part, np.asarray(getattr(goldens, name)))
            # numpy.savez would stamp each part with the time.
            stamp = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            stamp.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(stamp, part.getvalue())
    return buffer.getvalue()


def _shaken(
    networks: StreamNetworks,
    manifest: StreamManifest,
    faces: UInt8Array,
    order: npt.NDArray[np.int32],
    resets: npt.NDArray[np.bool_],
) -> Float32Array:
    """Return the head's logits when each embedding is wrong by up to `STEPS_APART` steps."""
    out = next(each for each in manifest.frame.outputs if each.role == "embedding")
    into = next(each for each in manifest.head.inputs if each.role == "embedding")
    ratio = (out.scale or 1.0) / (into.scale or 1.0)
    limits = np.iinfo(into.dtype)
    random = np.random.default_rng(SEED)
    embeddings = []
    for face in faces:
        exact = networks.embed(face)
        steps = random.integers(-STEPS_APART, STEPS_APART + 1, exact.vector.shape)
        off = np.clip(exact.vector + np.rint(steps * ratio), limits.min, limits.max)
        embeddings.append(replace(exact, vector=off.astype(into.dtype)))
    state = networks.initial_state()
    rows = []
    for index, reset in zip(order, resets, strict=True):
        state = networks.initial_state() if reset else state
        logits, state = networks.step(embeddings[index], state)
        rows.append(logits)
    return np.stack(rows)
