"""The wall clock, kept out of everything but payloads."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from edge import clock


def test_a_monotonic_time_becomes_utc() -> None:
    text = clock.utc(time.monotonic())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - moment) < timedelta(minutes=1)


def test_times_keep_their_distance() -> None:
    now = time.monotonic()
    first, second = (
        datetime.fromisoformat(clock.utc(each).replace("Z", "+00:00")) for each in (now, now + 90)
    )
    assert timedelta(seconds=89) < second - first < timedelta(seconds=91)


def test_the_kernel_says_whether_its_clock_is_set() -> None:
    assert isinstance(clock.synchronised(), bool)
