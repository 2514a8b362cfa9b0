"""What an installation would do, as a value: nothing here touches a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import config
from edge.errors import MienError, UsageError
from edge.install import plan, shipped
from edge.install.network import Reach
from edge.install.place import Place, find
from edge.install.plan import Command, Folder, Plan, Purge, Remove, Write
from edge.install.shipped import File
from edge.settings import Settings, Spool

PROGRAM = Path("/srv/mien/bin/mien")
Machine = dict[Path, str]


@pytest.fixture
def system() -> Place:
    return find("system", Path("/"), {})


@pytest.fixture
def login() -> Place:
    return find("user", Path("/"), {"HOME": "/home/joe", "XDG_RUNTIME_DIR": "/run/user/1000"})


def wanted(place: Place) -> list[File]:
    files = [*shipped.support(place), *shipped.units(place, PROGRAM)]
    if place.scope == "system":
        files.append(shipped.drop_in(place, Settings(), Reach((), "localhost")))
    return files


def after(made: Plan, place: Place) -> Machine:
    """The machine as it is when a plan was done."""
    machine = {each.path: each.text for each in made.actions if isinstance(each, Write)}
    machine |= {each.path: "" for each in made.actions if isinstance(each, Folder)}
    units = [path.name for path in machine if path.suffix in {".service", ".timer"}]
    machine |= {place.at(place.link(unit)): "" for unit in units}
    if place.scope == "system":
        machine[place.at(Path("/etc/passwd"))] = "root:x:0:0::/root:/bin/sh\nmien:x:9:9::/:/bin/no"
    return machine


def commands(made: Plan) -> list[str]:
    return [" ".join(each.argv) for each in made.actions if isinstance(each, Command)]


def installed(place: Place, machine: Machine | None = None, *, start: bool = True) -> Plan:
    example = File(place.config_file, "example", "why", mode=0o640)
    return plan.install(place, wanted(place), example, (machine or {}).get, start=start)


def uninstalled(place: Place, machine: Machine, *, purge: bool = False) -> Plan:
    paths = [file.path for file in wanted(place)]
    return plan.uninstall(place, paths, machine.get, purge=purge)


def test_everything_is_written_before_anybody_reads_it(system: Place) -> None:
    made = installed(system)
    kinds = [isinstance(each, Command) for each in made.actions]
    assert kinds == sorted(kinds)
    assert [command for command in commands(made) if "timer" not in command][:3] == [
        "systemd-sysusers mien.conf",
        "systemd-tmpfiles --create mien.conf",
        "systemctl daemon-reload",
    ]
    assert commands(made)[-2].startswith("systemctl enable mien")
    assert commands(made)[-1].startswith("systemctl restart mien")


def test_the_second_time_there_is_nothing_to_do(system: Place, login: Place) -> None:
    for place in (system, login):
        machine = after(installed(place), place)
        again = installed(place, machine)
        assert again.actions == ()
        assert "all is in place" in str(again)


def test_a_unit_that_was_disabled_is_enabled_again(system: Place) -> None:
    machine = after(installed(system), system)
    del machine[system.link("mien.service")]
    made = installed(system, machine)
    assert not any(isinstance(each, Write) for each in made.actions)
    assert any(command.startswith("systemctl enable") for command in commands(made))


def test_what_was_there_before_is_not_undone_with_what_failed(system: Place) -> None:
    def undone(made: Plan) -> list[str]:
        undos = [each.undo for each in made.actions if isinstance(each, Command)]
        return [" ".join(undo[:2]) for undo in undos if undo]

    assert undone(installed(system)) == ["userdel mien", "systemctl disable"]
    machine = after(installed(system), system) | {system.drop_in: "older"}
    assert undone(installed(system, machine)) == []


def test_only_what_differs_is_written(system: Place) -> None:
    machine = after(installed(system), system)
    machine[system.drop_in] = "older"
    written = [each.path for each in installed(system, machine).actions if isinstance(each, Write)]
    assert written == [system.drop_in]


def test_a_configuration_that_is_there_is_left_alone(system: Place) -> None:
    made = installed(system, {system.config_file: "mine"})
    assert system.config_file not in [each.path for each in made.actions if isinstance(each, Write)]


def test_secrets_have_a_folder_that_only_root_can_enter(system: Place) -> None:
    assert [each.mode for each in installed(system).actions if isinstance(each, Folder)] == [0o700]


def test_without_a_camera_it_is_enabled_but_not_started(system: Place) -> None:
    made = installed(system, start=False)
    assert not any("restart" in command for command in commands(made))
    assert "not started: name camera and broker in /etc/mien/mien.toml" in str(made)


def test_a_system_in_a_folder_is_not_started_and_nobody_here_is_told(tmp_path: Path) -> None:
    place = find("system", tmp_path, {})
    made = installed(place)
    assert all(
        f"--root={tmp_path}" in command or "--prefix" in command for command in commands(made)
    )
    assert not any("reload" in command or "restart" in command for command in commands(made))
    assert made.settle == ()
    assert made.notes == ("it starts when that system does",)
    assert installed(place, after(made, place)).notes == ("all is in place",)
    written = [each.path for each in made.actions if isinstance(each, Write | Folder)]
    assert all(path.is_relative_to(tmp_path) for path in written)


def test_udev_is_told_where_there_is_one(system: Place) -> None:
    assert not any("udevadm" in command for command in commands(installed(system)))
    told = commands(installed(system, {Path("/run/udev/control"): ""}))
    assert "udevadm control --reload" in told


def test_a_login_needs_nothing_of_roots(login: Place) -> None:
    made = installed(login)
    paths = [each.path for each in made.actions if isinstance(each, Write | Folder)]
    assert all(path.is_relative_to("/home/joe") for path in paths)
    assert all(command.startswith("systemctl --user") for command in commands(made))


def test_what_was_installed_is_taken_away_and_what_is_the_owners_stays(system: Place) -> None:
    machine = after(installed(system), system) | {Path("/var/lib/mien"): "", Path("/etc/mien"): ""}
    made = uninstalled(system, machine)
    removed = [each for each in made.actions if isinstance(each, Remove)]
    assert {each.path for each in removed} == {file.path for file in wanted(system)}
    emptied = {str(each.path.parent) for each in removed if each.folder}
    assert emptied == {"/etc/sysusers.d", "/etc/systemd/system/mien.service.d"}
    assert commands(made)[0].startswith("systemctl disable --now mien")
    assert commands(made)[-1] == "systemctl daemon-reload"
    assert made.notes == ("/etc/mien, /var/lib/mien, the user mien stay; --purge removes them",)


def test_purged_last_of_all_are_configuration_state_and_user(system: Place) -> None:
    machine = after(installed(system), system) | {Path("/var/lib/mien"): "", Path("/etc/mien"): ""}
    made = uninstalled(system, machine, purge=True)
    assert made.actions[-3:-1] == (Purge(Path("/etc/mien")), Purge(Path("/var/lib/mien")))
    assert commands(made)[-1] == "userdel mien"
    assert made.notes == ()


def test_where_nothing_is_there_is_nothing_to_take_away(system: Place) -> None:
    made = uninstalled(system, {}, purge=True)
    assert made.actions == ()
    assert made.notes == ("nothing is installed here",)


def test_a_plan_is_said_in_a_line_for_each_step(system: Place) -> None:
    lines = str(installed(system)).splitlines()
    assert (
        "write   /etc/systemd/system/mien.service: Mien expression recognition, /srv/mien/bin/mien"
    ) in lines
    assert "make    /etc/mien/credentials: the broker's secrets, each a file" in lines
    assert "run     systemctl daemon-reload: read what is new" in lines


def test_every_unit_starts_the_program_of_this_environment(system: Place, login: Place) -> None:
    for place in (system, login):
        units = {file.path.name: file.text for file in shipped.units(place, PROGRAM)}
        assert f"ExecStart={PROGRAM} run" in units["mien.service"]
        assert not any(shipped.PROGRAM in text for text in units.values())


def test_a_spool_elsewhere_may_be_written_to(system: Place) -> None:
    def text(path: str) -> str:
        settings = Settings(spool=Spool(path=path))
        return shipped.drop_in(system, settings, Reach((), "localhost")).text

    assert "ReadWritePaths=-/srv/spool\n" in text("/srv/spool")
    assert "ReadWritePaths" not in text("/var/lib/mien/spool")
    assert "ReadWritePaths" not in text("/run/mien/spool")
    with pytest.raises(UsageError, match="a unit file cannot name it as it is"):
        text("/srv/my spool")


def test_the_example_takes_the_cameras_and_the_broker_that_were_told(system: Place) -> None:
    uris = ["v4l2:/dev/v4l/by-id/a\\b", 'rtsp://u:p"w@10.0.0.7/a']
    file = shipped.configuration(system, uris, "mqtts://hub")
    settings = config.loads(file.text, source="example")
    assert [camera.uri for camera in settings.camera] == uris
    assert [camera.name for camera in settings.camera] == ["camera", "camera-2"]
    assert settings.mqtt.url == "mqtts://hub"
    assert "# unique; one level of an MQTT topic" in file.text
    assert file.mode == 0o640


@pytest.mark.parametrize("folder", ["/home/joe/env", "/root/env", "/tmp/env"])  # noqa: S108
def test_a_program_that_the_unit_cannot_see_is_refused(
    folder: str, system: Place, login: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: folder)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    with pytest.raises(MienError, match=f"{folder}/mien: the unit cannot see"):
        shipped.program(system)
    assert shipped.program(login) == Path(folder, "mien")


def test_a_checkout_is_no_installation(system: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(MienError, match="/nowhere/mien: no such program; install Mien with pip"):
        shipped.program(system)


def test_a_system_in_a_folder_starts_its_own_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = find("system", tmp_path, {})
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/srv/elsewhere/bin")
    with pytest.raises(MienError, match=f"{tmp_path}/opt/mien/bin/mien: no such program"):
        shipped.program(place)
    for folder in ("opt/mien/bin", "usr/local/mien/bin"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mien").touch()
    assert shipped.program(place) == Path("/opt/mien/bin/mien")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path / "usr/local/mien/bin"))
    assert shipped.program(place) == Path("/usr/local/mien/bin/mien")


def test_a_login_is_of_no_other_system(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--root: a login is of the system that runs"):
        find("user", tmp_path, {})
    with pytest.raises(UsageError, match="no such folder"):
        find("system", tmp_path / "gone", {})
