"""What `convert.quality_bench` measured, in tables."""

from __future__ import annotations

from convert import report
from convert.quality_bench import QualityBench, Spoilt
from convert.report import percent

_UNITS = {
    "side_pixels": "side, pixels",
    "sharpness": "sharpness",
    "light": "light",
    "contrast": "contrast",
    "yaw_degrees": "degrees aside",
}


def tables(found: QualityBench) -> str:
    """Return a table for each way, and the limits that come of them."""
    what = (
        f"{found.data.name}, {found.data.split}: {found.tiles} faces, answered by the frame model "
        f"of {found.bundle} alone (temperature {found.temperature:.3f}), `unsure` below "
        f"{found.abstain_below:g}; refused is by the device's default limits"
    )
    title = f"# How poor a look may be: {found.bundle}"
    return "\n\n".join([title, what, *(_way(each) for each in found.spoilt), _limits(found)])


def _way(each: Spoilt) -> str:
    rows = [
        [
            step.says,
            str(step.looks),
            f"{step.value:.3g}",
            percent(step.accuracy),
            percent(step.answered),
            percent(step.right),
            percent(step.refused),
        ]
        for step in each.steps
    ]
    head = [each.name, "looks", _UNITS[each.measure], "right", "answered", "of those", "refused"]
    return report.table(head, rows)


def _limits(found: QualityBench) -> str:
    rows = []
    for each in found.spoilt:
        name = f"{each.sense}_{each.measure}"
        measured = "none" if each.limit is None else f"{each.limit:.3g}"
        rows.append([each.name, name, measured, f"{getattr(found.allowed, name):g}"])
    return report.table(["limits", "setting", "measured", "default"], rows)
