"""The story of the loop on real images at a small size: every step a command of the platform, in a clone of its own.

Asked for by BLOODYSPY_TEST_STORY=1: it takes a quarter of an hour of two quiet cores.
"""

import os
from pathlib import Path

import pytest

from benchmarks.laboratory import cloned
from benchmarks.loop import draw
from benchmarks.story import SMALL, Chapter, Story
from bloodyspy.custody.verification import verify
from bloodyspy.promotion import trail
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Cause, Decided, Released
from bloodyspy.promotion.history import standing, withdrawn

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def story(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Played to its end: each of its steps is checked as it is taken."""
    if "BLOODYSPY_TEST_STORY" not in os.environ:
        pytest.skip("the story is told when asked for: BLOODYSPY_TEST_STORY=1")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BLOODYSPY_")]:
            patch.delenv(name)
        told = Story(cloned(tmp_path_factory.mktemp("story") / "loop", ROOT), real_data / "pbc", SMALL)
        told.play()
    return told


def chapter(story: Story, word: str) -> Chapter:
    (found,) = [one for one in story.chapters if word in one.title]
    return found


def test_three_releases_a_refusal_and_a_rollback(story: Story) -> None:
    entries = trail.entries(story.s)
    releases = [entry.event for entry in entries if isinstance(entry.event, Released)]
    assert [(one.version, one.cause) for one in releases] == [
        (1, Cause.PROMOTION),
        (2, Cause.PROMOTION),
        (3, Cause.PROMOTION),
        (2, Cause.ROLLBACK),
    ]
    assert standing(entries) == [1, 2]
    assert withdrawn(3, entries) is not None
    decided = [entry.event for entry in entries if isinstance(entry.event, Decided)]
    outcomes = [(one.version, one.outcome) for one in decided]
    assert outcomes == [(1, Outcome.PROMOTED), (2, Outcome.PROMOTED), (3, Outcome.REFUSED), (3, Outcome.PROMOTED)]
    assert [fault for checked in verify(story.s) for fault in checked.faults] == []


def test_labels_go_where_they_may(story: Story) -> None:
    """Those of the audit are held out, the others are trained on, and the accuracy on the new stain has risen."""
    learnt, again = chapter(story, "trained anew").facts, chapter(story, "the new champion").facts
    assert learnt["for the calibration part"] >= 100
    assert learnt["for training"] >= 50
    assert again["shifted sealed accuracy after"].value > again["shifted sealed accuracy before"].value
    assert again["exact McNemar p"] < 0.05


def test_the_traffic_is_drift_once(story: Story) -> None:
    """Of the windows of a hundred: only those of the new stain before it was learnt."""
    said = {(one.what, one.verdict) for one in story.stretches if one.what != "a bad release"}
    assert said == {("usual", "stable"), ("shifted", "stain"), ("the new stain", "stable")}


def test_the_picture_of_it(story: Story, tmp_path: Path) -> None:
    draw(story.stretches, tmp_path / "story.png")
    assert (tmp_path / "story.png").stat().st_size > 10_000
