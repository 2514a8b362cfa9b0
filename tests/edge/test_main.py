"""The command line, run as its user runs it: real processes, real clips."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from keyfiles import key_files

from edge import bundle, schema
from edge.settings import Settings

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
FAST = f"clip:{SAMPLE}?pace=fast"

RUN = [sys.executable, "-m", "edge", "run", "--no-mqtt", "--events", "-"]


def mien(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line a failed command ends with; no traceback, nothing on stdout."""
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def story() -> list[dict[str, object]]:
    done = mien("run", "--camera", FAST, "--no-mqtt", "--events", "-")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_sample_tells_of_a_face_that_comes_leaves_and_comes_back(
    story: list[dict[str, object]],
) -> None:
    told = [(event["type"], event["track"]["id"]) for event in story if event["type"] != "update"]  # type: ignore[index]
    assert told == [("start", 1), ("end", 1), ("start", 2), ("end", 2)]


def test_what_is_told_is_what_the_schema_says(story: list[dict[str, object]]) -> None:
    validator = Draft202012Validator(json.loads(schema.text("event")))
    for event in story:
        validator.validate(event)
    assert [event["seq"] for event in story] == list(range(1, len(story) + 1))
    assert len({event["boot_id"] for event in story}) == 1


def test_the_same_clip_tells_the_same_story(story: list[dict[str, object]]) -> None:
    done = mien("run", "--camera", FAST, "--no-mqtt", "--events", "-")
    again = [json.loads(line) for line in done.stdout.splitlines()]
    changing = ("id", "boot_id", "ts", "latency_ms")

    def lasting(event: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in event.items() if key not in changing}

    assert [lasting(event) for event in again] == [lasting(event) for event in story]


def test_event_times_follow_the_clip(story: list[dict[str, object]]) -> None:
    ages = [event["track"]["age_ms"] for event in story if event["type"] == "start"]  # type: ignore[index]
    settle_ms = Settings().events.rules.settle_s * 1000
    assert all(settle_ms <= age <= settle_ms + 200 for age in ages)


def test_events_can_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    done = mien("run", "--camera", FAST, "--no-mqtt", "--events", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert file.read_text().count("\n") >= 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_tracks_and_the_process(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*RUN, "--camera", f"clip:{SAMPLE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(number)
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=30) == 0
    assert first["type"] == "start"
    assert rest[-1]["type"] == "end"
    assert rest[-1]["track"]["id"] == first["track"]["id"]


def test_a_crash_writes_no_memory_to_a_disk(tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    ask = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, ({most}, {most})); "
    start = "import sys; from edge.__main__ import program; sys.argv[0:1] = ['mien']; program()"
    command = [sys.executable, "-c", ask + start, "run", "--camera", f"clip:{SAMPLE}", "--no-mqtt"]
    with subprocess.Popen(
        [*command, "--events", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGABRT)
        assert process.wait(30) == -signal.SIGABRT
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_told_of_in_one_line() -> None:
    with subprocess.Popen(
        [*RUN, "--camera", FAST],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        "mien: events cannot be written to standard output: Broken pipe"
    )


def test_cameras_take_turns_and_each_tells_its_own_story(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_text(
        f'[[camera]]\nname = "door"\nuri = "{FAST}"\n'
        f'[[camera]]\nname = "hall"\nuri = "{FAST}"\nflip = "horizontal"\n'
    )
    done = mien("run", "--config", str(file), "--no-mqtt", "--events", "-")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    starts = [
        [e for e in events if e["type"] == "start" and e["camera"] == c] for c in ("door", "hall")
    ]
    assert [len(each) for each in starts] == [2, 2]
    door, hall = (each[0]["box"]["x"] + each[0]["box"]["width"] / 2 for each in starts)
    assert abs(door - (1 - hall)) < 0.02


def damaged_bundle(folder: Path, file: str, size: int) -> Path:
    copy = Path(
        shutil.copytree(Path(bundle.__file__).parent / "bundles" / "mien-fer2013", folder / "b")
    )
    (copy / file).write_bytes((copy / file).read_bytes()[:size])
    return copy


@pytest.mark.parametrize(
    ("file", "size"),
    [("frame.tflite", 999), ("head.tflite", 0), ("golden.npz", 9), ("manifest.json", 50)],
)
def test_a_truncated_bundle_is_a_configuration_error(tmp_path: Path, file: str, size: int) -> None:
    copy = damaged_bundle(tmp_path, file, size)
    done = mien("run", "--camera", FAST, "--bundle", str(copy), "--no-mqtt")
    assert done.returncode == 78
    assert file in complaint(done)
    assert "again" in complaint(done)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--no-mqtt"], 78, "no camera: give --camera URI"),
        (["run", "--camera", "clip:absent.mp4", "--no-mqtt"], 1, "clip absent.mp4: no such file"),
        (["run", "--camera", "wobble:0", "--no-mqtt"], 78, "camera 'wobble:0': no such kind"),
        (["run", "--camera", FAST, "--bundle", "absent", "--no-mqtt"], 78, "bundle absent: no"),
        (["run", "--camera", FAST, "--events", "/absent/e"], 1, "/absent/e: No such file"),
        (["run", "--config", "absent.toml"], 78, "absent.toml: no such file"),
        (["config", "check", "README.md"], 78, "README.md: not TOML"),
        (["schema", "evnt"], 2, "schema 'evnt': there is none"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    arguments: list[str], code: int, words: str
) -> None:
    done = mien(*arguments)
    assert done.returncode == code
    assert words in complaint(done)
    assert complaint(done).startswith("mien: ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("noise.mp4", bytes(range(256)) * 40),
        ("text.mp4", b"not a video\n" * 99),
    ],
)
def test_a_clip_that_is_none_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    done = mien("run", "--camera", f"clip:{file}", "--no-mqtt", "--events", "-")
    assert done.returncode == 1
    assert f"clip {file}: " in complaint(done)


def test_a_misspelt_key_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_text("[detector]\nevry = 2\n")
    for command in (["config", "check", str(file)], ["run", "--config", str(file)]):
        done = mien(*command)
        assert done.returncode == 78
        assert complaint(done) == (
            f"mien: {file}: detector.evry: unknown key; did you mean 'every'?"
        )


def test_config_check_looks_at_the_bundle_key(tmp_path: Path) -> None:
    keys = key_files(tmp_path)
    file = tmp_path / "mien.toml"
    for key, words in (
        (keys.public, None),
        (keys.private, "a private key, which has no place on a device"),
        (file, "not an Ed25519 public key in PEM"),
        (tmp_path / "absent.pem", "No such file or directory"),
    ):
        file.write_text(f'bundle_key = "{key}"\n')
        done = mien("config", "check", str(file))
        if words is None:
            assert (done.returncode, done.stdout) == (0, f"{file}: valid\n")
        else:
            assert done.returncode == 78
            assert complaint(done).startswith(f"mien: bundle_key: {key}: {words}")


def test_wrong_usage_exits_2() -> None:
    assert mien("rnu").returncode == 2


def test_config_show_is_the_configuration_in_force() -> None:
    done = mien("config", "show", MIEN_DETECTOR__EVERY="5")
    assert done.returncode == 0
    assert "every = 5" in done.stdout


def test_config_show_keeps_a_cameras_password_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_text('[[camera]]\nuri = "rtsp://admin:secret@10.0.0.7/stream"\n')
    shown = mien("config", "show", "--config", str(file)).stdout
    assert "secret" not in shown
    assert "rtsp://***@10.0.0.7/stream" in shown


def test_schema_prints_what_the_package_holds() -> None:
    assert mien("schema").stdout.split() == schema.names()
    assert json.loads(mien("schema", "event").stdout) == json.loads(schema.text("event"))


def test_a_picture_without_a_face_tells_nothing(tmp_path: Path) -> None:
    for index in range(10):
        wall = np.full((120, 160, 3), 100 + index, np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), wall)
    done = mien("run", "--camera", f"clip:{tmp_path}?pace=fast", "--no-mqtt", "--events", "-")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_self_test_is_a_table_and_its_exit_code_is_the_verdict() -> None:
    skip = [word for name in ("busy", "idle", "memory") for word in ("--skip", name)]
    done = mien("selftest", "--no-mqtt", *skip, "--config", "/dev/null")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("passed in ")
    failed = mien("selftest", "--no-mqtt", *skip, "--bundle", "absent", "--config", "/dev/null")
    assert failed.returncode == 1
    assert re.search(r"^bundles .* failed .*absent", failed.stdout, re.MULTILINE)


def test_a_self_test_is_json_and_says_where_it_could_not_be_published() -> None:
    done = mien(
        "selftest", "--json", "--config", "/dev/null", "--mqtt", "mqtt://127.0.0.1:1",
        *("--skip", "busy", "--skip", "idle", "--skip", "memory", "--skip", "camera"),
    )  # fmt: skip
    assert done.returncode == 1
    report = json.loads(done.stdout)
    Draft202012Validator(json.loads(schema.text("selftest"))).validate(report)
    failed = [check["name"] for check in report["checks"] if check["verdict"] == "failed"]
    assert failed == ["broker"]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mien: the report is not published: broker 127.0.0.1:1: ")


def test_a_group_that_is_none_is_named() -> None:
    done = mien("selftest", "--skip", "speed", "--config", "/dev/null")
    assert done.returncode == 2
    assert "no such group" in complaint(done)
