"""What the tests of edge share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from realbroker import Cable, Ear, Mosquitto, program
from requester import Requester, begun
from service import Device, Manager

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells what a test measured; all of it is printed at the end of the run."""
    stash = request.config.stash
    return lambda text: stash.setdefault(_FIGURES, []).append(f"{request.node.name}: {text}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes brokers; all of them end with the test."""
    binary = program("mosquitto", "mosquitto")
    made: list[Mosquitto] = []

    def make(lines: str = "allow_anonymous true", *, start: bool = True) -> Mosquitto:
        made.append(Mosquitto(binary, tmp_path, lines))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def ears() -> Iterator[Callable[..., Ear]]:
    """Makes subscribers; all of them leave with the test."""
    made: list[Ear] = []

    def make(broker: Mosquitto, topics: str = "mien/#", *, version: int = 5, qos: int = 1) -> Ear:
        made.append(Ear(broker.port, topics, version=version, qos=qos))
        return made[-1]

    yield make
    for ear in made:
        ear.close()


@pytest.fixture
def cables() -> Iterator[Callable[..., Cable]]:
    """Makes cables to brokers, not plugged in yet; all of them are gone with the test."""
    made: list[Cable] = []

    def make(
        broker: Mosquitto, older: bytes | None = None, forbidden: bytes | None = None
    ) -> Cable:
        made.append(Cable(broker.port, older, forbidden))
        return made[-1]

    yield make
    for cable in made:
        cable.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens."""
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def device(tmp_path: Path, manager: Manager) -> Iterator[Device]:
    """A daemon that is not started yet; its process ends with the test."""
    made = Device(tmp_path, manager)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def asking(
    device: Device, brokers: Callable[..., Mosquitto], ears: Callable[..., Ear]
) -> Requester:
    """A daemon with commands enabled, which looks at a face, and who may ask it."""
    return begun(device, brokers(), ears)
