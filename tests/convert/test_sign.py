"""A signed copy of any bundle, made without TensorFlow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keyfiles import KeyFiles, key_files, private_pem

from convert.__main__ import main
from edge import bundle
from edge.errors import BundleError
from edge.signature import read_public_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    return key_files(tmp_path)


def sign(source: str | Path, key: Path, out: Path) -> int:
    return main(["sign", str(source), "--key", str(key), "--out", str(out)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("mien-convert: ")
    return line


@pytest.mark.parametrize("name", bundle.shipped())
def test_a_shipped_bundle_is_copied_whole_and_a_device_trusts_the_copy(
    name: str, tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "signed" / name
    assert sign(name, keys.private, out) == 0
    loaded = bundle.load(str(out), key=read_public_key(keys.public))
    assert loaded.sha256 == bundle.load(name).sha256
    copied = contents(out)
    del copied["manifest.sig"]
    assert copied == contents(bundle.locate(name))
    manifest = loaded.manifest
    assert capsys.readouterr().out == f"{out}: {manifest.name} {manifest.version}, signed\n"
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_the_same_bundle_and_key_give_the_same_bytes(tmp_path: Path, keys: KeyFiles) -> None:
    for name in ("one", "two"):
        assert sign("blazeface-short", keys.private, tmp_path / name) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_bundle_can_be_signed_where_it_is_and_again_with_another_key(
    tmp_path: Path, keys: KeyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(bundle.locate("blazeface-short"), tmp_path / "mine"))
    other = key_files(tmp_path, "other")
    assert sign(folder, keys.private, folder) == 0
    monkeypatch.chdir(folder)
    assert sign(".", other.private, Path()) == 0
    bundle.load(str(folder), key=read_public_key(other.public))
    with pytest.raises(BundleError, match="not a signature of this manifest"):
        bundle.load(str(folder), key=read_public_key(keys.public))


def test_a_bundle_that_was_there_is_replaced(tmp_path: Path, keys: KeyFiles) -> None:
    out = tmp_path / "out"
    assert sign("blazeface-full", keys.private, out) == 0
    assert sign("blazeface-short", keys.private, out) == 0
    assert bundle.load(str(out)).manifest.name == "blazeface-short"


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "mine").write_text("precious")
    assert sign("blazeface-short", keys.private, out) == 1
    assert "is not a bundle" in refused(capsys)
    assert contents(out) == {"mine": b"precious"}


def test_a_bundle_with_a_folder_in_it_is_refused_before_that_is_lost(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(bundle.locate("blazeface-short"), tmp_path / "mine"))
    (folder / "notes").mkdir()
    assert sign(folder, keys.private, folder) == 1
    assert "notes: no file, and a bundle has nothing else" in refused(capsys)
    assert (folder / "notes").is_dir()


def test_what_cannot_be_written_is_named(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert sign("blazeface-short", keys.private, tmp_path / "file" / "out") == 1
    assert "cannot write it" in refused(capsys)


@pytest.mark.parametrize("source", ["absent", "./absent"])
def test_a_bundle_that_is_not_there_is_named(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    assert sign(source, keys.private, tmp_path / "out") == 1
    assert f"bundle {source}: no manifest.json" in refused(capsys)


def test_a_damaged_bundle_is_not_signed(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(bundle.locate("mien-fer2013"), tmp_path / "mine"))
    (folder / "head.tflite").write_bytes(b"")
    assert sign(folder, keys.private, tmp_path / "out") == 1
    assert "head.tflite: sha256 is" in refused(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["absent", "public", "rsa", "locked"])
def test_a_key_that_cannot_sign_is_a_usage_error_before_any_work(
    tmp_path: Path, keys: KeyFiles, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (tmp_path / "locked.pem").write_bytes(private_pem(Ed25519PrivateKey.generate(), b"secret"))
    key = {
        "absent": tmp_path / "absent.pem",
        "public": keys.public,
        "rsa": key_files(tmp_path, "rsa", rsa.generate_private_key(65537, 2048)).private,
        "locked": tmp_path / "locked.pem",
    }[kind]
    assert sign("no-such-bundle", key, tmp_path / "out") == 2
    assert refused(capsys).startswith(f"mien-convert: {key}: ")
    assert not (tmp_path / "out").exists()


def test_it_needs_no_tensorflow(tmp_path: Path, keys: KeyFiles) -> None:
    command = ["sign", "blazeface-short", "--key", str(keys.private), "--out", str(tmp_path / "b")]
    code = (
        "import sys\nfor name in ('tensorflow', 'keras'): sys.modules[name] = None\n"
        f"from convert.__main__ import main\nsys.exit(main({command}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
