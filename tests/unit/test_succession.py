"""Who the champion before a version was, as the audit log tells it."""

from datetime import UTC, datetime

import pytest

from bloodyspy.custody.dossier.succession import champion_before
from bloodyspy.promotion.audit import Entry, chained
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Cause, Decided, Released

DIGEST = "a" * 64


def decided(version: int, champion: int | None, outcome: Outcome = Outcome.REFUSED) -> Decided:
    return Decided(
        version=version,
        artefact_digest=DIGEST,
        champion=champion,
        outcome=outcome,
        test_digest=DIGEST,
        decision_digest=DIGEST,
        summary="so it was",
    )


def released(version: int, previous: int | None, cause: Cause = Cause.PROMOTION) -> Released:
    return Released(
        cause=cause,
        version=version,
        artefact_digest=DIGEST,
        run_id="r" * 32,
        previous=previous,
        reason="so it was",
        golden=DIGEST,
        files={},
        seconds=1.0,
    )


def entries(*events: Decided | Released) -> list[Entry]:
    made: list[Entry] = []
    for event in events:
        made.append(chained(event, made[-1] if made else None, "anna", datetime(2026, 11, 23, tzinfo=UTC)))
    return made


STORY = entries(
    decided(1, None, Outcome.PROMOTED),
    released(1, None),
    decided(2, 1),  # another champion came between decision and release
    released(3, 1),
    released(2, 3),
    released(3, 2, Cause.ROLLBACK),
    decided(4, 3),
    decided(4, 2),
    released(5, 3),
)


@pytest.mark.parametrize(("version", "before"), [(1, None), (2, 3), (3, 1), (4, 2), (5, 3), (6, None)])
def test_the_champion_before(version: int, before: int | None) -> None:
    assert champion_before(version, STORY) == before
