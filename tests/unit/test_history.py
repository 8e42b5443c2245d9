"""What the audit log says of releases, told by made-up logs."""

from datetime import UTC, datetime, timedelta

import pytest

from bloodyspy.promotion.audit import Entry, chained
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Approved, Cause, Decided, Event, ReleaseBegun, Released
from bloodyspy.promotion.history import answered, live, open_release, standing, withdrawn

DAY = datetime(2026, 11, 23, tzinfo=UTC)


def released(version: int, cause: Cause, previous: int | None) -> Released:
    return Released(
        cause=cause,
        version=version,
        artefact_digest=f"{version:064x}",
        run_id="r",
        previous=previous,
        reason=f"to {version}",
        golden="0" * 64,
        files={},
        seconds=1,
    )


def log(*steps: int, first: int | None = None) -> list[Entry]:
    """Releases one after the other; a negative number is a rollback to that version."""
    events: list[Event] = []
    for step in steps:
        previous = events[-1].version if events else first
        events.append(released(abs(step), Cause.ROLLBACK if step < 0 else Cause.PROMOTION, previous))
    return entries(*events)


def entries(*events: Event) -> list[Entry]:
    made: list[Entry] = []
    for number, event in enumerate(events):
        made.append(chained(event, made[-1] if made else None, "anna", DAY + timedelta(hours=number)))
    return made


@pytest.mark.parametrize(
    ("steps", "pile"),
    [
        ((), []),
        ((1,), [1]),
        ((1, 2, 3), [1, 2, 3]),
        ((1, 2, 3, -2), [1, 2]),
        ((1, 2, 3, -2, -1), [1]),
        ((1, 2, 3, -1), [1]),
        ((1, 2, -1, 3), [1, 3]),
        ((1, 2, -1, -2), [1, 2]),  # it was the microscope
        ((1, 2, 3, -2, 4, -3), [1, 2, 3]),  # 4 was worse than the 3 that had been taken off
        ((1, 1, 2, 2), [1, 2]),  # told again
        ((4, 3, -4), [4]),  # 3 is the recipe of before, registered before 4
        ((4, 3, -4, -3), [4, 3]),
        ((1, 2, 1, -2), [1, 2]),
    ],
)
def test_what_a_rollback_goes_back_to(steps: tuple[int, ...], pile: list[int]) -> None:
    assert standing(log(*steps)) == pile


def test_who_answered_before_there_was_a_log_can_answer_again() -> None:
    assert standing(log(6, first=5)) == [5, 6]


@pytest.mark.parametrize(
    ("steps", "gone"),
    [
        ((1, 2), []),
        ((1, 2, -1), [2]),
        ((1, 2, -1, -2), []),
        ((1, 2, -1, 3), [2]),
        ((1, 2, -1, 2), []),
        ((4, 3, -4), [3]),
    ],
)
def test_only_what_was_left_for_an_older_one_is_withdrawn(steps: tuple[int, ...], gone: list[int]) -> None:
    assert [version for version in (1, 2, 3) if withdrawn(version, log(*steps))] == gone


def test_a_release_is_open_until_it_is_finished() -> None:
    begun = ReleaseBegun(cause=Cause.PROMOTION, version=1, artefact_digest="0" * 64, previous=None, reason="r")
    found = open_release(entries(begun))
    assert found is not None
    assert found[1] == begun
    assert open_release(entries(begun, released(1, Cause.PROMOTION, None))) is None


def test_the_reasons_are_those_of_the_release() -> None:
    """Not a refusal that came later, nor an approval of another decision."""

    def decided(outcome: Outcome, digest: str) -> Decided:
        return Decided(
            version=1,
            artefact_digest=f"{1:064x}",
            champion=None,
            outcome=outcome,
            test_digest="d" * 64,
            decision_digest=digest * 64,
            summary=str(outcome),
        )

    def answer(digest: str, approved: bool) -> Approved:
        return Approved(
            version=1,
            artefact_digest=f"{1:064x}",
            decision_digest=digest * 64,
            approved=approved,
            approver="anna",
            reason="r",
        )

    told = entries(
        decided(Outcome.PROMOTED, "a"),
        answer("b", True),
        answer("a", True),
        answer("a", False),
        released(1, Cause.PROMOTION, None),
        released(2, Cause.PROMOTION, 1),
        decided(Outcome.REFUSED, "c"),
        released(1, Cause.ROLLBACK, 2),
    )
    found = answered(told)
    assert found is not None
    assert (found.release.version, found.decision, found.approval) == (1, told[0].event, told[2].event)
    assert live(told, told[5].time) == (told[5], told[5].event)
