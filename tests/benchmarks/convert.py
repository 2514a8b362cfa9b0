"""What converting costs: python tests/benchmarks/convert.py RUN DATA

`mien-convert quantise` on a copy of a run folder that was trained: wall time, and the largest sum
of what it and the processes it starts hold in memory at once (shared pages count in each, so the
truth is less). Then how long `mien-convert --help` and `check mien-fer2013` take from start to
end, the median of several. Exits with 1 where a bar is missed; those are for two cores.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import perf_counter

MOST_S, MOST_GB, MOST_START_S = 180.0, 3.0, 0.5
STARTS = 9
LOOK_EVERY_S = 0.05

_CONVERT = (sys.executable, "-m", "convert")


def tree(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # Behind the name, which may have spaces and brackets in it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def resident(pids: list[int]) -> int:
    """Return how many bytes processes hold in memory."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def quantised(run: Path, data: Path) -> tuple[float, float]:
    """Quantise a copy of a run folder; return seconds and gigabytes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(run, Path(folder) / "run")
        command = [*_CONVERT, "quantise", "--data", str(data), "--run", str(copy)]
        begun, peak = perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, resident(tree(process.pid)))
                time.sleep(LOOK_EVERY_S)
        if process.returncode:
            sys.exit(f"quantise: exit {process.returncode}")
        return perf_counter() - begun, peak / 1e9


def start_s(*words: str) -> float:
    """Return how long a command takes, the median of several."""
    taken = []
    for _ in range(STARTS):
        begun = perf_counter()
        subprocess.run([*_CONVERT, *words], stdout=subprocess.DEVNULL, check=True)
        taken.append(perf_counter() - begun)
    return statistics.median(taken)


def main(run: str, data: str) -> int:
    seconds, gigabytes = quantised(Path(run), Path(data))
    rows = [
        ("quantise, wall time", seconds, MOST_S, "s"),
        ("quantise, peak memory", gigabytes, MOST_GB, "GB"),
        ("--help", start_s("--help"), MOST_START_S, "s"),
        ("check mien-fer2013", start_s("check", "mien-fer2013"), MOST_START_S, "s"),
    ]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':24} {'measured':>9} {'bar':>6}")
    for name, measured, bar, unit in rows:
        missed = "" if measured <= bar else "  MISSED"
        print(f"{name:24} {measured:9.2f} {bar:6g} {unit}{missed}")
    return int(any(measured > bar for _, measured, bar, _ in rows))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
