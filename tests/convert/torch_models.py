"""PyTorch networks as people write them; also copied out as a module of somebody's own."""

from __future__ import annotations

from typing import Any

Anything = Any
"""PyTorch publishes no types that are known here."""

WIDTH, UNITS, LABELS = 12, 9, 7


def frame() -> Anything:
    """A small network as people write them."""
    import torch  # noqa: PLC0415  # without it, the tests that ask for a network are skipped

    torch.manual_seed(0)
    nn = torch.nn
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=8), nn.Hardswish(), nn.Flatten(),
        nn.Linear(256, WIDTH), nn.ReLU(), nn.Dropout(0.5), nn.Linear(WIDTH, LABELS),
        nn.Softmax(dim=1),
    )  # fmt: skip
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def head(kind: str = "GRU", depth: int = 2) -> Anything:
    import torch  # noqa: PLC0415  # without it, the tests that ask for a network are skipped

    torch.manual_seed(1)

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = getattr(torch.nn, kind)
            self.memory = made(WIDTH, UNITS, num_layers=depth, batch_first=True, dropout=0.2)
            self.out = torch.nn.Linear(UNITS, LABELS)

        def forward(self, x: Anything) -> Anything:
            return self.out(self.memory(x)[0][:, -1])

    return Head().eval()
