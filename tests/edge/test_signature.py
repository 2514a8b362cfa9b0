"""Signed bundles: where a key is set, its owner's bundles are loaded and no others."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from keyfiles import KeyFiles, key_files, private_pem
from realbroker import program

from edge import bundle, config, signature
from edge.__main__ import main
from edge.errors import BundleError, ConfigError, MienError, UsageError
from edge.pipeline import load_models
from edge.reload import prepare
from edge.signature import PublicKey, read_private_key, read_public_key

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "edge" / "bundles"
SAMPLE = ROOT / "edge" / "samples" / "portrait.webm"
FAST = f"clip:{SAMPLE}?pace=fast"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    return key_files(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def trusted(keys: KeyFiles) -> PublicKey:
    return read_public_key(keys.public)


def signed(name: str, folder: Path, keys: KeyFiles) -> Path:
    copy = Path(shutil.copytree(SHIPPED / name, folder / name))
    manifest = (copy / "manifest.json").read_bytes()
    (copy / "manifest.sig").write_bytes(read_private_key(keys.private).sign(manifest))
    return copy


@pytest.fixture
def detector(tmp_path: Path, keys: KeyFiles) -> Path:
    return signed("blazeface-short", tmp_path, keys)


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def refusal(folder: Path, key: PublicKey) -> str:
    with pytest.raises(BundleError) as raised:
        bundle.load(str(folder), key=key)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", bundle.shipped())
def test_a_bundle_that_the_key_signed_is_loaded(
    name: str, tmp_path: Path, keys: KeyFiles, trusted: PublicKey
) -> None:
    folder = signed(name, tmp_path, keys)
    assert bundle.load(str(folder), key=trusted).sha256 == bundle.load(name).sha256


def test_without_a_key_no_signature_is_looked_at(detector: Path) -> None:
    (detector / "manifest.sig").write_text("nonsense")
    assert bundle.load(str(detector)).manifest.name == "blazeface-short"


def test_an_unsigned_bundle_is_refused_and_how_to_sign_it_said(
    detector: Path, trusted: PublicKey
) -> None:
    (detector / "manifest.sig").unlink()
    said = refusal(detector, trusted)
    assert "the bundle is not signed (it has no manifest.sig), and bundle_key asks" in said
    assert "mien-convert sign BUNDLE --key KEY --out DIR" in said


def test_a_signature_by_another_key_is_refused(
    tmp_path: Path, keys: KeyFiles, trusted: PublicKey
) -> None:
    (tmp_path / "theirs").mkdir()
    theirs = signed("blazeface-short", tmp_path / "theirs", key_files(tmp_path))
    said = refusal(theirs, trusted)
    assert "manifest.sig: not a signature of this manifest by the key" in said
    assert str(keys.public) in said


def test_an_altered_manifest_is_refused_before_it_is_parsed(
    detector: Path, trusted: PublicKey
) -> None:
    (detector / "manifest.json").write_text("{")
    assert "altered or signed with another key" in refusal(detector, trusted)


def test_a_signature_of_another_bundle_is_refused(
    tmp_path: Path, keys: KeyFiles, detector: Path, trusted: PublicKey
) -> None:
    other = signed("blazeface-full", tmp_path, keys)
    shutil.copy(other / "manifest.sig", detector / "manifest.sig")
    assert "not a signature of this manifest" in refusal(detector, trusted)


def test_an_altered_model_is_refused(detector: Path, trusted: PublicKey) -> None:
    flip(detector / "frame.tflite", 8000)
    assert "frame.tflite: sha256 is" in refusal(detector, trusted)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda text: text[:-9] + b"\n",
        lambda text: text.rstrip(),
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text[:40] + b"\n" + text[40:],
        lambda text: b"\xff" + text[1:],
        base64.b64decode,
        lambda text: base64.b64encode(base64.b64decode(text) + b"more") + b"\n",
        lambda _: b"-----BEGIN SIGNATURE-----\n",
    ],
)
def test_a_damaged_signature_is_refused(
    detector: Path, trusted: PublicKey, damage: Callable[[bytes], bytes]
) -> None:
    file = detector / "manifest.sig"
    file.write_bytes(damage(file.read_bytes()))
    assert "manifest.sig: damaged, not a signature" in refusal(detector, trusted)


def test_a_signature_that_cannot_be_read_is_named(detector: Path, trusted: PublicKey) -> None:
    (detector / "manifest.sig").unlink()
    (detector / "manifest.sig").mkdir()
    assert "manifest.sig: Is a directory" in refusal(detector, trusted)


def test_every_bit_of_the_signature_counts(
    tmp_path: Path, keys: KeyFiles, trusted: PublicKey
) -> None:
    text = read_private_key(keys.private).sign(b"manifest")
    file = tmp_path / "manifest.sig"
    file.write_bytes(text)
    trusted.verify(b"manifest", tmp_path)
    for bit in range(8 * len(text)):
        file.write_bytes(text)
        flip(file, bit)
        with pytest.raises(BundleError):
            trusted.verify(b"manifest", tmp_path)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, keys: KeyFiles) -> Path:
    """A signed bundle that every example of a property leaves as it found it."""
    return signed("blazeface-short", tmp_path_factory.mktemp("victim"), keys)


@given(st.data())
def test_whatever_bit_is_flipped_the_bundle_is_refused(
    victim: Path, trusted: PublicKey, data: st.DataObject
) -> None:
    file = victim / data.draw(st.sampled_from(["manifest.json", "manifest.sig"]))
    whole = file.read_bytes()
    flip(file, data.draw(st.integers(0, 8 * len(whole) - 1)))
    try:
        refusal(victim, trusted)
    finally:
        file.write_bytes(whole)


def test_what_was_verified_is_what_is_parsed(detector: Path) -> None:
    class Slow:
        """A key that takes so long that the manifest is another one when it is done."""

        def verify(self, manifest: bytes, folder: Path) -> None:
            assert manifest == (SHIPPED / "blazeface-short" / "manifest.json").read_bytes()
            (folder / "manifest.json").write_text("{}")

    loaded = bundle.load(str(detector), key=Slow())  # type: ignore[arg-type]
    assert loaded.sha256 == bundle.load("blazeface-short").sha256


def test_a_file_that_is_exchanged_after_loading_is_refused(
    detector: Path, trusted: PublicKey
) -> None:
    loaded = bundle.load(str(detector), key=trusted)
    flip(detector / "frame.tflite", 0)
    with pytest.raises(BundleError, match="sha256"):
        loaded.read(loaded.manifest.frame)


def test_a_signature_made_for_another_purpose_is_none(detector: Path) -> None:
    key = Ed25519PrivateKey.generate()
    bare = key.sign((detector / "manifest.json").read_bytes())
    (detector / "manifest.sig").write_bytes(base64.b64encode(bare) + b"\n")
    own = PublicKey(key.public_key(), "own")
    assert "not a signature of this manifest by the key own" in refusal(detector, own)


def test_openssl_makes_the_keys_and_agrees_with_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = program("openssl", "openssl")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True)

    run("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    run("pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem")
    text = read_private_key(Path("key.pem")).sign(b"manifest")
    Path("manifest.sig").write_bytes(text)
    read_public_key(Path("pub.pem")).verify(b"manifest", tmp_path)
    Path("message").write_bytes(b"mien-bundle\0manifest")
    Path("raw").write_bytes(base64.b64decode(text))
    run(
        *("pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem"),
        *("-rawin", "-in", "message", "-sigfile", "raw"),
    )


def test_the_same_manifest_and_key_give_the_same_line(keys: KeyFiles) -> None:
    one, two = (read_private_key(keys.private).sign(b"manifest") for _ in range(2))
    assert one == two
    assert one.count(b"\n") == 1
    assert one.endswith(b"\n")


def test_no_key_is_set_no_key_is_trusted() -> None:
    assert signature.trusted_key(None) is None


def wrong_files(folder: Path) -> dict[str, Path]:
    """Files that are no public and no private key to sign bundles with."""
    password = private_pem(Ed25519PrivateKey.generate(), b"secret")
    (folder / "locked.pem").write_bytes(password)
    (folder / "text").write_text("not a key\n")
    (folder / "bytes").write_bytes(bytes(range(256)))
    (folder / "empty").write_bytes(b"")
    good = key_files(folder, "good")
    (folder / "cut.pem").write_bytes(good.public.read_bytes()[:60])
    (folder / "cut.key.pem").write_bytes(good.private.read_bytes()[:60])
    rsa_key = key_files(folder, "rsa", rsa.generate_private_key(65537, 2048))
    ec_key = key_files(folder, "ec", ec.generate_private_key(ec.SECP256R1()))
    return {
        "absent": folder / "absent.pem",
        "folder": folder,
        "text": folder / "text",
        "bytes": folder / "bytes",
        "empty": folder / "empty",
        "cut": folder / "cut.pem",
        "cut private": folder / "cut.key.pem",
        "locked": folder / "locked.pem",
        "public": good.public,
        "private": good.private,
        "rsa public": rsa_key.public,
        "rsa private": rsa_key.private,
        "ec public": ec_key.public,
        "ec private": ec_key.private,
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("absent", "No such file or directory; name the PEM file of the public key"),
        ("folder", "Is a directory"),
        ("text", "not an Ed25519 public key in PEM"),
        ("bytes", "not an Ed25519 public key in PEM"),
        ("empty", "not an Ed25519 public key in PEM"),
        ("cut", "not an Ed25519 public key in PEM"),
        ("rsa public", "write one with openssl pkey -in KEY -pubout"),
        ("ec public", "not an Ed25519 public key in PEM"),
        ("private", "a private key, which has no place on a device"),
        ("rsa private", "a private key, which has no place on a device"),
        ("locked", "a private key, which has no place on a device"),
    ],
)
def test_what_is_no_public_key_is_a_configuration_error(
    tmp_path: Path, wrong: str, words: str
) -> None:
    file = wrong_files(tmp_path)[wrong]
    with pytest.raises(ConfigError) as raised:
        signature.trusted_key(str(file))
    assert str(raised.value).startswith(f"bundle_key: {file}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("absent", "No such file or directory; name the PEM file of the private key"),
        ("folder", "Is a directory"),
        ("text", "not an Ed25519 private key in PEM"),
        ("bytes", "not an Ed25519 private key in PEM"),
        ("empty", "not an Ed25519 private key in PEM"),
        ("cut private", "not an Ed25519 private key in PEM"),
        ("public", "not an Ed25519 private key in PEM"),
        ("rsa private", "make one with openssl genpkey -algorithm ed25519"),
        ("ec private", "not an Ed25519 private key in PEM"),
        ("locked", "the key is encrypted; sign with a copy that is not"),
    ],
)
def test_what_is_no_private_key_is_a_usage_error(tmp_path: Path, wrong: str, words: str) -> None:
    file = wrong_files(tmp_path)[wrong]
    with pytest.raises(UsageError) as raised:
        read_private_key(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


# The whole of it, through the command line.


@pytest.fixture
def bundles(tmp_path: Path, keys: KeyFiles, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Signed copies of what ships, and an environment that asks for them."""
    found = {
        "detector": signed("blazeface-short", tmp_path, keys),
        "emotion": signed("mien-fer2013", tmp_path, keys),
    }
    monkeypatch.setenv("MIEN_BUNDLE_KEY", str(keys.public))
    for table, folder in found.items():
        monkeypatch.setenv(f"MIEN_{table.upper()}__BUNDLE", str(folder))
    return found


def run(events: Path) -> int:
    return main(["run", "--camera", FAST, "--no-mqtt", "--events", str(events)])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.usefixtures("bundles")
def test_the_daemon_runs_on_signed_bundles(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert run(events) == 0
    assert events.read_text().count("\n") >= 4


@pytest.mark.parametrize("where", [0.0, 0.31, 0.5, 0.77, 1.0])
@pytest.mark.parametrize(
    ("role", "name"),
    list(
        itertools.product(
            ["detector", "emotion"], ["manifest.json", "manifest.sig", "frame.tflite"]
        )
    ),
)
def test_the_daemon_refuses_a_byte_that_is_not_as_it_was_signed(
    bundles: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    role: str,
    name: str,
    where: float,
) -> None:
    file = bundles[role] / name
    events = file.with_name("events.jsonl")
    flip(file, 8 * round(where * (file.stat().st_size - 1)))
    assert run(events) == 78
    assert complaint(capsys).startswith(f"mien: {bundles[role]}")
    assert not events.exists()


@pytest.mark.parametrize("name", ["head.tflite", "golden.npz"])
def test_the_daemon_refuses_an_altered_file_of_any_kind(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    flip(bundles["emotion"] / name, 4000)
    assert run(tmp_path / "events.jsonl") == 78
    assert f"{name}: sha256 is" in complaint(capsys)


@pytest.mark.usefixtures("bundles")
@pytest.mark.parametrize("command", ["run", "aim", "bench"])
@pytest.mark.parametrize("role", ["detector", "emotion"])
def test_every_command_refuses_the_shipped_bundles_until_they_are_signed(
    command: str,
    role: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(f"MIEN_{role.upper()}__BUNDLE")
    arguments = {
        "run": ["run", "--camera", FAST, "--no-mqtt"],
        "aim": ["aim", "--camera", FAST],
        "bench": ["bench", "--frames", "1"],
    }
    assert main(arguments[command]) == 78
    assert "the bundle is not signed" in complaint(capsys)


def test_what_no_manifest_names_is_never_loaded(bundles: dict[str, Path], tmp_path: Path) -> None:
    for folder in bundles.values():
        (folder / "frame_edgetpu.tflite").write_bytes(b"theirs")
        (folder / "MODEL_CARD.md").write_text("theirs")
    assert run(tmp_path / "events.jsonl") == 0


def test_an_edge_tpus_compiled_file_is_not_even_tried(
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (bundles["emotion"] / "frame_edgetpu.tflite").write_bytes(b"theirs")
    monkeypatch.setenv("MIEN_RUNTIME__EDGETPU", "true")
    popen = subprocess.Popen

    def begun(command: list[str], **more: object) -> object:
        assert "accelerator" not in " ".join(command), "a trial was begun"
        return popen(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", begun)
    assert run(tmp_path / "events.jsonl") == 0
    said = (
        "edgetpu: not used: no signature covers frame_edgetpu.tflite, and bundle_key asks for one"
    )
    assert said in caplog.messages


@pytest.mark.parametrize("role", ["detector", "emotion"])
@pytest.mark.parametrize(
    ("exchange", "words"),
    [
        (lambda folder: (folder / "manifest.sig").unlink(), "the bundle is not signed"),
        (lambda folder: flip(folder / "frame.tflite", 8000), "frame.tflite: sha256 is"),
        (lambda folder: flip(folder / "manifest.json", 800), "not a signature of this manifest"),
    ],
)
def test_a_bundle_that_is_exchanged_while_the_daemon_runs_is_refused_at_the_reload(
    bundles: dict[str, Path], role: str, exchange: Callable[[Path], None], words: str
) -> None:
    settings = config.with_cameras(config.load(None), ["v4l2:/dev/video0"])
    models = load_models(settings)
    assert prepare(lambda: settings, settings, models).models is models
    exchange(bundles[role])
    with pytest.raises(BundleError, match=re.escape(words)):
        prepare(lambda: settings, settings, models)


def test_a_key_that_is_exchanged_shuts_out_what_the_one_before_signed(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "bundle.pem"
    key.write_bytes(Path(os.environ["MIEN_BUNDLE_KEY"]).read_bytes())
    monkeypatch.setenv("MIEN_BUNDLE_KEY", str(key))
    settings = config.with_cameras(config.load(None), ["v4l2:/dev/video0"])
    models = load_models(settings)
    (tmp_path / "next").mkdir()
    key.write_bytes(key_files(tmp_path / "next").public.read_bytes())
    with pytest.raises(BundleError, match=f"^{bundles['emotion']}|^{bundles['detector']}"):
        prepare(lambda: settings, settings, models)


@pytest.mark.parametrize("role", ["detector", "emotion"])
def test_the_self_test_fails_where_a_bundle_is_not_signed_and_runs_none(
    bundles: dict[str, Path], role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundles[role] / "manifest.sig").unlink()
    assert main(["selftest", "--no-mqtt", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["bundles"]["verdict"] == "failed"
    assert "the bundle is not signed" in checks["bundles"]["text"]
    assert not any(name.startswith(("golden", "latency")) for name in checks)


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": os.defpath, **environ},
    )


def test_without_a_key_cryptography_is_not_imported() -> None:
    done = python(
        "import sys; from edge.pipeline import load_models; from edge.settings import Settings\n"
        "load_models(Settings()); print('cryptography' in sys.modules)"
    )
    assert done.stdout.strip() == "False", done.stderr


WITHOUT = "import sys; sys.modules['cryptography'] = None\nfrom edge import signature\n"


@pytest.mark.parametrize("command", ["['config', 'check', sys.argv[1]]", "['run', '--no-mqtt']"])
def test_without_the_extra_a_device_says_what_to_install(
    keys: KeyFiles, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "mien.toml"
    file.write_text(f'bundle_key = "{keys.public}"\n[[camera]]\nuri = "{FAST}"\n')
    done = python(
        f"{WITHOUT}from edge.__main__ import main\nsys.argv.append({str(file)!r})\n"
        f"sys.exit(main({command}))",
        MIEN_CONFIG=str(file),
    )
    assert done.returncode == 78
    assert done.stderr == (
        "mien: bundle_key: bundle signatures need the package cryptography: "
        "pip install 'mien[signed]'\n"
    )


def test_without_the_extra_nothing_can_be_signed() -> None:
    done = python(
        f"{WITHOUT}from pathlib import Path\n"
        "try: signature.read_private_key(Path('key.pem'))\n"
        f"except signature.{MienError.__name__} as exc: print(exc)"
    )
    assert done.stdout.strip().endswith("pip install 'mien[signed]'")
