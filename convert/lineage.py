"""Where weights come from: the trainings that a network started or learned from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convert import recipe, weights
from convert.run import Ancestor, TrainingRecord, read_record, sha256_of


def ancestors(networks: Iterable[Path]) -> tuple[Ancestor, ...]:
    """Return the trainings that made some networks, and their ancestors, oldest first.

    Parameters
    ----------
    networks
        Files. Of one that is `frame.keras` in a run folder, the record beside it tells; of any
        other nothing is known.

    Raises
    ------
    RunError
        A network is missing, or a record damaged.
    """
    found: dict[str, Ancestor] = {}
    for network in networks:
        sha256 = sha256_of(network)
        file = network.parent / "frame.json"
        if network.name != "frame.keras" or not file.exists():
            continue
        record = read_record(file, TrainingRecord, made_by="train")
        found |= {each.sha256: each for each in record.ancestors}
        found[sha256] = Ancestor(
            sha256=sha256,
            options=options(record) + _stopped(record),
            data_sha256=record.data_sha256,
            seconds=round(record.seconds),
        )
    return tuple(found.values())


def _stopped(record: TrainingRecord) -> str:
    """Return, as a comment of the shell, that a run was not finished, where it was not."""
    done = len(record.epochs)
    return f"  # stopped after epoch {done}" if done < int(record.settings["epochs"]) else ""


def options(record: TrainingRecord) -> str:
    """Return the options of `mien-convert train` that made a network; see `recipe.options`."""
    return recipe.options(record.settings, weights.name_of(str(record.settings.get("start", ""))))


def parents(record: TrainingRecord) -> tuple[str, ...]:
    """Return the sha256 of each network that a training itself started or learned from."""
    teachers = str(record.settings.get("teachers", "")).split()
    return tuple(filter(None, [str(record.settings.get("start", "")), *teachers]))
