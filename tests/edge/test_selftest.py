"""A device that is well passes, one that is not says where, and the report is always whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from edge import schema, selftest
from edge.boards import UNKNOWN
from edge.errors import MienError, UsageError
from edge.payloads import SelfTest, SelfTestCheck
from edge.pipeline import load_models
from edge.selftest import Group, examined, summed_up
from edge.selftest.subject import Subject, at_least, at_most, said
from edge.settings import Emotion, Settings, Spool

MODELS = load_models(Settings())
SUBJECT = Subject(Settings(), UNKNOWN, None)
SLOW = ("idle", "busy", "memory", "camera", "broker")


def well(_: Subject) -> Iterator[SelfTestCheck]:
    yield said("well", "passed", "")


def broken(_: Subject) -> Iterator[SelfTestCheck]:
    yield said("before", "passed", "")
    raise MienError("it is not there")


def unplugged(_: Subject) -> Iterator[SelfTestCheck]:
    raise OSError(5, "Input/output error")
    yield  # what makes it a generator


def verdicts(checks: list[SelfTestCheck]) -> dict[str, str]:
    return {check.name: check.verdict for check in checks}


def test_before_it_is_ready_a_device_looks_at_itself_in_five_seconds(tmp_path: Path) -> None:
    settings = Settings(spool=Spool(path=str(tmp_path)))
    found = selftest.at_boot(settings, MODELS, "b00t")
    assert found.took_s < selftest.BOOT_BUDGET_S
    assert (found.scope, found.boot_id) == ("boot", "b00t")
    names = {check.name for check in found.checks}
    assert {"bundles", "golden-head", "clock", "spool-room", "latency-boot-total"} <= names
    assert not {name for name in names if name.startswith(("latency-busy", "memory", "camera"))}
    assert not names & {"temperature", "throttling"}, "health has them, as they are now"
    assert not [check for check in found.checks if check.verdict == "failed"]


def test_the_report_is_what_its_schema_says() -> None:
    found = selftest.at_boot(Settings(), MODELS, "b00t")
    payload = json.loads(msgspec.json.encode(found))
    assert payload["schema"] == "mien-selftest/1"
    Draft202012Validator(json.loads(schema.text("selftest"))).validate(payload)
    assert msgspec.json.decode(msgspec.json.encode(found), type=SelfTest) == found


def test_what_cannot_be_got_to_has_failed_and_the_rest_is_looked_at() -> None:
    groups = [Group("broken", broken), Group("unplugged", unplugged), Group("well", well)]
    checks = list(examined(SUBJECT, groups))
    assert verdicts(checks) == {
        "before": "passed", "broken": "failed", "unplugged": "failed", "well": "passed",
    }  # fmt: skip
    assert "it is not there" in [check.text for check in checks]
    assert summed_up(SUBJECT, checks, begun_s=0.0).verdict == "failed"


def test_what_only_warns_or_is_skipped_passes() -> None:
    checks = [said("clock", "warned", ""), said("edgetpu", "skipped", "")]
    assert summed_up(SUBJECT, checks, begun_s=0.0).verdict == "passed"


def test_what_there_is_no_time_for_is_skipped_not_waited_for() -> None:
    checks = list(examined(SUBJECT, [Group("well", well)], until_s=time.monotonic() - 1.0))
    assert verdicts(checks) == {"well": "skipped"}


def test_a_bundle_that_cannot_be_loaded_is_a_failed_check_like_any_other() -> None:
    settings = Settings(emotion=Emotion(bundle="absent"))
    found = selftest.full(settings, skip=["camera", "broker"])
    checks = {check.name: check for check in found.checks}
    assert checks["bundles"].verdict == "failed"
    assert "absent" in checks["bundles"].text
    assert "clock" in checks
    assert "golden-head" not in checks


def test_groups_can_be_left_out_by_name() -> None:
    found = selftest.full(Settings(), skip=(*SLOW, "golden"))
    assert {check.name for check in found.checks} == {
        "bundles", "clock", "temperature", "throttling", "spool-writable", "edgetpu",
    }  # fmt: skip
    assert found.scope == "full"
    assert found.boot_id is None


def test_a_group_that_does_not_exist_is_a_user_s_mistake() -> None:
    with pytest.raises(UsageError, match=r"--skip speed: no such group; the groups are bundles"):
        selftest.full(Settings(), skip=["speed"])


def test_a_number_is_held_against_its_budget() -> None:
    assert at_most("a", 2.0, 2.0, "ms", cure="cool it").verdict == "passed"
    over = at_most("a", 2.1, 2.0, "ms", cure="cool it")
    assert (over.verdict, over.text) == ("failed", "cool it")
    assert at_least("a", 2.0, 2.0, "MB", cure="free some").verdict == "passed"
    under = at_least("a", 1.9, 2.0, "MB", cure="free some")
    assert (under.verdict, under.text) == ("failed", "free some")
