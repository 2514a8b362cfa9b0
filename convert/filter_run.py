"""Filters and the head, run over the same looks at the same streams.

The frame model looks at each frame once, by the device's own int8 code; everything that smooths
is then given the same looks. The head steps as on the device, for it is `edge.emotion` that steps
it. All of them answer with the likeliest label (the device's `unsure` would hide changes of
answer), let an answer stand while the detector misses the face, and forget the face after the
same gap.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from convert import metrics, streams
from convert.data import Labels, Tiles
from convert.filter_measures import NO_ANSWER
from convert.filters import Filter, Float64Array, HiddenMarkov, fit_rates, normalised
from convert.streams import Stream, StreamSettings
from edge.datatypes import Float32Array
from edge.emotion import EmotionModel, Memory
from edge.networks import Embedding, StreamNetworks

Remembered = TypeVar("Remembered")

PACES_HZ = (12.0, 6.0, 3.0)
"""How many looks a second a hidden Markov model may take for independent."""
_DISCOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A stream as the frame model saw it.

    Attributes
    ----------
    stream : Stream
        Its pixels are no longer needed, and empty.
    looks : int64 array, [looks]
        The frames in which a face was seen.
    logits : float32 array, [looks, labels]
        The frame model's own.
    embeddings : tuple of Embedding, [looks]
        For the head; empty where none is to be run.
    """

    stream: Stream
    looks: npt.NDArray[np.int64]
    logits: Float32Array
    embeddings: tuple[Embedding, ...] = ()

    @property
    def times(self) -> Float64Array:
        """The seconds of the looks, float64 [looks]."""
        return self.stream.times[self.looks]

    def without(self, dropped: npt.NDArray[np.bool_]) -> Seen:
        """Return the same without some frames, bool [frames], as if the camera had lost them."""
        left, looked = np.flatnonzero(~dropped), np.flatnonzero(~dropped[self.looks])
        old, empty = self.stream, self.stream.pixels
        stream = Stream(
            times=old.times[left], pixels=empty, present=old.present[left],
            targets=old.targets[left], stretch=old.stretch[left], fps=old.fps,
        )  # fmt: skip
        return replace(
            self,
            stream=stream,
            looks=np.searchsorted(left, self.looks[looked]),
            logits=self.logits[looked],
            embeddings=tuple(self.embeddings[index] for index in looked) if self.embeddings else (),
        )


def see(networks: StreamNetworks, composed: Iterable[Stream], total: int, what: str) -> list[Seen]:
    """Show the frame model every frame of streams in which a face is found.

    One in which none ever is found is left out. `total` and `what` are for the progress bar.
    """
    found = []
    for stream in tqdm(composed, what, total, file=sys.stderr, delay=2):
        looks = np.flatnonzero(stream.present)
        if not len(looks):
            continue
        embeddings = tuple(networks.embed(tile) for tile in stream.pixels[looks])
        logits = np.stack([each.logits for each in embeddings])
        bare = replace(stream, pixels=stream.pixels[:0])
        found.append(Seen(bare, looks, logits, embeddings))
    return found


def shown(
    networks: StreamNetworks,
    tiles: Tiles,
    settings: StreamSettings,
    labels: int,
    *,
    fps: float,
    count: int,
    seed: Sequence[int],
) -> list[Seen]:
    """Compose streams of some stills at a frame rate, and let the frame model see them."""
    drawn = (np.random.default_rng([*seed, index]) for index in range(count))
    composed = (streams.compose(tiles, settings, random, labels, fps=fps) for random in drawn)
    return see(networks, composed, count, f"{fps:g} fps")


def thinned(seen: Sequence[Seen], share: float, seed: Sequence[int]) -> list[Seen]:
    """Return streams without the frames that a camera loses, which are drawn."""
    return [
        each.without(lost(each, share, np.random.default_rng([*seed, index])))
        for index, each in enumerate(seen)
    ]


def lost(seen: Seen, share: float, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw which frames the camera loses, [frames], but never the first that shows a face."""
    found = random.random(len(seen.stream.times)) < share
    found[seen.looks[0]] = False
    return found


def headed(model: EmotionModel, seen: Sequence[Seen]) -> list[Labels]:
    """Return the head's answers to each stream's frames, [frames], by the device's own rule."""
    answers = []
    for each in seen:
        memory: Memory | None = None
        given = []
        for embedding, time_s in zip(each.embeddings, each.times.tolist(), strict=True):
            logits, memory = model.advance(embedding, memory, time_s)
            given.append(int(logits.argmax()))
        answers.append(held(each, np.array(given, np.int64)))
    return answers


def filtered(
    smoothing: Filter[Remembered], seen: Sequence[Seen], temperature: float, reset_after_s: float
) -> list[Labels]:
    """Return a filter's answers to each stream's frames, [frames].

    Parameters
    ----------
    smoothing
        The filter.
    seen
        The streams.
    temperature
        By which the frame model's logits are calibrated.
    reset_after_s
        A face that was not seen for longer is a new one, as on the device.
    """
    return [
        held(each, np.asarray(shares.argmax(axis=1), dtype=np.int64))
        for each, shares in zip(
            seen, probabilities(smoothing, seen, temperature, reset_after_s), strict=True
        )
    ]


def probabilities(
    smoothing: Filter[Remembered], seen: Sequence[Seen], temperature: float, reset_after_s: float
) -> list[Float64Array]:
    """Return a filter's probabilities for each stream's looks, float64 [looks, labels]."""
    most, labels = max(len(each.looks) for each in seen), seen[0].logits.shape[1]
    # All streams go together; what shorter ones are filled up with is thrown away.
    logits = np.zeros((most, len(seen), labels))
    elapsed = np.ones((most, len(seen)))
    for index, each in enumerate(seen):
        count = len(each.looks)
        logits[:count, index] = each.logits / temperature
        gaps = np.diff(each.times, prepend=-math.inf)
        elapsed[:count, index] = np.where(gaps > reset_after_s, math.inf, gaps)
    memory = smoothing.start(len(seen), labels)
    shares = np.empty_like(logits)
    for look in range(most):
        memory, shares[look] = smoothing.step(memory, logits[look], elapsed[look])
    return [shares[: len(each.looks), index] for index, each in enumerate(seen)]


def held(seen: Seen, given: Labels) -> Labels:
    """Return answers to looks, [looks], as answers to frames, [frames]: each stands till the next.

    Before the first look there is none.
    """
    newest = np.searchsorted(seen.looks, np.arange(len(seen.stream.times)), side="right") - 1
    return np.where(newest < 0, NO_ANSWER, given[newest])


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What was fitted for the filters.

    Attributes
    ----------
    temperature : float
        See `convert.metrics.fit_temperature`.
    prior : float64 array, [labels]
        The mean of the calibrated probabilities: the share of each label, but never none.
    discount : float
        The power of the prior by which the hidden Markov model divides; 1 in the textbook, 0 for
        not at all. A frame model that is not quite calibrated for rare labels wants less than 1.
    rates : float64 array, [labels, labels]
        See `convert.filters.fit_rates`.
    """

    temperature: float
    prior: Float64Array
    discount: float
    rates: Float64Array

    def hidden(self, stickiness: float, looks_hz: float) -> HiddenMarkov:
        """Return a hidden Markov model that knows all of it."""
        return HiddenMarkov(self.rates, self.prior**self.discount, stickiness, looks_hz)


def fit(seen: Sequence[Seen], reset_after_s: float) -> Fitted:
    """Fit what the filters need to know, on streams other than those they are measured on.

    The temperature is that under which single looks are likeliest, the discount that under which
    the hidden Markov model is right most often, at the pace that suits it best.
    """
    truth = [np.asarray(each.stream.targets.argmax(axis=1)) for each in seen]
    alone = [each.stream.stretch[each.looks] >= 0 for each in seen]
    right = np.concatenate([t[s.looks][a] for t, s, a in zip(truth, seen, alone, strict=True)])
    logits = np.concatenate([each.logits[some] for each, some in zip(seen, alone, strict=True)])
    temperature = metrics.fit_temperature(logits, right)
    prior = normalised(logits.astype(np.float64) / temperature).mean(axis=0)
    rates = fit_rates([each.stream.times for each in seen], truth, logits.shape[1])

    def rightly(fitted: Fitted) -> float:
        found = []
        for looks_hz in (math.inf, *PACES_HZ):
            model = fitted.hidden(1.0, looks_hz)
            shares = probabilities(model, seen, temperature, reset_after_s)
            chosen = np.concatenate([s[some] for s, some in zip(shares, alone, strict=True)])
            found.append((chosen.argmax(axis=1) == right).mean())
        return float(max(found))

    return max((Fitted(temperature, prior, each, rates) for each in _DISCOUNTS), key=rightly)
