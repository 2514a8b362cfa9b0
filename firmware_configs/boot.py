"""What an image reads at its first boot: cloud-init's three files, or a script for older images."""

from __future__ import annotations

import json
import re
import textwrap

from firmware_configs.answers import Admin, Answers, Wifi
from firmware_configs.board import Board, Image
from firmware_configs.device.card import FLEET, SERIAL
from firmware_configs.system import setup_unit

INSTANCE = "mien"
"""cloud-init's name for the device: the same on every card, or an update would be a new machine."""

NETPLAN, NETWORK_MANAGER, COUNTRY = "wifi.yaml", "wifi.nmconnection", "wifi-country.conf"
NETWORKS: dict[str, tuple[dict[str, str], list[str]]] = {
    "cloud-init": ({NETPLAN: "etc/netplan/60-mien-wifi.yaml"}, ["netplan", "apply"]),
    "firstrun": (
        {
            NETWORK_MANAGER: "etc/NetworkManager/system-connections/mien-wifi.nmconnection",
            COUNTRY: "etc/modprobe.d/mien-wifi-country.conf",
        },
        ["nmcli", "connection", "reload"],
    ),
}
NETWORKS["by-hand"] = NETWORKS["firstrun"]
"""For each way of booting: where the files of a wireless network go, and what takes them in."""

_NOT_IN_HOST_NAMES = re.compile(r"[^a-z0-9-]+")


def files(board: Board, image: Image, answers: Answers) -> dict[str, str]:
    """Return the files for the top of the boot partition, by name."""
    if image.boot == "cloud-init":
        return {
            "user-data": user_data(board, image, answers),
            "meta-data": f"instance-id: {INSTANCE}\ndsmode: local\n",
            "network-config": NETWORK_CONFIG,
        }
    return {"firstrun.sh": firstrun(image, answers.admin)} if image.boot == "firstrun" else {}


NETWORK_CONFIG = """\
# Cable, if there is one; nothing waits for it. A wireless network comes from mien/credentials.
version: 2
ethernets:
  cable:
    match:
      name: "e*"
    dhcp4: true
    dhcp6: true
    optional: true
"""


def user_data(board: Board, image: Image, answers: Answers) -> str:
    """Return cloud-init's user-data.

    What has to be done is begun by `bootcmd`, the one list that is run at every boot: where the
    power was cut it begins anew, and once all is done the unit's condition says so.
    """
    script = (
        "mkdir -p /run/systemd/system\n"
        "cat > /run/systemd/system/mien-setup.service <<'UNIT'\n"
        f"{setup_unit(image)}UNIT\n"
        "systemctl daemon-reload\n"
        "systemctl start --no-block mien-setup.service\n"
    )
    lines = [
        "#cloud-config",
        f"# {board.title}. Made by mien-flash render; mien-flash check says whether it is valid.",
        *_host_name(answers.device_id),
        "ssh_pwauth: false",
        *_users(answers.admin),
        "bootcmd:",
        "  - |",
        textwrap.indent(script, "    ").rstrip("\n"),
    ]
    return "\n".join(lines) + "\n"


def firmware(board: Board, image: Image) -> dict[str, str]:
    """Return what a Pi's firmware and kernel have to be told; the setup adds it to their files."""
    accelerator = board.accelerator
    lines = [*board.camera.config_txt, *(accelerator.config_txt if accelerator else ())]
    files = {"config.txt": "\n".join(["[all]", *lines, ""])} if lines else {}
    return {**files, **({"cmdline.txt": f"{' '.join(image.cmdline)}\n"} if image.cmdline else {})}


def _host_name(device_id: str) -> list[str]:
    name = _NOT_IN_HOST_NAMES.sub("-", device_id.lower()).strip("-")
    return [] if device_id in {SERIAL, FLEET} or not name else [f"hostname: {json.dumps(name)}"]


def _users(admin: Admin | None) -> list[str]:
    if admin is None:
        # The image's own user, with a locked password; an empty list is against the schema.
        return []
    return [
        "users:",
        f"  - name: {json.dumps(admin.name)}",
        "    shell: /bin/bash",
        '    groups: "adm,sudo"',
        '    sudo: "ALL=(ALL) NOPASSWD:ALL"',
        "    lock_passwd: true",
        "    ssh_authorized_keys:",
        *(f"      - {json.dumps(key)}" for key in admin.keys),
        "runcmd:",
        "  - [systemctl, enable, --now, ssh]",
    ]


def firstrun(image: Image, admin: Admin | None) -> str:
    """Return the script that Raspberry Pi Imager has systemd run before all else, once.

    It may be cut off and run again; what ends it, the kernel's command line, is its last step.
    """
    return f"""\
#!/bin/sh
# Made by mien-flash render. Raspberry Pi Imager names it on the kernel's command line:
#   rpi-imager --cli --first-run-script firstrun.sh IMAGE DEVICE
set -eu
units=/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
cat > "$units/mien-setup.service" <<'UNIT'
{setup_unit(image)}UNIT
ln -sf ../mien-setup.service "$units/multi-user.target.wants/mien-setup.service"
{_login(admin)}sync
for boot in {image.mount} /boot; do
    if [ -f "$boot/cmdline.txt" ]; then
        sed -i 's/ systemd\\.[^ ]*//g' "$boot/cmdline.txt"
        # Never a command line on the disk that names a script which is not.
        sync
        rm -f "$boot/firstrun.sh"
    fi
done
"""


def _login(admin: Admin | None) -> str:
    if admin is None:
        return ""
    keys = "\n".join(admin.keys)
    return f"""\
id {admin.name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {admin.name}
usermod --append --groups adm,sudo {admin.name}
mkdir -p /home/{admin.name}/.ssh
cat > /home/{admin.name}/.ssh/authorized_keys <<'KEYS'
{keys}
KEYS
chmod 700 /home/{admin.name}/.ssh
chown -R {admin.name}: /home/{admin.name}/.ssh
echo '{admin.name} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/010_mien
chmod 440 /etc/sudoers.d/010_mien
systemctl enable ssh
"""


def wireless(image: Image, wifi: Wifi) -> dict[str, bytes]:
    """Return the files of a wireless network by their names among the credentials."""
    if NETPLAN in NETWORKS[image.boot][0]:
        return {NETPLAN: _netplan(wifi).encode()}
    return {
        NETWORK_MANAGER: _network_manager(wifi).encode(),
        # NetworkManager knows of no country; the kernel takes it from here at its next start.
        COUNTRY: f"options cfg80211 ieee80211_regdom={wifi.country}\n".encode(),
    }


def _netplan(wifi: Wifi) -> str:
    return f"""\
network:
  version: 2
  wifis:
    wlan0:
      dhcp4: true
      dhcp6: true
      optional: true
      regulatory-domain: {json.dumps(wifi.country)}
      access-points:
        {json.dumps(wifi.ssid)}:
          auth:
            key-management: psk
            password: "{wifi.key}"
"""


def _network_manager(wifi: Wifi) -> str:
    # A list of bytes is the one way to write a name that no character in it can break.
    ssid = "".join(f"{byte};" for byte in wifi.ssid.encode())
    return f"""\
[connection]
id=mien-wifi
type=wifi
autoconnect=true

[wifi]
mode=infrastructure
ssid={ssid}

[wifi-security]
key-mgmt=wpa-psk
psk={wifi.key}

[ipv4]
method=auto

[ipv6]
method=auto
"""
