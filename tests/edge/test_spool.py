"""The spool keeps its promise through kills, power cuts and bad disks, and says when it cannot."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realbroker import eventually, figure
from test_outbox import event

from edge import spool, spoolage, spoolfile, spoolsync
from edge.outbox import MemoryOutbox, Outbox
from edge.settings import Mqtt, Settings
from edge.settings import Spool as SpoolSettings
from edge.spool import Spool
from edge.spoolfile import NAME, Row

HARNESS = Path(__file__).parents[1] / "tools" / "killed_spool.py"
ROOT = Path(__file__).parents[2]
WEEK_S = 7 * 86400.0


def opened(folder: Path, *, mb: float = 8, age_s: float = WEEK_S, memory: int = 500) -> Spool:
    return Spool(folder, most_bytes=int(mb * 1e6), most_age_s=age_s, memory=memory, window=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a disk that failed again at once."""
    monkeypatch.setattr(spool, "RETRY_S", 0.05)


def append(outbox: Outbox, *seqs: int) -> None:
    for seq in seqs:
        outbox.append(event(seq))


def taken(outbox: Outbox) -> list[int]:
    """Take and acknowledge everything, as a broker that is well does."""
    found: list[int] = []

    def all_of_it() -> bool:
        for held in outbox.take(50):
            found.append(held.event.seq)
            outbox.acknowledge(held.number)
        return outbox.depth == 0

    eventually(all_of_it, "the empty spool")
    return found


def codes(outbox: Outbox) -> list[str]:
    return [trouble.code for trouble in outbox.troubles]


def test_what_was_not_acknowledged_is_there_after_a_restart_in_order(folder: Path) -> None:
    with closing(opened(folder)) as first:
        append(first, 1, 2, 3, 4)
        held = first.take(2)
        first.acknowledge(held[0].number)
        assert (first.depth, first.unsaved, first.last) == (3, 0, 4)
    with closing(opened(folder)) as second:
        append(second, 5)
        assert (second.depth, second.last) == (4, 1)
        held = second.take(9)
        assert [each.event.seq for each in held] == [2, 3, 4, 5]
        # What an earlier process left is not newer than any connection: it is marked replayed.
        assert [each.number <= 0 for each in held] == [True, True, True, False]
        assert second.take(9) == []
        second.release()
        assert [each.event.seq for each in second.take(1)] == [2]


def test_only_an_acknowledgement_removes(folder: Path) -> None:
    for _ in range(3):
        with closing(opened(folder)) as outbox:
            if not outbox.depth:
                append(outbox, 1)
            (held,) = outbox.take(5)
            assert held.event == event(1)
    with closing(opened(folder)) as outbox:
        assert taken(outbox) == [1]
    with closing(opened(folder)) as outbox:
        assert outbox.depth == 0


def test_more_than_memory_holds_waits_on_disk_alone(folder: Path) -> None:
    many = list(range(1, 301))
    with closing(opened(folder, memory=5)) as outbox:
        append(outbox, *many)
        assert (outbox.depth, outbox.dropped) == (300, 0)
        assert taken(outbox) == many


Step = tuple[Literal["append", "take", "acknowledge", "release", "restart"], int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "take", "acknowledge", "release", "restart"]),
        st.integers(0, 30),
    ),
    max_size=30,
)


@settings(max_examples=30)
@given(steps)
def test_nothing_is_lost_or_out_of_order_however_it_is_used(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        outbox = opened(Path(name))
        kept: list[int] = []
        flying: list[tuple[int, int]] = []
        seq = 0
        for step, choice in steps:
            if step == "append":
                append(outbox, *range(seq + 1, seq + choice + 1))
                kept += range(seq + 1, seq + choice + 1)
                seq += choice
            elif step == "take":
                held = outbox.take(choice)
                waiting = [each for each in kept if each not in dict(flying)]
                assert [each.event.seq for each in held] == waiting[: len(held)]
                flying += [(each.event.seq, each.number) for each in held]
            elif step == "acknowledge" and flying:
                arrived, number = flying.pop(choice % len(flying))
                outbox.acknowledge(number)
                kept.remove(arrived)
            elif step == "release":
                outbox.release()
                flying = []
            elif step == "restart":
                outbox.close()
                outbox, flying = opened(Path(name)), []
            assert (outbox.depth, outbox.dropped) == (len(kept), 0)
        outbox.release()
        assert taken(outbox) == kept
        outbox.close()


@pytest.mark.parametrize("rounds", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_loses_nothing_that_append_returned_from(
    folder: Path, rounds: int
) -> None:
    done = subprocess.run(
        [sys.executable, str(HARNESS), str(folder), str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    figure(f"{told}")
    assert told["rounds"] == rounds
    assert told["appended"] > 20 * rounds
    assert (told["lost"], told["out_of_order"], told["invented"]) == (0, 0, 0)


def test_the_disk_is_synchronised_at_once_and_then_at_most_every_second(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    synchronise = os.fdatasync

    def timed(descriptor: int) -> None:
        times.append(time.monotonic())
        synchronise(descriptor)

    monkeypatch.setattr(os, "fdatasync", timed)
    with closing(opened(folder)) as outbox:
        begun = time.monotonic()
        seq = 0
        while time.monotonic() < begun + 1.7:
            append(outbox, seq := seq + 1)
            time.sleep(0.001)
        assert times[0] - begun < 0.5
        assert 2 <= len(times) <= 3
        assert all(later - sooner > 0.95 for sooner, later in zip(times, times[1:], strict=False))


def test_a_power_cut_loses_what_was_not_synchronised_yet(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder / f"{NAME}-wal"
    synchronised: list[tuple[float, int]] = []
    synchronise = os.fdatasync

    def noted(descriptor: int) -> None:
        begun, size = time.monotonic(), log.stat().st_size
        synchronise(descriptor)
        synchronised.append((begun, size))

    monkeypatch.setattr(os, "fdatasync", noted)
    with closing(opened(folder)) as outbox:
        append(outbox, *range(1, 51))
        appended = time.monotonic()
        eventually(lambda: bool(synchronised) and synchronised[-1][0] >= appended, "a sync")
        assert synchronised[-1][0] - appended < spoolsync.SYNC_S + 0.5
        append(outbox, *range(51, 80))
        # What the disk is sure to have: the database, and the log as it was then.
        cut = tmp_path / "cut"
        cut.mkdir()
        shutil.copy(folder / NAME, cut)
        (cut / log.name).write_bytes(log.read_bytes()[: synchronised[-1][1]])
        monkeypatch.setattr(os, "fdatasync", synchronise)
    with closing(opened(cut)) as outbox:
        assert taken(outbox)[:50] == list(range(1, 51))
        assert codes(outbox) == []


def test_too_many_bytes_drop_the_oldest_and_count_them(folder: Path) -> None:
    many = list(range(1, 3001))
    with closing(opened(folder, mb=0.5)) as outbox:
        append(outbox, *many)
        outbox.close()
        assert outbox.dropped > 1000
        assert outbox.depth + outbox.dropped == 3000
    assert (folder / NAME).stat().st_size < 0.6e6
    with closing(opened(folder, mb=0.5)) as again:
        assert taken(again) == many[outbox.dropped :]


def test_an_event_that_is_too_old_is_dropped_and_counted(folder: Path) -> None:
    with closing(opened(folder)) as outbox:
        append(outbox, 1, 2, 3)
    time.sleep(0.3)
    with closing(opened(folder, age_s=0.2)) as outbox:
        eventually(lambda: outbox.depth == 0)
        assert outbox.dropped == 3


SYNCED = replace(event(1), ts="2026-01-02T03:04:05.000Z", clock_synced=True)
HERE, ELSEWHERE = b"h" * 16, b"e" * 16


@pytest.mark.parametrize(
    ("wall", "row_boot", "synced_then", "synced_now", "age_s"),
    [
        pytest.param(+86400, HERE, True, True, 50, id="the clock leapt a day ahead"),
        pytest.param(-86400, HERE, True, True, 50, id="the clock leapt a day back"),
        pytest.param(+3600, ELSEWHERE, True, True, 3600, id="before a reboot"),
        pytest.param(+3600, ELSEWHERE, False, True, 100, id="the clock was wrong then"),
        pytest.param(+3600, ELSEWHERE, True, False, 100, id="the clock is wrong now"),
        pytest.param(-3600, ELSEWHERE, True, True, 100, id="from the future"),
    ],
)
def test_an_events_age_does_not_believe_a_clock_that_leaps(
    *,
    wall: float,
    row_boot: bytes,
    synced_then: bool,
    synced_now: bool,
    age_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    then = 1767323045.0  # SYNCED.ts
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "time", lambda: then + wall)
    monkeypatch.setattr("edge.clock.synchronised", lambda: synced_now)
    row = Row(1, row_boot, appended_s=50.0, event=b"")
    told = replace(SYNCED, clock_synced=synced_then)
    assert spoolage.age_s(row, told, HERE) == age_s


def test_a_kernel_that_does_not_name_its_boot_has_a_new_one_each_time(tmp_path: Path) -> None:
    assert spoolage.boot(tmp_path / "none") != spoolage.boot(tmp_path / "none")
    assert spoolage.boot() == spoolage.boot()


@pytest.mark.usefixtures("soon")
def test_a_second_process_is_told_who_has_the_spool_and_takes_over(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(opened(folder)) as first, closing(opened(folder)) as second:
        append(first, 1)
        append(second, 11)
        assert codes(first) == []
        (trouble,) = second.troubles
        assert trouble.code == "spool-in-use"
        assert f"process {os.getpid()} has this spool; stop it, or" in trouble.text
        assert (second.depth, second.unsaved) == (1, 1)
        first.close()
        eventually(lambda: not second.troubles, "the claim")
        eventually(lambda: second.unsaved == 0)
        assert taken(second) == [1, 11]
    assert sum(f"process {os.getpid()} has" in line for line in caplog.messages) == 1


@pytest.mark.usefixtures("soon")
def test_a_folder_that_cannot_be_made_leaves_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    with closing(opened(tmp_path / "state" / "spool", memory=3)) as outbox:
        append(outbox, 1, 2, 3, 4)
        assert codes(outbox) == ["spool-failing"]
        assert (outbox.depth, outbox.dropped, outbox.unsaved) == (3, 1, 3)
        assert sum("events wait in memory" in line for line in caplog.messages) == 1
        (tmp_path / "state").unlink()
        eventually(lambda: not outbox.troubles, "the folder")
        eventually(lambda: outbox.unsaved == 0)
    with closing(opened(tmp_path / "state" / "spool")) as outbox:
        assert taken(outbox) == [2, 3, 4]


Mounter = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def mounted(tmp_path: Path) -> Mounter:
    """Mounts small file systems in memory, which only root may."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")

    @contextmanager
    def mount(options: str) -> Iterator[Path]:
        place = tmp_path / "mounted"
        place.mkdir()
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode:
            pytest.skip(f"a file system cannot be mounted here: {tried.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)

    return mount


@pytest.mark.usefixtures("soon")
def test_a_full_disk_leaves_memory_until_there_is_room(
    mounted: Mounter, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted("size=3m") as place:
        (place / "others").write_bytes(bytes(2_000_000))
        with closing(opened(place / "spool", memory=5000)) as outbox:
            seq = 0
            while not outbox.troubles:
                append(outbox, seq := seq + 1)
                assert seq < 5000
            append(outbox, *range(seq + 1, seq + 101))
            assert codes(outbox) == ["spool-full"]
            assert outbox.depth == seq + 100
            assert outbox.unsaved >= 100
            # What is on the full disk can still be sent.
            assert [held.event.seq for held in outbox.take(100)] == list(range(1, 21))
            outbox.release()
            (place / "others").unlink()
            eventually(lambda: not outbox.troubles and outbox.unsaved == 0, "room")
            assert taken(outbox) == list(range(1, seq + 101))
            assert outbox.dropped == 0
    assert sum("no space is left" in line for line in caplog.messages) == 1


@pytest.mark.usefixtures("soon")
def test_a_full_disk_that_the_broker_drains_loses_nothing(mounted: Mounter) -> None:
    with mounted("size=1m") as place, closing(opened(place / "spool", memory=5000)) as outbox:
        append(outbox, *range(1, 3001))
        assert codes(outbox) == ["spool-full"]
        assert taken(outbox) == list(range(1, 3001))
        assert outbox.dropped == 0


@pytest.mark.usefixtures("soon")
def test_a_disk_that_becomes_read_only_leaves_memory(mounted: Mounter) -> None:
    with mounted("size=8m") as place, closing(opened(place / "spool")) as outbox:
        append(outbox, 1, 2)
        outbox.close()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with closing(opened(place / "spool")) as again:
            append(again, 3)
            assert codes(again) == ["spool-read-only"]
            assert again.unsaved == 1
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
            eventually(lambda: not again.troubles, "the disk")
            assert taken(again) == [1, 2, 3]


def test_a_read_only_root_with_a_tmpfs_keeps_its_promise(mounted: Mounter) -> None:
    with mounted("size=8m") as place:
        with closing(opened(place / "run" / "mien")) as outbox:
            append(outbox, 1, 2)
            assert (codes(outbox), outbox.unsaved) == ([], 0)
        with closing(opened(place / "run" / "mien")) as outbox:
            assert taken(outbox) == [1, 2]


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_spool import append, codes, opened, taken
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
outbox = opened(Path(sys.argv[1]), memory=5000)
append(outbox, *range(1, 2001))
print(codes(outbox), outbox.depth, outbox.dropped)
"""


def test_a_file_that_may_not_grow_is_as_a_full_disk(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout == "['spool-failing'] 2000 0\n", done.stderr


def filled(folder: Path, count: int = 400) -> None:
    with closing(opened(folder)) as outbox:
        append(outbox, *range(1, count + 1))


def of_another_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 999")


def of_another_program(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")


def overwritten(file: Path) -> None:
    with file.open("r+b") as stream:
        for place in range(5000, file.stat().st_size, 4096):
            stream.seek(place)
            stream.write(os.urandom(2000))


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def no_database(file: Path) -> None:
    file.write_bytes(os.urandom(50_000))


DAMAGES = [of_another_version, of_another_program, overwritten, truncated, no_database]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    folder: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    filled(folder)
    damage(folder / NAME)
    damaged = (folder / NAME).read_bytes()
    with closing(opened(folder)) as outbox:
        (trouble,) = outbox.troubles
        assert trouble.code == "spool-damaged"
        assert "set aside as damaged-1.db" in trouble.text
        assert "damaged-1.db" in caplog.text
        append(outbox, 1001, 1002)
        assert outbox.unsaved == 0
    assert (folder / "damaged-1.db").read_bytes() == damaged
    with closing(opened(folder)) as outbox:
        assert codes(outbox) == []
        assert taken(outbox) == [1001, 1002]


def test_of_many_damaged_files_the_newest_three_are_kept(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        filled(folder, 3)
        no_database(folder / NAME)
    opened(folder).close()
    assert sorted(file.name for file in folder.glob("damaged-*")) == [
        f"damaged-{number}.db" for number in (3, 4, 5)
    ]
    assert sum("deleted; newer damaged spools are kept" in line for line in caplog.messages) == 2


def test_a_file_damaged_in_use_loses_only_what_was_in_it_alone_and_counts_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(folder, 100)
    with closing(opened(folder)) as outbox:
        with closing(sqlite3.connect(folder / NAME)) as other:
            other.execute("DROP TABLE events")
        append(outbox, 101)
        eventually(lambda: codes(outbox) == ["spool-damaged"])
        found = taken(outbox)
        # The window was in memory too.
        assert found == [*range(1, 21), 101]
        assert outbox.dropped == 80
    assert "80 events were in it alone" in caplog.text


def test_a_row_that_is_no_event_is_dropped_and_counted(folder: Path) -> None:
    filled(folder, 5)
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as other:
        other.execute("UPDATE events SET event = x'00ff' WHERE number = 3")
    with closing(opened(folder)) as outbox:
        assert taken(outbox) == [1, 2, 4, 5]
        assert outbox.dropped == 1


def test_a_disk_that_hangs_costs_the_pipeline_one_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "SLOW_S", 0.5)
    going = threading.Event()
    going.set()
    exchange = spoolfile.SpoolFile.exchange

    def hanging(*args: object) -> list[int]:
        going.wait()
        return exchange(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(spoolfile.SpoolFile, "exchange", hanging)
    with closing(opened(folder, memory=50)) as outbox:
        append(outbox, 1, 2)
        going.clear()
        begun = time.monotonic()
        append(outbox, 3)
        first = time.monotonic() - begun
        append(outbox, *range(4, 44))
        rest = time.monotonic() - begun - first
        assert spool.PATIENCE_S <= first < spool.PATIENCE_S + 0.2
        assert rest < 0.05
        time.sleep(0.6)
        append(outbox, *range(44, 64))
        (trouble,) = outbox.troubles
        assert trouble.code == "spool-slow"
        assert "has not caught up" in caplog.text
        assert (outbox.unsaved, outbox.dropped) == (50, 11)
        # Those in memory can be sent meanwhile, oldest first.
        assert [held.event.seq for held in outbox.take(4)] == [1, 2, 14, 15]
        outbox.release()
        going.set()
        eventually(lambda: not outbox.troubles and outbox.unsaved == 0, "the disk")
        assert taken(outbox) == [1, 2, *range(14, 64)]


def test_closing_does_not_wait_for_a_disk_that_hangs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "CLOSE_S", 0.2)
    going = threading.Event()
    exchange = spoolfile.SpoolFile.exchange

    def hanging(*args: object) -> list[int]:
        going.wait()
        return exchange(*args)  # type: ignore[arg-type]

    outbox = opened(folder)
    monkeypatch.setattr(spoolfile.SpoolFile, "exchange", hanging)
    append(outbox, 1)
    begun = time.monotonic()
    outbox.close()
    assert time.monotonic() - begun < 1.0
    assert (outbox.depth, outbox.unsaved) == (1, 1)
    going.set()
    outbox.close()
    append(outbox, 2)
    assert outbox.take(5) == []


@pytest.mark.usefixtures("soon")
def test_a_synchronisation_that_fails_is_a_trouble_of_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronise = os.fdatasync

    def failing(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with closing(opened(folder)) as outbox:
        monkeypatch.setattr(os, "fdatasync", failing)
        monkeypatch.setattr(spool, "RETRY_S", 60.0)
        append(outbox, 1)
        eventually(lambda: codes(outbox) == ["spool-failing"])
        append(outbox, 2)
        assert outbox.depth == 2
        monkeypatch.setattr(os, "fdatasync", synchronise)
        assert taken(outbox) == [1, 2]


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_thousand_events_a_second_are_all_kept(folder: Path, seconds: int) -> None:
    with closing(opened(folder, mb=64, memory=1000)) as outbox:
        begun = time.monotonic()
        for seq in range(1, seconds * 1000 + 1):
            append(outbox, seq)
            time.sleep(max(begun + seq / 1000 - time.monotonic(), 0.0))
        took = time.monotonic() - begun
        assert took < seconds + 1.0
        assert (outbox.depth, outbox.dropped) == (seconds * 1000, 0)
        eventually(lambda: outbox.unsaved == 0)
    with closing(opened(folder, mb=64)) as outbox:
        assert outbox.depth == seconds * 1000
        assert [held.event.seq for held in outbox.take(5)] == [1, 2, 3, 4, 5]


def test_the_settings_say_where_events_wait(tmp_path: Path) -> None:
    under_systemd = {"STATE_DIRECTORY": f"{tmp_path}/a:{tmp_path}/b"}

    def kind(environ: dict[str, str], **table: object) -> type:
        wanted = msgspec.convert({"spool": table}, Settings)
        outbox = spool.outbox(wanted, environ)
        outbox.close()
        return type(outbox)

    assert kind({}) is MemoryOutbox
    assert kind(under_systemd, enabled=False) is MemoryOutbox
    assert not list(tmp_path.iterdir())
    assert kind(under_systemd) is Spool
    assert (tmp_path / "a" / "spool" / NAME).exists()
    assert kind({}, path=f"{tmp_path}/c") is Spool
    assert (tmp_path / "c" / NAME).exists()
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0
    assert Settings().spool == SpoolSettings()
    assert Settings().mqtt.queue == Mqtt().queue
