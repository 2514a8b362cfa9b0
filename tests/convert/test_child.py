"""Work in another process: whatever becomes of it, one sentence comes back."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import pytest

from convert.child import attempt, worked
from convert.errors import ConversionError, SourceError


class Asked(msgspec.Struct):
    """What the other process is asked."""

    wanted: str = "nothing"


DIES = [
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
    ("import time; time.sleep(60)", "still busy after 1 s and was stopped; .*--limit"),
]
REFUSES = [
    ("raise RuntimeError('no such luck')", r"refuses it \(RuntimeError: no such luck\)"),
    ("raise SystemExit(2)", r"refuses it \(it said nothing\)"),
    (
        (
            "import convert.child as child\n"
            "from convert.errors import RunError\n"
            "from test_child import Asked\n"
            "def do(request, folder): raise RunError(f'wants {request.wanted}')\n"
            "child.work(Asked, do)"
        ),
        "it: wants nothing",
    ),
]


def limit(code: str) -> float:
    return 1.0 if "sleep" in code else 30.0


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = Path(__file__).parent
    roots = [tmp_path, here, here.parents[1]]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, roots)))
    return tmp_path / "bad_child.py"


@pytest.mark.parametrize(("code", "said"), DIES + REFUSES)
def test_a_process_that_dies_hangs_or_refuses_becomes_a_sentence(
    module: Path, code: str, said: str
) -> None:
    module.write_text(code)
    begun = time.monotonic()
    with (
        pytest.raises(SourceError, match=f"^it: .*{said.removeprefix('it: ')}"),
        worked("bad_child", Asked(), "it", limit(code), SourceError),
    ):
        pass
    assert time.monotonic() - begun < 30


def test_what_was_made_lies_beside_the_request(module: Path) -> None:
    module.write_text("import pathlib, sys\npathlib.Path(sys.argv[1]).with_name('made').touch()")
    with worked("bad_child", Asked(), "it", 30) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["made", "request.json"]
    assert not folder.exists()


def test_a_full_disk_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # Linux has a device that is always full, but no folder that is; a file's place is as good.
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    with (
        pytest.raises(ConversionError, match=r"cannot work in /dev/full .*; make room there"),
        worked("bad_child", Asked(), "it", 30),
    ):
        pass


def test_a_long_complaint_does_not_block() -> None:
    code, said = attempt(
        [sys.executable, "-c", "import sys; print('x' * 10**6, file=sys.stderr); sys.exit('end')"],
        "it",
        30,
    )
    assert (code, said) == (1, "end")
