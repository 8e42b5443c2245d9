"""Audit logs made up for tests: entries an hour apart, and the events that the loop leaves."""

from datetime import UTC, datetime, timedelta

from bloodyspy.promotion.audit import Entry, chained
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Cause, DataVersioned, Decided, Event, Released, Trained
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, LoopOutcome, Trigger

START = datetime(2026, 11, 23, tzinfo=UTC)
DATA, NEWER = "d" * 32, "e" * 32


def entries(*events: Event) -> list[Entry]:
    made: list[Entry] = []
    for number, event in enumerate(events):
        made.append(chained(event, made[-1] if made else None, "anna", START + timedelta(hours=number)))
    return made


def trained(data_version: str = DATA, run_id: str = "r1") -> Trained:
    return Trained(
        candidate="tiny",
        run_id=run_id,
        network="1" * 64,
        git_commit="c" * 40,
        data_version=data_version,
        manifest_digest="2" * 64,
    )


def released(version: int, previous: int | None, cause: Cause = Cause.PROMOTION) -> Released:
    return Released(
        cause=cause,
        version=version,
        artefact_digest=f"{version:064x}",
        run_id=f"r{version}",
        previous=previous,
        reason="it is better",
        golden="0" * 64,
        files={},
        seconds=1,
    )


def decided(version: int, outcome: Outcome) -> Decided:
    return Decided(
        version=version,
        artefact_digest=f"{version:064x}",
        champion=1,
        outcome=outcome,
        test_digest="3" * 64,
        decision_digest=f"{version:064x}",
        summary=f"Version {version} was {outcome}.",
    )


def versioned(data_version: str) -> DataVersioned:
    return DataVersioned(data_version=data_version, sources=("labels",), images=300, synthetic=True)


def begun(key: str = "a reason", trigger: Trigger = Trigger.LABELS) -> LoopBegun:
    return LoopBegun(trigger=trigger, key=key, reason="enough labels", data_version=DATA, champion=1)


def ended(key: str, outcome: LoopOutcome = LoopOutcome.PROMOTED, data_version: str = DATA) -> LoopEnded:
    return LoopEnded(key=key, outcome=outcome, data_version=data_version, summary="so it was")
