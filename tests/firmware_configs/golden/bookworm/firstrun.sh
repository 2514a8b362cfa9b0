#!/bin/sh
# Made by mien-flash render. Raspberry Pi Imager names it on the kernel's command line:
#   rpi-imager --cli --first-run-script firstrun.sh IMAGE DEVICE
set -eu
units=/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
cat > "$units/mien-setup.service" <<'UNIT'
[Unit]
Description=Set this device up for Mien, from its card
ConditionPathExists=!/opt/mien-versions/done
RequiresMountsFor=/boot/firmware

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B /boot/firmware/mien/setup
TimeoutStartSec=1h
# What went wrong may be gone in a while, and nobody comes to try again.
Restart=on-failure
RestartSec=5min
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
UNIT
ln -sf ../mien-setup.service "$units/multi-user.target.wants/mien-setup.service"
id anna >/dev/null 2>&1 || useradd --create-home --shell /bin/bash anna
usermod --append --groups adm,sudo anna
mkdir -p /home/anna/.ssh
cat > /home/anna/.ssh/authorized_keys <<'KEYS'
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample anna@desk
KEYS
chmod 700 /home/anna/.ssh
chown -R anna: /home/anna/.ssh
echo 'anna ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/010_mien
chmod 440 /etc/sudoers.d/010_mien
systemctl enable ssh
sync
for boot in /boot/firmware /boot; do
    if [ -f "$boot/cmdline.txt" ]; then
        sed -i 's/ systemd\.[^ ]*//g' "$boot/cmdline.txt"
        # Never a command line on the disk that names a script which is not.
        sync
        rm -f "$boot/firstrun.sh"
    fi
done
