"""Preparations: what the drift check tells apart among audited pictures has a reference of its own."""

import math
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from observed import START, live, observed, signatures

from bloodyspy.dataset.holdings import AUDITED, LABELLED, Statement
from bloodyspy.evaluation.assembly import answered_at
from bloodyspy.observation import ANSWERED
from monitoring.causes import Cause
from monitoring.drift import Rule, judge
from monitoring.preparations import LEAST, imported, known, nearest
from monitoring.verdict import Overall, Verdict

RULE = Rule(minimum_rows=50, rate=0.001)


def reference(*audited: pd.DataFrame) -> pd.DataFrame:
    """400 imported pictures, then audited ones in the order of their answers, one a minute."""
    answered = pd.concat(audited, ignore_index=True)
    answered[ANSWERED] = [START + timedelta(minutes=n) for n in range(len(answered))]
    shuffled = answered.sample(frac=1, random_state=0)
    both = pd.concat([observed(400, seed=1), shuffled], ignore_index=True)
    both[ANSWERED] = pd.to_datetime(both[ANSWERED], utc=True)
    return both


CHANGED = reference(observed(100, seed=2), observed(300, seed=3, stain=2.0))
"""After a hundred pictures the stain changed for good."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thresholds")


def verdict_on(window: pd.DataFrame, of: pd.DataFrame, kept: Path, rule: Rule = RULE) -> Verdict:
    current = live(window)
    chosen = nearest(known(of, rule, kept), current, rule, kept)
    return judge(chosen, current, rule, signatures(), thresholds=kept)


def test_pictures_like_the_imported_ones_join_them(kept: Path) -> None:
    found = known(reference(observed(200, seed=2)), RULE, kept)
    assert [len(one) for one in found] == [600]


def test_a_new_stain_is_a_preparation_of_its_own_and_more_of_it_joins(kept: Path) -> None:
    imported_ones, stained, *others = known(CHANGED, RULE, kept)
    assert not others or all(len(one) < 100 for one in others)  # a group that was answered while the stain changed
    assert len(imported_ones) >= 400 + LEAST
    assert len(stained) + sum(map(len, others)) >= 230
    assert stained[ANSWERED].notna().all()


@pytest.mark.parametrize("stain", [0.0, 2.0])
def test_a_window_of_a_known_preparation_is_stable(stain: float, kept: Path) -> None:
    found = verdict_on(observed(200, seed=4, stain=stain), CHANGED, kept)
    assert found.overall is Overall.STABLE, found.reason
    assert (found.reference_answered is None) == (stain == 0)


def test_without_the_audit_the_same_window_has_drifted(kept: Path) -> None:
    alone = verdict_on(observed(200, seed=4, stain=2.0), observed(400, seed=1), kept)
    assert alone.cause is Cause.STAIN


def test_a_third_stain_has_drifted_from_the_nearer_of_the_two(kept: Path) -> None:
    third = verdict_on(observed(200, seed=5, stain=5.0), CHANGED, kept)
    assert third.cause is Cause.STAIN
    assert third.reference_answered is not None


def test_what_lies_between_two_preparations_has_drifted(kept: Path) -> None:
    """A mixture of both is a window of neither: two stains at once are worth knowing of."""
    of = reference(observed(320, seed=3, stain=3.0))
    halves = pd.concat([observed(100, seed=6), observed(100, seed=7, stain=3.0)], ignore_index=True)
    assert verdict_on(halves, of, kept).overall is Overall.DRIFTED


def test_too_few_audited_pictures_are_in_no_preparation() -> None:
    few = reference(observed(LEAST - 1, seed=3, stain=2.0))
    (only,) = known(few, RULE)
    assert only.equals(imported(few))


def test_two_preparations_do_not_raise_the_share_of_false_alarms(kept: Path) -> None:
    rule, of = Rule(minimum_rows=50, rate=0.05), reference(observed(200, seed=3, stain=2.0))
    assert len(known(of, rule, kept)) == 2
    windows = [observed(100, seed=1000 + trial, stain=2.0 * (trial % 2)) for trial in range(60)]
    drifted = sum(verdict_on(window, of, kept, rule).overall is Overall.DRIFTED for window in windows)
    assert drifted <= 60 * 0.05 + 3 * math.sqrt(60 * 0.05 * 0.95)


def test_only_pictures_of_the_audit_have_a_time() -> None:
    images = pd.DataFrame({"sha256": ["a", "b", "c"], "source": [AUDITED, LABELLED, "a folder"]}, index=[7, 3, 9])
    answer = ("request", "0", "1", "ig", START.isoformat(), "anna", "ig", START.isoformat())
    found = answered_at(images, [Statement("a", *answer), Statement("b", *answer)])
    assert list(found.index) == [7, 3, 9]
    assert found[7] == START
    assert found[[3, 9]].isna().all()
