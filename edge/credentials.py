"""Secrets that the service manager hands over: systemd's credentials.

A setting that names a file may name `credential:NAME` instead: the file NAME in the folder that
systemd made for this process alone (`LoadCredential=` of the unit, `CREDENTIALS_DIRECTORY` here).
The secret then lies where only root can read it, and reaches the daemon without a command line, an
environment or a group that others are in.

https://systemd.io/CREDENTIALS/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError

SCHEME = "credential:"
FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"


def check(setting: str) -> None:
    """Refuse a `credential:NAME` that can name none; any other setting is a file's name.

    Raises
    ------
    ConfigError
        NAME is empty, or would lead out of the folder.
    """
    name = setting.removeprefix(SCHEME)
    if setting.startswith(SCHEME) and (name in {"", ".", ".."} or "/" in name or "\0" in name):
        raise ConfigError(f"{setting}: names no credential; write {SCHEME}mqtt_password")


def located(setting: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file that a setting names.

    Raises
    ------
    ConfigError
        It is a credential, and the service manager did not hand it over.
    """
    if not setting.startswith(SCHEME):
        return Path(setting)
    check(setting)
    folder = environ.get(FOLDER_VARIABLE)
    if not folder:
        raise ConfigError(
            f"{setting}: there are no credentials here; the systemd unit is given them, a program "
            "started by hand needs the name of a file"
        )
    file = Path(folder, setting.removeprefix(SCHEME))
    if not file.exists():
        known = ", ".join(sorted(each.name for each in Path(folder).iterdir())) or "none"
        raise ConfigError(
            f"{setting}: not among the credentials that the unit was started with ({known}); put "
            "it where the unit's LoadCredential= looks, and restart"
        )
    return file
