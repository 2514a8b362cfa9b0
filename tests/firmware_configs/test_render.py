"""Cards are made whole or not at all, and what is on them is right."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority
from smallcards import Workshop, images, tag_of, wheel

from edge import config
from edge.errors import CameraUriError, ConfigError, MienError, UsageError
from firmware_configs import check, render, system
from firmware_configs.answers import Answers, admin, wifi
from firmware_configs.board import board_names, load_board, load_role, role_names
from firmware_configs.fleet import fleet

GOLDEN = Path(__file__).parent / "golden"
CARDS = [
    (board, role, image)
    for board in board_names()
    for role in role_names()
    if load_board(board).legacy is None and role not in load_board(board).refuses
    for image in load_board(board).images
]
NOT_GOLDEN = (
    "mien/setup/", "mien/wheels/", "mien/requirements.txt", "mien/card.json",
    "mien/credentials/password",
)  # fmt: skip
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample anna@desk"


def uri_for(board: str, image: str) -> tuple[str, ...]:
    has = load_board(board).images[image].packages
    return () if "python3-picamera2" in has or board in {"pc", "jetson-orin"} else ("v4l2:/dev/x",)


@pytest.mark.parametrize(("board", "role", "image"), CARDS)
def test_every_board_and_role_makes_a_card_that_is_right(
    shop: Workshop, board: str, role: str, image: str
) -> None:
    answers = Answers("lobby", "mqtt://10.0.0.5", cameras=uri_for(board, image))
    order = shop.order(board, role, image=image, answers=answers)
    render.render(order)
    assert check.check(order.out) == []
    settings = config.load(order.out / "mien/mien.toml", {})
    wanted = load_role(role)
    assert settings.detector.bundle == wanted.detector
    assert settings.events.preset == wanted.preset
    assert settings.cadence.hot_celsius == load_board(board).thermal.hot_celsius


@pytest.mark.parametrize(
    "board", [name for name in board_names() if load_board(name).legacy is not None]
)
def test_a_board_that_can_have_no_card_says_what_is_possible(shop: Workshop, board: str) -> None:
    with pytest.raises(UsageError, match=f"board {board}: no card can be made: .*what is possible"):
        render.render(shop.order(board))


def test_the_same_answers_make_the_same_card(shop: Workshop) -> None:
    first, second = (
        shop.order("pi-4", out=shop.folder / "a"),
        shop.order("pi-4", out=shop.folder / "b"),
    )
    render.render(first)
    render.render(second)
    assert contents(first.out) == contents(second.out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_card_for_a_pi_4_is_the_one_in_the_folder_golden(shop: Workshop) -> None:
    """What a reader of the repository can look at: all but wheels, programs and shared units."""
    answers = Answers(
        "lobby",
        "mqtts://broker.example",
        username="lobby",
        files={"password": b"hunter2\n"},
        wifi=wifi("lobby net", "correct horse", "GB"),
        admin=admin("anna", KEY),
        ntp="10.0.0.1",
    )
    shown = {}
    own = {f"{place}/{file.name}" for place, file in system.shared()}
    for image in ("trixie", "bookworm"):
        order = shop.order("pi-4", image=image, answers=answers, out=shop.folder / image)
        render.render(order)
        for place, data in contents(order.out).items():
            if place.removeprefix("mien/system/") not in own and not place.startswith(NOT_GOLDEN):
                shown[f"{image}/{place}"] = data.decode()
    if os.environ.get("GOLDEN") == "write":
        for place, text in shown.items():
            (GOLDEN / place).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / place).write_text(text)
    golden = {
        str(file.relative_to(GOLDEN)): file.read_text()
        for file in GOLDEN.rglob("*")
        if file.is_file()
    }
    assert shown == golden, "with GOLDEN=write this test writes them; read the difference"


def test_a_wireless_networks_passphrase_is_on_no_card(shop: Workshop) -> None:
    # The key of IEEE 802.11i's own example (annex J.4).
    network = wifi("IEEE", "password", "GB")
    assert network.key == "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    order = shop.order("pi-4", answers=Answers("lobby", "mqtt://10.0.0.5", wifi=network))
    render.render(order)
    for data in contents(order.out).values():
        assert b"password\n" not in data


def test_secrets_are_their_owners_alone_and_the_person_is_told(shop: Workshop) -> None:
    answers = Answers("lobby", "mqtts://b", username="u", files={"password": b"hunter2\n"})
    order = shop.order("pi-4", answers=answers)
    told = render.render(order)
    folder = order.out / "mien/credentials"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]
    assert any("FAT keeps no owners" in line for line in told)
    for place, data in contents(order.out).items():
        assert (b"hunter2" in data) == (place == "mien/credentials/password")


def test_a_card_without_secrets_says_nothing_of_them(shop: Workshop) -> None:
    assert not any("secrets" in line for line in render.render(shop.order("pi-4")))


def test_a_fleet_is_one_card_and_a_folder_for_each_device(shop: Workshop, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("anna", "DNS:anna")
    trusted = authority.certificate.read_bytes()
    table = tmp_path / "devices.csv"
    table.write_text("device_id,cert,key\na,anna.pem,anna.key\nb,anna.pem,anna.key\n")
    answers = Answers("fleet", "mqtts://b", files={"ca.pem": trusted}, fleet=fleet(table))
    order = shop.order("pi-4", answers=answers)
    render.render(order)
    assert check.check(order.out) == []
    shared, own = contents(order.out / "card"), contents(order.out / "devices")
    assert own == {
        f"{name}/mien/credentials/{file}": data
        for name in ("a", "b")
        for file, data in (
            ("client.key", key.read_bytes()),
            ("client.pem", certificate.read_bytes()),
            ("device-id", f"{name}\n".encode()),
        )
    }
    assert shared["mien/credentials/ca.pem"] == trusted
    settings = config.load(order.out / "card/mien/mien.toml", {})
    assert settings.mqtt.key_file == "credential:mqtt_client.key"


def test_what_stands_in_the_way_stays_as_it_is(shop: Workshop) -> None:
    order = shop.order()
    order.out.mkdir()
    with pytest.raises(UsageError, match="is there already; name a new folder"):
        render.render(order)
    assert list(order.out.iterdir()) == []


WRONG = [
    ({"board": "pi-6"}, UsageError, "board 'pi-6': there is none"),
    ({"role": "shop"}, UsageError, "role 'shop': there is none"),
    (
        {"image": "buster"},
        UsageError,
        "image 'buster': board pc has none of that name",
    ),
    ({"board": "pi-3", "role": "robot"}, UsageError, "board pi-3 cannot carry the role robot: the"),
    (
        {"board": "pi-4", "image": "ubuntu"},
        UsageError,
        "camera picamera2:0: Ubuntu Server 24.04 .* has no picamera2; give another --camera",
    ),
    (
        {"answers": Answers("lobby", "mqtt://x", cameras=("rtsp://u:hunter2@cam/1",))},
        UsageError,
        "^camera cam/1: its URI holds a user or a password",
    ),
    (
        {"answers": Answers("lobby", "mqtt://x", cameras=("picamera2:zz",))},
        CameraUriError,
        "camera 'picamera2:zz': can name no camera; write it like picamera2:0",
    ),
    (
        {"answers": Answers("lobby", "mqtt://x", cameras=("v4l2:/dev/a", "v4l2:/dev/a"))},
        UsageError,
        "camera v4l2:/dev/a: is named twice",
    ),
    ({"debs": Path("/none")}, UsageError, "--debs /none: no folder"),
    ({"answers": Answers("lobby", "http://x")}, ConfigError, "mqtt.url: broker 'http://x': not an"),
    (
        {"answers": Answers("lobby", "mqtt://x", files={"password": b"p\n"})},
        ConfigError,
        "password_file: whose password",
    ),
    (
        {"answers": Answers("lobby", "mqtt://x", username="u", files={"password": b"p\n"})},
        ConfigError,
        "allow_plaintext_password",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "said"), WRONG)
def test_what_cannot_be_made_is_refused_in_one_line_and_nothing_is_left(
    shop: Workshop, wrong: dict[str, object], error: type[MienError], said: str
) -> None:
    order = shop.order(**wrong)  # type: ignore[arg-type]
    before = sorted(shop.folder.iterdir())
    with pytest.raises(error, match=said) as caught:
        render.render(order)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert sorted(shop.folder.iterdir()) == before


def test_a_wheel_that_is_missing_for_that_python_is_named(shop: Workshop) -> None:
    image = load_board("pi-4").images["bookworm"]
    (shop.wheels / f"numpy-2.0.0-{tag_of(image)}.whl").unlink()
    before = sorted(shop.folder.iterdir())
    with pytest.raises(MienError, match="not the wheel of cp311-aarch64-numpy1: numpy"):
        render.render(shop.order("pi-4", image="bookworm"))
    for file in shop.wheels.glob("numpy-*.whl"):
        file.unlink()
    with pytest.raises(
        MienError, match=r"^numpy 2\.0\.0 for Python 3\.11 on aarch64: the wheel is m"
    ):
        render.render(shop.order("pi-4", image="bookworm"))
    assert sorted(shop.folder.iterdir()) == before


def test_a_wheel_that_was_changed_is_refused(shop: Workshop) -> None:
    image = load_board("pc").images["trixie"]
    (shop.wheels / f"numpy-2.0.0-{tag_of(image)}.whl").write_bytes(b"other")
    with pytest.raises(MienError, match="on x86_64 has another hash"):
        render.render(shop.order("pc"))


def test_a_package_that_the_board_needs_is_named(shop: Workshop, tmp_path: Path) -> None:
    told = render.render(shop.order("pi-5-coral-m2", out=shop.folder / "without"))
    assert any("the image lacks libedgetpu1-std, gasket-dkms: give --debs" in line for line in told)
    with pytest.raises(MienError, match=r"has no libedgetpu1-std_\*\.deb, which this board needs"):
        render.render(shop.order("pi-5-coral-m2", debs=tmp_path))


def test_a_folder_without_packages_is_refused(shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \.deb"):
        render.render(shop.order("pi-4", debs=tmp_path))
    assert not (shop.folder / "out").exists()


def test_the_person_is_told_how_much_room_the_card_takes(shop: Workshop) -> None:
    assert any(
        "the card's files are 1 MB; the boot" in line for line in render.render(shop.order())
    )


def test_a_disk_that_is_full_leaves_nothing_behind(shop: Workshop) -> None:
    """A limit on the size of files is what the kernel offers without a disk of one's own."""
    (shop.wheels / "pip-26.3-py3-none-any.whl").unlink()
    big = wheel(shop.wheels, "pip", "26.3")
    with big.open("ab") as file:
        file.write(bytes(200_000))
    lock = shop.folder / "locks/cp313-x86-64.txt"
    digest = hashlib.sha256(big.read_bytes()).hexdigest()
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("pip==")]
    lock.write_text("\n".join([*lines, f"pip==26.3 --hash=sha256:{digest}\n"]))
    before = sorted(shop.folder.iterdir())
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from firmware_configs import __main__, wheelhouse\n"
        f"wheelhouse.LOCKS = Path({str(lock.parent)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    command = [
        *("render", "--board", "pc", "--role", "kiosk", "--device-id", "lobby"),
        *("--broker", "mqtt://10.0.0.5", "--out", str(shop.folder / "out")),
        *("--wheelhouse", str(shop.wheels), "--mien", str(shop.mien)),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert (
        done.stderr == f"mien-flash: {shop.folder / 'out'}: File too large; nothing was written\n"
    )
    assert sorted(shop.folder.iterdir()) == before


def test_every_lock_has_a_pip_and_a_runtime_and_fits_its_image() -> None:
    for image in images():
        text = (Path(render.__file__).parent / f"locks/{image.lock}.txt").read_text()
        assert "\npip==" in text
        assert f"\n{image.library}==" in text
        assert ("\nopencv-python-headless==" in text) == ("python3-opencv" not in image.packages)
        assert ("\ntomli==" in text) == (image.python == "3.10")
        numpy = text.partition("\nnumpy==")[2].partition(".")[0]
        assert (numpy == "1") == any(
            each.startswith("numpy>=1.23,<2") for each in image.requirements
        )


def test_the_card_says_what_it_is(shop: Workshop) -> None:
    order = shop.order("jetson-orin", "robot")
    render.render(order)
    manifest = json.loads((order.out / "mien/card.json").read_text())
    assert manifest["board"] == "jetson-orin"
    assert manifest["python"] == "3.10"
    assert manifest["nvpmodel"] == "15W"
    notes = (order.out / "mien/NOTES.txt").read_text()
    assert "extlinux.conf" in notes
    assert "never tried on this board" in notes
