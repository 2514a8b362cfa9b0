"""Faces in a frame: BlazeFace, as MediaPipe trained it.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019:
a single-shot detector whose anchors all have one size a cell; overlapping answers are blended
by their scores instead of suppressed (section 3.3), which steadies boxes between frames.
"""

from __future__ import annotations

import math

import numpy as np

from edge.bundle import Anchors, Bundle, DetectorManifest
from edge.datatypes import Box, Detection, Float32Array, Frame, Keypoints, Point, UInt8Array
from edge.imaging import Letterbox, letterbox
from edge.runtime import Library, Model, pixel_reader

_FAR = 4.0
"""How far from the picture, in sides of the input, a face may lie that is cut by its border."""


class Detector:
    """Finds faces. One is enough for any number of cameras taken in turn."""

    def __init__(
        self,
        bundle: Bundle,
        manifest: DetectorManifest,
        *,
        score: float | None = None,
        threads: int = 1,
        library: Library = "ai-edge-litert",
    ) -> None:
        self._model = Model(
            bundle.read(manifest.frame), manifest.frame, threads=threads, library=library
        )
        self._size = manifest.input.size
        self._read_pixels = pixel_reader(
            manifest.input.mean, manifest.input.std, manifest.frame.inputs[0]
        )
        self._centres = anchor_centres(manifest.anchors)
        self._scale = manifest.anchors.scale
        threshold = manifest.thresholds.score if score is None else score
        # Scores come as logits: cutting there spares a sigmoid on a thousand anchors.
        self._least_logit = _logit(threshold)
        self._overlap = manifest.thresholds.overlap
        roles = [tensor.role for tensor in manifest.frame.outputs]
        self._boxes, self._scores = roles.index("boxes"), roles.index("scores")

    @property
    def invoked_s(self) -> float:
        """Seconds spent inside `invoke()` so far."""
        return self._model.invoked_s

    def __call__(self, frame: Frame) -> list[Detection]:
        """Return the faces in a frame, surest first."""
        square, where = self.prepare(frame.colour)
        outputs = self._model(square)
        return self.decode(outputs[self._boxes][0], outputs[self._scores][0, :, 0], where)

    def prepare(self, colour: UInt8Array) -> tuple[Float32Array, Letterbox]:
        """Return the network's input, [1, size, size, 3], and the way back to the frame."""
        square, where = letterbox(colour, self._size)
        return self._read_pixels(square)[None], where

    def decode(self, raw: Float32Array, logits: Float32Array, where: Letterbox) -> list[Detection]:
        """Turn the network's outputs into faces.

        Parameters
        ----------
        raw
            float32, [anchors, 16]: offsets from each anchor in input pixels.
        logits
            float32, [anchors].
        where
            How the frame lies in the input.
        """
        chosen = np.flatnonzero(logits >= self._least_logit)
        if not chosen.size:
            return []
        scores = 1.0 / (1.0 + np.exp(-logits[chosen].astype(np.float64)))
        points = raw[chosen].reshape(-1, 8, 2).astype(np.float64) / self._scale
        centres = self._centres[chosen]
        points[:, 0] += centres
        # The second pair is a size, which has no place.
        points[:, 2:] += centres[:, None]
        # A damaged network may say anything; a place that is none (NaN) is not near either.
        near = (np.abs(points) <= _FAR).all(axis=(1, 2)) & (points[:, 1] > 0).all(axis=1)
        blended = blend(points[near], scores[near], self._overlap)
        return [_detection(face, score, where) for face, score in blended]


def anchor_centres(anchors: Anchors) -> Float32Array:
    """Return the anchors' centres, [anchors, 2], as fractions (x, y) of the input."""
    layers = []
    for layer in anchors.layers:
        line = (np.arange(layer.cells) + 0.5) / layer.cells
        x, y = np.meshgrid(line, line)
        grid = np.stack([x.ravel(), y.ravel()], axis=1)
        layers.append(np.repeat(grid, layer.per_cell, axis=0))
    return np.concatenate(layers).astype(np.float32)


def blend(faces: np.ndarray, scores: np.ndarray, overlap: float) -> list[tuple[np.ndarray, float]]:
    """Weighted non-maximum suppression.

    Parameters
    ----------
    faces
        [n, 8, 2]: centre, size and six keypoints of each candidate.
    scores
        [n], 0 to 1.
    overlap
        Intersection over union from which two candidates are the same face.

    Returns
    -------
    For each face, surest first: the score-weighted mean of its candidates, [8, 2], and the
    score of its surest candidate.
    """
    order = np.argsort(-scores, kind="stable")
    faces, scores = faces[order], scores[order]
    flat = faces.reshape(-1, 2 * (2 + len(Keypoints._fields)))
    half = faces[:, 1] / 2
    low, high = faces[:, 0] - half, faces[:, 0] + half
    area = faces[:, 1, 0] * faces[:, 1, 1]
    found = []
    left = np.arange(len(faces))
    while left.size:
        best = left[0]
        edges = np.minimum(high[left], high[best]) - np.maximum(low[left], low[best])
        np.maximum(edges, 0, out=edges)
        both = edges[:, 0] * edges[:, 1]
        same = both > overlap * (area[left] + area[best] - both)
        # A box without an area overlaps nothing, itself included.
        same[0] = True
        group = left[same]
        weights = scores[group]
        mean = weights @ flat[group] / weights.sum()
        found.append((mean.reshape(-1, 2), float(scores[best])))
        left = left[~same]
    return found


def _detection(face: np.ndarray, score: float, where: Letterbox) -> Detection:
    (cx, cy), (width, height), *points = face.tolist()
    scale_x, scale_y = where.scale_x, where.scale_y
    offset_x, offset_y = where.offset_x, where.offset_y
    width, height = width * scale_x, height * scale_y
    box = Box(
        cx * scale_x - offset_x - width / 2, cy * scale_y - offset_y - height / 2, width, height
    )
    keypoints = Keypoints(
        *(Point(x * scale_x - offset_x, y * scale_y - offset_y) for x, y in points)
    )
    return Detection(box, keypoints, score)


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
