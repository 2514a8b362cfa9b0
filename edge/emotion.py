"""From a tile to an estimate: the frame model on every frame, the head at fixed ticks.

The head's state advances `step_hz` times a second, whatever the frame rate, so that what it
learnt about time at one rate holds at another. Every frame still gets an answer: the head looks
at the newest embedding from the state of the last tick, without keeping what comes out. Where
frames are slower than ticks, the ticks in between see the embedding that was newest then. After
`reset_after_s` without a picture the face's past is forgotten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

from edge.bundle import StreamManifest
from edge.datatypes import UNSURE, Estimate, Float32Array, UInt8Array
from edge.networks import Embedding, State, StreamNetworks, softmax

_ROUNDING = 1e-6
"""Seconds by which a frame may miss a tick that it was meant to meet."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What is remembered of one face between frames; `ticks` have passed since `origin_s`."""

    origin_s: float
    ticks: int
    state: State
    newest: Embedding
    seen_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The result of one look at one face, with what it cost in seconds."""

    estimate: Estimate
    memory: Memory
    frame_s: float
    head_s: float


class EmotionModel:
    """Estimates the expression of any number of faces, one look at a time."""

    def __init__(self, networks: StreamNetworks, manifest: StreamManifest) -> None:
        self._networks = networks
        self._labels = manifest.labels
        self._step_s = 1.0 / manifest.step_hz
        self._reset_after_s = manifest.reset_after_s
        self._temperature = manifest.calibration.temperature
        self._abstain_below = manifest.calibration.abstain_below

    def look(self, tile: UInt8Array, memory: Memory | None, time_s: float) -> Look:
        """Look at a face once.

        Parameters
        ----------
        tile
            uint8, [size, size], from `edge.crop`.
        memory
            From this face's last look; None for the first.
        time_s
            The frame's time.
        """
        begun = perf_counter()
        embedding = self._networks.embed(tile)
        framed = perf_counter()
        logits, memory = self.advance(embedding, memory, time_s)
        estimate = self.estimate(logits)
        return Look(estimate, memory, framed - begun, perf_counter() - framed)

    def advance(
        self, embedding: Embedding, memory: Memory | None, time_s: float
    ) -> tuple[Float32Array, Memory]:
        """Take in what the frame model said of a face at `time_s`.

        Parameters
        ----------
        embedding
            From `StreamNetworks.embed`.
        memory, time_s
            As `look` takes them.

        Returns
        -------
        float32 array, [labels]
            The head's logits for this frame.
        Memory
            To be given to the next call.
        """
        if memory is None or time_s - memory.seen_s > self._reset_after_s:
            memory = Memory(time_s, 0, self._networks.initial_state(), embedding, time_s)
        due = math.floor((time_s - memory.origin_s + _ROUNDING) / self._step_s) + 1
        state = memory.state
        for _ in range(due - memory.ticks - 1):
            _, state = self._networks.step(memory.newest, state)
        logits, after = self._networks.step(embedding, state)
        if due > memory.ticks:
            state = after
        return logits, Memory(memory.origin_s, due, state, embedding, time_s)

    def estimate(self, logits: Float32Array) -> Estimate:
        """Turn logits, [labels], into calibrated probabilities and an answer."""
        probabilities = tuple(softmax(logits, self._temperature).tolist())
        confidence = max(probabilities)
        best = self._labels[probabilities.index(confidence)]
        emotion = best if confidence >= self._abstain_below else UNSURE
        return Estimate(self._labels, probabilities, emotion, confidence)
