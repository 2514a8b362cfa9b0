"""Teachers: trained networks whose answers a smaller one learns beside the labels.

Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2; the teachers'
probabilities are averaged, as in section 3 there, and see the very view of a face that the student
sees (Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2022,
section 3.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import torch

from convert.data import normalise
from convert.engine import computing, device
from convert.recipe import Precision
from convert.run import sha256_of, write_whole
from convert.train import load_network
from convert.twin import Twin
from edge.datatypes import Float32Array, UInt8Array

_AT_ONCE = 256


class Teachers:
    """Trained frame models that answer together.

    Parameters
    ----------
    runs
        Their run folders, each with a `frame.keras`.
    temperature
        Their logits are divided by it.
    precision
        What they compute in.
    cache
        A folder in which their answers are kept for students that see the same views.

    Raises
    ------
    RunError
        A network is missing, damaged or of layers PyTorch cannot run here.
    """

    def __init__(
        self, runs: Sequence[Path], temperature: float, precision: Precision, cache: Path
    ) -> None:
        files = [run / "frame.keras" for run in runs]
        self.sha256 = tuple(sha256_of(file) for file in files)
        self._twins = [_executed(load_network(file)) for file in files]
        self._temperature, self._precision, self._cache = temperature, precision, cache

    def answers(self, pixels: UInt8Array) -> Float32Array:
        """Return what they answer to tiles, uint8 [n, size, size]: float32 [n, labels] of sum 1."""
        told = f"{self._temperature:g} {self._precision} {' '.join(self.sha256)} "
        key = hashlib.sha256(told.encode() + hashlib.sha256(pixels.tobytes()).digest())
        file = self._cache / f"answers-{key.hexdigest()[:16]}.npy"
        if file.exists():
            return np.asarray(np.load(file), dtype=np.float32)
        found = np.concatenate(
            [
                self._together(pixels[start : start + _AT_ONCE])
                for start in range(0, len(pixels), _AT_ONCE)
            ]
        )
        write_whole(file, lambda path: np.save(path, found))
        return found

    def _together(self, pixels: UInt8Array) -> Float32Array:
        faces = torch.from_numpy(normalise(pixels)).permute(0, 3, 1, 2).to(device())
        with torch.inference_mode(), computing(self._precision):
            shares = [
                torch.softmax(twin(faces).float() / self._temperature, dim=1)
                for twin in self._twins
            ]
        return np.asarray(torch.stack(shares).mean(0).cpu().numpy(), dtype=np.float32)


def _executed(network: keras.Model) -> Twin:
    twin = Twin(network)
    twin.to(device(), memory_format=torch.channels_last).eval()
    return twin
