"""Whose word lets a version answer, told by made-up logs: of one decision, about one artefact, and the newest."""

from datetime import UTC, datetime

from bloodyspy.promotion.approval import answer_to, answers, decided, digest_of, is_recorded, is_stale, stands
from bloodyspy.promotion.audit import Entry, chained
from bloodyspy.promotion.decision import Decision, Outcome
from bloodyspy.promotion.events import Approved, Cause, Event, Released

OURS, OTHERS = "a" * 64, "b" * 64
"""Artefacts."""


def decision(version: int = 2, outcome: Outcome = Outcome.PROMOTED) -> Decision:
    return Decision(
        outcome=outcome,
        summary=f"Version {version} was {outcome}.",
        criteria=(),
        challenger=version,
        champion=1,
        images=100,
        test_digest="d" * 64,
        synthetic=True,
    )


def said(by: str, approved: bool = True, artefact: str = OURS) -> Approved:
    return Approved(
        version=2,
        artefact_digest=artefact,
        decision_digest=digest_of(decision()),
        approved=approved,
        approver=by,
        reason="seen the card",
    )


def released(version: int) -> Released:
    return Released(
        cause=Cause.PROMOTION,
        version=version,
        artefact_digest=OURS,
        run_id="r",
        previous=None,
        reason="r",
        golden="0" * 64,
        files={},
        seconds=0,
    )


def log(*events: Event) -> list[Entry]:
    made: list[Entry] = []
    for event in events:
        made.append(chained(event, made[-1] if made else None, "anna", datetime(2026, 11, 23, tzinfo=UTC)))
    return made


DECIDED = decided(decision(), OURS)


def test_the_newest_answer_counts() -> None:
    told = log(DECIDED, said("anna"), said("ben", approved=False))
    assert answers(decision(), OURS, told) == [said("anna"), said("ben", approved=False)]
    assert answer_to(decision(), OURS, told) == said("ben", approved=False)
    assert stands(decision(), OURS, told)


def test_an_approval_is_of_one_artefact() -> None:
    told = log(DECIDED, said("anna", artefact=OTHERS))
    assert answer_to(decision(), OURS, told) is None
    assert not stands(decision(), OURS, told)
    assert not stands(decision(), OTHERS, told)  # that one was approved, but not decided about


def test_a_decision_is_of_one_artefact_and_one_version() -> None:
    assert is_recorded(decision(), OURS, log(DECIDED))
    assert not is_recorded(decision(), OTHERS, log(DECIDED))
    assert not is_recorded(decision(3), OURS, log(DECIDED))
    assert is_recorded(decision(), OURS, log(DECIDED, decided(decision(3), OTHERS)))


def test_what_was_decided_anew_supersedes_the_decision_and_its_approval() -> None:
    refused = decided(decision(outcome=Outcome.REFUSED), OURS)
    told = log(DECIDED, said("anna"), refused)
    assert not is_recorded(decision(), OURS, told)
    assert is_stale(decision(), OURS, told)
    assert not stands(decision(), OURS, told)
    assert not is_stale(decision(outcome=Outcome.REFUSED), OURS, told)


def test_the_same_decision_made_again_is_asked_about_again() -> None:
    told = log(DECIDED, said("anna"), released(3), released(1), DECIDED)
    assert not is_stale(decision(), OURS, told)
    assert answer_to(decision(), OURS, told) is None


def test_a_release_makes_what_was_decided_before_it_stale() -> None:
    assert is_stale(decision(), OURS, log(DECIDED, said("anna"), released(3)))
    assert is_stale(decision(), OURS, log())
    assert not is_stale(decision(), OURS, log(released(1), DECIDED))
