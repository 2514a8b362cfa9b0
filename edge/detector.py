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
from edge.runtime import Library, Model, look_up, pixel_table


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
        self._table = pixel_table(manifest.input.mean, manifest.input.std, manifest.frame.inputs[0])
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
        return look_up(self._table, square)[None], where

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
        centres = self._centres[chosen]
        values = raw[chosen] / self._scale
        scores = 1.0 / (1.0 + np.exp(-logits[chosen].astype(np.float64)))
        points = values.reshape(len(chosen), -1, 2).astype(np.float64)
        size = points[:, 1].copy()
        points += centres[:, None, :]
        points[:, 1] = size
        blended = blend(points, scores, self._overlap)
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
    low = faces[:, 0] - faces[:, 1] / 2
    high = faces[:, 0] + faces[:, 1] / 2
    area = np.prod(np.maximum(faces[:, 1], 0), axis=1)
    left = np.ones(len(faces), dtype=bool)
    found = []
    for best in range(len(faces)):
        if not left[best]:
            continue
        both = np.maximum(np.minimum(high, high[best]) - np.maximum(low, low[best]), 0).prod(axis=1)
        union = area + area[best] - both
        same = left & (both > overlap * union)
        same[best] = True
        weights = scores[same]
        mean = np.tensordot(weights, faces[same], axes=1) / weights.sum()
        found.append((mean, float(scores[best])))
        left &= ~same
    return found


def _detection(face: np.ndarray, score: float, where: Letterbox) -> Detection:
    scale = np.array([where.scale_x, where.scale_y])
    points = face * scale
    points[[0, 2, 3, 4, 5, 6, 7]] -= np.array([where.offset_x, where.offset_y])
    (cx, cy), (width, height) = points[0].tolist(), points[1].tolist()
    keypoints = Keypoints(*(Point(x, y) for x, y in points[2:].tolist()))
    return Detection(Box(cx - width / 2, cy - height / 2, width, height), keypoints, score)


def _logit(share: float) -> float:
    share = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))
