"""From a tile to an estimate: the frame model on every frame, the head at fixed ticks.

The head steps `step_hz` times a second, whatever the frame rate, so that what it learnt about time
at one rate holds at another. A tick is due at the first frame at or after its time: the first frame
of a face is always one. Every frame gets an answer: those between two ticks have that of the last.
A look at each of them from the state of the last tick was tried, and told the noise of single
frames on: at 30 frames a second the answer changed three times as often, and was not sooner. Where
frames are slower than ticks, the ticks in between see the embedding that was newest then, and the
newest tick sees the frame. After `reset_after_s` without a picture the face's past is forgotten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import perf_counter

from edge.bundle import StreamManifest
from edge.datatypes import UNSURE, Estimate, Float32Array, UInt8Array
from edge.networks import Embedding, State, StreamNetworks, softmax

_ROUNDING = 1e-6
"""Seconds by which a frame may miss a tick that it was meant to meet."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What is remembered of one face between frames.

    Attributes
    ----------
    origin_s : float
        When its first tick was.
    ticks : int
        How many there were since.
    state : State
        The head's, after the last of them.
    logits : float32 array, [labels]
        The head's answer to the last of them, which stands until the next.
    newest : Embedding
        What the frame model said of its newest look.
    seen_s : float
        When that was.
    """

    origin_s: float
    ticks: int
    state: State
    logits: Float32Array
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
            The head's logits for this frame: those of the newest tick.
        Memory
            To be given to the next call.
        """
        if memory is None or time_s - memory.seen_s > self._reset_after_s:
            logits, state = self._networks.step(embedding, self._networks.initial_state())
            return logits, Memory(time_s, 1, state, logits, embedding, time_s)
        due = math.floor((time_s - memory.origin_s + _ROUNDING) / self._step_s) + 1
        if due <= memory.ticks:
            return memory.logits, replace(memory, newest=embedding, seen_s=time_s)
        state = memory.state
        for _ in range(due - memory.ticks - 1):
            _, state = self._networks.step(memory.newest, state)
        logits, state = self._networks.step(embedding, state)
        return logits, Memory(memory.origin_s, due, state, logits, embedding, time_s)

    def estimate(self, logits: Float32Array) -> Estimate:
        """Turn logits, [labels], into calibrated probabilities and an answer."""
        probabilities = tuple(softmax(logits, self._temperature).tolist())
        confidence = max(probabilities)
        best = self._labels[probabilities.index(confidence)]
        emotion = best if confidence >= self._abstain_below else UNSURE
        return Estimate(self._labels, probabilities, emotion, confidence)
