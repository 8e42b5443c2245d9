"""The watch of a new champion: its error rates by simulation, and each thing that it can say."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from bloodyspy.params import Params
from bloodyspy.promotion.watch import Evidence, Live, Standing, Sure, log_likelihood_ratio, look

WATCHES = 300
GOOD = Evidence(
    version=2,
    previous=1,
    hours=80,
    sealed=0.95,
    live=Live(200, 191),
    before=Live(300, 285),
    answers=Sure(4000, 400),
    reference=Sure(500, 45),
    answers_before=Sure(4000, 410),
)


def taken_back(
    sealed: float, live: float, before: float | None, params: Params, seed: int, watches: int = WATCHES
) -> tuple[float, float]:
    """Shares of watches that end with a rollback, and with a champion that is kept.

    40 labels a day settle, and are looked at after each twenty; the sealed accuracy and that of the version before are
    measured, on 2,500 images and 300 labels.
    """
    random, rule = np.random.default_rng(seed), params.loop
    ends: list[Standing] = []
    for _ in range(watches):
        measured = random.binomial(2500, sealed) / 2500
        earlier = Live(300, int(random.binomial(300, before))) if before is not None else Live(0, 0)
        right = np.cumsum(random.random(40 * 12) < live)
        for settled in range(20, len(right) + 1, 20):
            hours = settled / 40 * 24
            live_now = Live(settled, int(right[settled - 1]))
            ratio = log_likelihood_ratio(live_now, measured - rule.tolerance, measured - rule.watch.loss)
            if log(rule.watch.missed) < ratio < -log(rule.watch.level) and hours < 4 * rule.watch.hours:
                continue  # between the borders nothing ends
            evidence = replace(GOOD, hours=hours, sealed=measured, live=live_now, before=earlier)
            found = look(evidence, rule).standing
            if found not in (Standing.WATCHED, Standing.WORRYING):
                break
        ends.append(found)
    return ends.count(Standing.WORSE) / watches, ends.count(Standing.KEPT) / watches


@pytest.mark.parametrize("sealed", [0.9, 0.95, 0.985])
def test_a_good_champion_is_kept_and_one_ten_points_worse_goes_back(sealed: float, params: Params) -> None:
    back, kept = taken_back(sealed, sealed, sealed, params, seed=1)
    assert back <= 0.01
    assert kept >= 0.9
    for before in (sealed, None):
        back, _ = taken_back(sealed, sealed - 0.10, before, params, seed=2)
        assert back >= 0.95


def test_where_live_pictures_are_harder_for_both_nobody_goes_back(params: Params) -> None:
    back, _ = taken_back(0.97, 0.88, 0.88, params, seed=3, watches=60)
    assert back <= 0.25
    found = look(replace(GOOD, sealed=0.97, live=Live(300, 264), before=Live(300, 264)), params.loop)
    assert found.standing is Standing.WORRYING
    assert "version 1 was not better live" in found.words


def test_it_is_watched_for_its_time_and_its_answers(params: Params) -> None:
    assert look(GOOD, params.loop).standing is Standing.KEPT
    assert look(replace(GOOD, hours=71), params.loop).standing is Standing.WATCHED
    assert look(replace(GOOD, answers=Sure(499, 40)), params.loop).standing is Standing.WATCHED
    unlabelled = replace(GOOD, live=Live(0, 0))
    assert look(unlabelled, params.loop).standing is Standing.WATCHED
    assert look(replace(unlabelled, hours=288), params.loop).standing is Standing.UNPROVEN


def test_a_flood_of_unsure_answers_takes_it_back_unless_the_version_before_had_it_too(params: Params) -> None:
    flood = replace(GOOD, live=Live(0, 0), answers=Sure(4000, 2000))
    found = look(flood, params.loop)
    assert found.standing is Standing.WORSE
    assert found.words.startswith("50% of 4,000 answers did not go out unseen; 9% of its reference and 10%")
    assert look(replace(flood, answers_before=Sure(4000, 1900)), params.loop).standing is Standing.WATCHED
    assert look(replace(flood, answers=Sure(400, 200)), params.loop).standing is Standing.WATCHED


def test_the_first_champion_has_nobody_below_it(params: Params) -> None:
    found = look(replace(GOOD, previous=None, before=Live(0, 0), live=Live(300, 240)), params.loop)
    assert found.standing is Standing.WORRYING
    assert "no version to go back to" in found.words
