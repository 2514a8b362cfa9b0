"""From a run folder to a bundle that the device's own code loads and trusts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from keyfiles import KeyFiles, key_files

from convert import weights
from convert.__main__ import main
from convert.data import FER2013_SHA256
from convert.run import sha256_of
from edge import bundle, goldens
from edge.errors import BundleError
from edge.networks import StreamNetworks
from edge.signature import read_public_key

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def package(run: Path, out: Path, *more: str) -> int:
    return main(["package", "--run", str(run), "--out", str(out), "--name", "drawn", *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_device_loads_it_and_its_goldens_pass(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    assert package(run, out) == 0
    loaded, manifest = bundle.load_stream(str(out))
    networks = StreamNetworks(loaded, manifest)
    result = goldens.check(networks, goldens.read(loaded, manifest))
    assert result.passed
    assert (result.steps, result.same_label) == (1024, 1.0)
    assert manifest.created == "2023-11-14T22:13:20Z"
    assert manifest.metrics is not None
    assert manifest.metrics.data == "own data"
    assert manifest.metrics.n == 35
    evaluation = json.loads((run / "evaluation.json").read_text())
    doubt, measured = evaluation["streams"]["doubt"], manifest.calibration.measured
    assert manifest.calibration.abstain_below == doubt["abstain_below"]
    assert manifest.calibration.temperature == doubt["head"]["temperature"]
    assert measured is not None
    assert measured.ece == pytest.approx(doubt["head"]["ece"], abs=1e-4)
    assert measured.ece_interval == pytest.approx(doubt["head"]["ece_interval"], abs=1e-4)
    logits, _ = networks.step(
        networks.embed(np.zeros((48, 48), np.uint8)), networks.initial_state()
    )
    assert logits.shape == (7,)


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    assert package(run, tmp_path / "one") == package(run, tmp_path / "two") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_nothing_in_it_tells_where_it_was_made(run: Path, tmp_path: Path) -> None:
    assert package(run, tmp_path / "drawn") == 0
    for name, data in contents(tmp_path / "drawn").items():
        assert str(tmp_path).encode() not in data, name
        assert str(run).encode() not in data, name


def test_the_card_gives_its_terms_and_commands(run: Path, tmp_path: Path) -> None:
    assert package(run, tmp_path / "drawn", "--abstain-below", "0.25") == 0
    card = (tmp_path / "drawn" / "MODEL_CARD.md").read_text()
    for line in (
        "mien-convert train --data DATA --run RUN --model kalambate --epochs 1 --seed 1",
        "mien-convert quantise --data DATA --run RUN --head int16x8",
        "mien-convert package --run RUN --name drawn --version 1 --abstain-below 0.25",
    ):
        assert line in card
    assert "It was told so (`--abstain-below`)" in " ".join(card.split())
    assert "composed" in card
    for figure in ("reliability.png", "coverage.png"):
        assert f"]({figure})" in card
        assert len((tmp_path / "drawn" / figure).read_bytes()) < 60_000
    assert "owner of the data" in card
    assert "{" not in card


def test_the_card_says_where_the_threshold_is_from(run: Path, tmp_path: Path) -> None:
    assert package(run, tmp_path / "drawn") == 0
    card = " ".join((tmp_path / "drawn" / "MODEL_CARD.md").read_text().split())
    assert "the threshold with the most right less wrong answers" in card
    assert "package --run RUN --name drawn --version 1 --out BUNDLE" in card


def test_a_run_whose_doubt_was_not_measured_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    del evaluation["streams"]["doubt"]
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert package(run, tmp_path / "drawn") == 1
    assert "evaluated before doubt was measured; evaluate it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "command", "licence", "carded"),
    [
        ("mien-consensus", "--start mien-consensus", "weights trained on FER2013", True),
        (
            "5" * 64,
            "--start RUN-OF-555555555555/frame.keras",
            "what holds for the weights it started",
            False,
        ),
    ],
)
def test_terms_of_the_weights_it_started_from_go_with_it(
    run: Path, tmp_path: Path, start: str, command: str, licence: str, *, carded: bool
) -> None:
    known = weights.shipped().get(start)
    record = json.loads((run / "frame.json").read_text())
    record["settings"] |= {"start": sha256_of(known) if known else start, "policy": "labels"}
    (run / "frame.json").write_text(json.dumps(record))
    assert package(run, tmp_path / "drawn") == 0
    manifest = bundle.load_stream(str(tmp_path / "drawn"))[1]
    assert licence in manifest.provenance.licence
    assert "the owner of the training data" in manifest.provenance.licence
    card = (tmp_path / "drawn" / "MODEL_CARD.md").read_text()
    assert command in card
    assert ("and so is this network" in " ".join(card.split())) is carded


def test_the_card_tells_what_was_trained_before_it(run: Path, tmp_path: Path) -> None:
    record = json.loads((run / "frame.json").read_text())
    before = {"sha256": "7" * 64, "options": "--model teacher --epochs 9 --seed 1",
              "data_sha256": FER2013_SHA256, "seconds": 600}  # fmt: skip
    record["settings"] |= {"start": "7" * 64, "policy": "labels"}
    (run / "frame.json").write_text(json.dumps(record | {"ancestors": [before]}))
    assert package(run, tmp_path / "drawn") == 0
    card = (tmp_path / "drawn" / "MODEL_CARD.md").read_text()
    assert f"train --data DATA --run RUN-OF-777777777777 {before['options']}" in card
    assert "took 10 minutes" in " ".join(card.split())
    assert "and so is this network" in " ".join(card.split())
    provenance = bundle.load_stream(str(tmp_path / "drawn"))[1].provenance
    assert provenance.training["frame_ancestor_1"] == f"{'7' * 64} {before['options']}"
    assert "weights trained on FER2013" in provenance.licence
    assert "what holds for" not in provenance.licence


def test_a_bundle_is_replaced_whole(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    assert package(run, out) == 0
    (out / "stale").write_text("")
    assert package(run, out, "--version", "2") == 0
    assert not (out / "stale").exists()
    assert bundle.load_stream(str(out))[1].version == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "run"]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    return key_files(tmp_path)


def test_a_signed_bundle_is_the_same_one_and_a_signature(
    run: Path, tmp_path: Path, keys: KeyFiles
) -> None:
    assert package(run, tmp_path / "plain") == 0
    for name in ("one", "two"):
        assert package(run, tmp_path / name, "--sign", str(keys.private)) == 0
    bundle.load_stream(str(tmp_path / "one"), key=read_public_key(keys.public))
    signed = contents(tmp_path / "one")
    assert signed == contents(tmp_path / "two")
    assert signed.pop("manifest.sig")
    assert signed == contents(tmp_path / "plain")


def test_a_bundle_packaged_again_without_a_key_is_not_signed(
    run: Path, tmp_path: Path, keys: KeyFiles
) -> None:
    out = tmp_path / "drawn"
    assert package(run, out, "--sign", str(keys.private)) == package(run, out) == 0
    with pytest.raises(BundleError, match="the bundle is not signed"):
        bundle.load(str(out), key=read_public_key(keys.public))


def test_a_key_that_cannot_sign_is_found_before_anything_else(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "no-run"
    for key in (keys.public, tmp_path / "absent.pem"):
        assert package(absent, tmp_path / "drawn", "--sign", str(key)) == 2
        assert f"{key}: " in refused(capsys)
    assert not (tmp_path / "drawn").exists()


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if line.startswith("mien-convert: ")]
    assert len(said) == 1
    assert "Traceback" not in "".join(lines)
    return said[0]


def test_a_folder_of_something_else_is_left_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "mine").write_text("precious")
    assert package(run, out) == 1
    assert "is not a bundle" in refused(capsys)
    assert (out / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("evaluation.json", "run mien-convert evaluate first"),
        ("quantised.json", "run mien-convert quantise first"),
        ("head.keras", "changed since it was quantised"),
        ("frame.tflite", "not the file that passed the parity gates"),
        ("parity.json", "run mien-convert quantise first"),
    ],
)
def test_a_run_with_a_gap_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str, said: str
) -> None:
    if spoil.endswith(".json"):
        (run / spoil).unlink()
    else:
        (run / spoil).write_bytes((run / spoil).read_bytes() + b"x")
    assert package(run, tmp_path / "drawn") != 0
    assert said in refused(capsys)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--name", "Upper Case"], "--name Upper Case"),
        (["--abstain-below", "1.5"], "abstain_below"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert package(run, tmp_path / "drawn", *more) == 2
    assert said in refused(capsys)


def test_a_time_that_is_none_is_a_usage_error(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert package(run, tmp_path / "drawn") == 2
    assert "SOURCE_DATE_EPOCH=yesterday" in refused(capsys)
