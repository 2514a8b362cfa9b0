"""Minutes of faults leave a device as it was; one that leaks is found out. The hour: soak.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from lobby import TESTS
from soak import soak
from soak_report import Report

MINUTES = 6
"""One to warm up, and the five that show a slope."""

LEAKING = (str(TESTS / "tools" / "leaking.py"),)

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Report]:
    """Of a device as it is, and of one that leaks; both in the same minutes."""
    with ThreadPoolExecutor(2) as pool:
        sound = pool.submit(soak, MINUTES, tmp_path_factory.mktemp("sound"))
        leaking = pool.submit(soak, MINUTES, tmp_path_factory.mktemp("leaking"), LEAKING)
        return sound.result(), leaking.result()


def text(report: Report) -> str:
    return "\n".join(finding.text for finding in report.findings)


def test_after_minutes_of_faults_nothing_has_grown_and_no_event_is_missing(
    reports: tuple[Report, Report],
) -> None:
    report, _ = reports
    print(text(report))  # noqa: T201  # for docs/reliability.md
    assert not [finding.text for finding in report.findings if not finding.passed]


def test_a_device_that_keeps_a_tile_a_frame_is_found_out(reports: tuple[Report, Report]) -> None:
    _, report = reports
    failed = [finding.text for finding in report.findings if not finding.passed]
    print(text(report))  # noqa: T201
    assert any(each.startswith("rss_mb") for each in failed)
