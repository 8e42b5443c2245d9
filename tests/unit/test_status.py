"""Where the loop stands, in ten lines, by what a real audit log and real files tell."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from logged import DATA, NEWER, begun, decided, ended, released, trained, versioned

from bloodyspy.params import Approval, Params
from bloodyspy.promotion import trail
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.loop_events import LoopOutcome
from bloodyspy.settings import Settings
from monitoring.status import Line, late, status

NAMES = ["data", "champion", "watch", "drift", "live accuracy", "labels", "retraining", "gate", "schedules", "next"]

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # BentoML's use of pathspec


def told(s: Settings, p: Params) -> dict[str, Line]:
    lines = status(s, p)
    assert [line.name for line in lines] == NAMES
    return {line.name: line for line in lines}


def data(s: Settings, version: str) -> None:
    (s.root / "data.dvc").write_text(f"outs:\n- md5: {version}.dir\n  path: data\n")


def test_an_empty_project_is_told_what_comes_first(settings: Settings, params: Params) -> None:
    found = told(settings, params)
    assert found["next"].words.startswith("import images")
    assert found["champion"] == Line("champion", "none yet", trouble=True)
    assert found["schedules"].words.startswith("late: check-drift (never ran), queue (never ran)")


def test_what_happened_is_told_by_the_log(settings: Settings, params: Params) -> None:
    data(settings, DATA)
    for event in (versioned(DATA), trained(), decided(1, Outcome.PROMOTED), released(1, None), begun("a reason")):
        trail.record(event, settings)
    found = told(settings, params)
    assert found["data"].words.startswith(f"version {DATA[:12]}, 300 images, since ")
    assert found["watch"].words.startswith("version 1 until ")
    assert found["live accuracy"].words.startswith("not known")
    assert found["labels"].words == "0 settled and not trained on yet; 200 are a reason"
    assert found["retraining"].words.endswith("(labels): enough labels")
    assert "`python -m pipelines retrain` goes on" in found["next"].words
    trail.record(ended("a reason", LoopOutcome.GIVEN_UP, NEWER), settings)
    found = told(settings, params)
    assert found["retraining"].trouble
    assert "given up (labels)" in found["retraining"].words
    assert "retrain --reason" in found["next"].words


def test_an_approval_that_is_waited_for_comes_first(settings: Settings, params: Params) -> None:
    data(settings, DATA)
    required = params.model_copy(
        update={"promotion": params.promotion.model_copy(update={"approval": Approval.REQUIRED})}
    )
    for event in (trained(), released(1, None), begun(), decided(2, Outcome.PROMOTED)):
        trail.record(event, settings)
    found = told(settings, required)
    assert found["next"].words.startswith("answer: `bloodyspy approve 2")
    assert found["gate"].words == "waits for approval of version 2; Version 2 was promoted."


def test_a_schedule_is_late_after_two_times_that_were_missed(settings: Settings, params: Params) -> None:
    now = datetime(2026, 11, 25, 12, 20, tzinfo=UTC)
    settings.ran.mkdir(parents=True)
    for flow, age in (("check-drift", 60), ("queue", 45), ("upkeep", 60 * 24), ("retrain", 60 * 24), ("watch", 15)):
        (settings.ran / flow).touch()
        then = (now - timedelta(minutes=age)).timestamp()
        os.utime(settings.ran / flow, (then, then))
    assert late(settings, params, now) == {}
    assert set(late(settings, params, now + timedelta(hours=1))) == {"check-drift", "watch"}
    off = params.model_copy(update={"schedules": params.schedules.model_copy(update={"watch": "off"})})
    assert set(late(settings, off, now + timedelta(hours=1))) == {"check-drift"}
