"""What the tests of cards share."""

from __future__ import annotations

from pathlib import Path

import pytest
from smallcards import Device, Workshop, workshop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return workshop(tmp_path / "shop", monkeypatch)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device.new(tmp_path / "device")
