"""PyTorch networks that learn the drawn faces of `learnable`; also a module of somebody's own."""

from __future__ import annotations

from typing import Any

import torch

nn = torch.nn
Anything = Any
"""PyTorch publishes no types that are known here."""

WIDTH, UNITS, LABELS = 16, 12, 7


def features(channels: int = 1) -> Anything:
    """From pictures of 24x24 to embeddings, [n, WIDTH]."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(432, WIDTH), nn.ReLU(),
    )  # fmt: skip


def frame(channels: int = 1) -> Anything:
    torch.manual_seed(0)
    return nn.Sequential(*features(channels), nn.Dropout(0.1), nn.Linear(WIDTH, LABELS))


class Behind(nn.Module):  # type: ignore[misc]  # torch publishes no types
    """Embeddings, [n, time, WIDTH], to one answer; to one a step while it is trained."""

    def __init__(self, kind: str, depth: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory = getattr(nn, kind)(WIDTH, UNITS, num_layers=depth, batch_first=True)
        self.out = nn.Linear(UNITS, LABELS)

    def forward(self, x: Anything) -> Anything:
        steps = self.memory(x)[0]
        return self.out(steps if self.training else steps[:, -1])


class OverTime(nn.Module):  # type: ignore[misc]  # see Behind
    """Pictures, [n, time, 1, 24, 24], to one answer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.features = features()
        self.behind = Behind(kind)

    def forward(self, x: Anything) -> Anything:
        n, time = x.shape[:2]
        seen = self.features(x.reshape(n * time, 1, 24, 24))
        return self.behind(seen.reshape(n, time, WIDTH))


def with_lstm() -> Anything:
    return OverTime("LSTM")


class Cell(nn.Module):  # type: ignore[misc]  # see Behind
    """A picture and a state: one step of everything."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory, self.out = nn.GRUCell(WIDTH, UNITS), nn.Linear(UNITS, LABELS)

    def forward(self, seen: Anything, state: Anything) -> Anything:
        new = self.memory(seen, state)
        return self.out(new), new


class Unrolled(nn.Module):  # type: ignore[misc]  # see Behind
    """A cell over a sequence, so that it can be trained."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Anything) -> Anything:
        state, answers = torch.zeros(len(x), UNITS), []
        for step in x.unbind(1):
            answer, state = self.cell(step, state)
            answers.append(answer)
        return torch.stack(answers, 1)


def taught(network: Anything, seen: Anything, wanted: Anything, *, epochs: int = 6) -> Anything:
    """Train for a moment; `wanted` are labels, [n], or shares of each, [n, time, LABELS]."""
    x, y = torch.from_numpy(seen), torch.from_numpy(wanted)
    optimiser = torch.optim.Adam(network.train().parameters(), 5e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for some in torch.randperm(len(x), generator=order).split(16):
            answer, truth = network(x[some]), y[some]
            loss = nn.functional.cross_entropy(
                answer.flatten(0, -2), truth.flatten(0, -2) if truth.ndim > 1 else truth
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()
