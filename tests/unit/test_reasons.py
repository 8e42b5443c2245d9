"""Whether there is a reason to train anew, and what the log tells of a loop."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from logged import DATA, NEWER, START, begun, decided, ended, entries, released, trained, versioned

from bloodyspy.errors import ParamsError
from bloodyspy.params import Params, load_params
from bloodyspy.promotion.chain import chain
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Cause
from bloodyspy.promotion.loop import (
    Alarm,
    Idle,
    Present,
    Reason,
    open_loop,
    outcome,
    reason_to_retrain,
    tries,
    watched,
)
from bloodyspy.promotion.loop_events import LoopOutcome, Trigger, WatchEnded
from bloodyspy.settings import Settings
from monitoring.causes import Cause as DriftCause
from monitoring.history import newest_checks
from monitoring.lasting import standing
from monitoring.verdict import Overall, Verdict

ALARM = Alarm("stain", 2, True, "Drift of stain in 2 window(s) in a row: all is bluish.")
QUIET = Present(DATA, 0, None)
TRAINED = entries(trained(), released(1, None))
NOW = START + timedelta(days=1)


def asked(present: Present, params: Params, log: object = None, now: datetime = NOW) -> Reason | Idle:
    return reason_to_retrain(TRAINED if log is None else log, present, params.loop, now)  # type: ignore[arg-type]


def test_nothing_new_is_no_reason(params: Params) -> None:
    found = asked(QUIET, params)
    assert isinstance(found, Idle)
    assert found.labels == params.loop.labels
    assert isinstance(asked(replace(QUIET, data_version=None), params), Idle)


def test_drift_is_a_reason_only_where_something_can_be_learnt_of_it(params: Params) -> None:
    drifted = replace(QUIET, alarm=ALARM)
    found = asked(drifted, params)
    assert isinstance(found, Idle)
    assert found.labels == 50
    assert "label 50 more" in found.words
    for known in (replace(drifted, waiting=50), replace(drifted, data_version=NEWER)):
        found = asked(known, params)
        assert isinstance(found, Reason)
        assert found.trigger is Trigger.DRIFT
    found = asked(replace(drifted, alarm=replace(ALARM, cause="focus", mendable=False), waiting=60), params)
    assert isinstance(found, Idle)
    assert "does not mend that" in found.words


def test_the_same_reason_begins_no_second_loop(params: Params) -> None:
    known = replace(QUIET, alarm=ALARM, waiting=60)
    first = asked(known, params)
    assert isinstance(first, Reason)
    log = entries(trained(), released(1, None), ended(first.key, LoopOutcome.REFUSED))
    assert isinstance(asked(known, params, log), Idle)
    assert isinstance(asked(replace(known, waiting=59), params, log), Idle)
    more = asked(replace(known, waiting=100), params, log)
    assert isinstance(more, Reason)
    # taken in: data/ is another one, and it is the one that was trained on
    log = entries(trained(), released(1, None), ended(first.key, LoopOutcome.REFUSED, NEWER))
    assert isinstance(asked(Present(NEWER, 0, ALARM), params, log), Idle)


def test_labels_are_a_reason_in_steps(params: Params) -> None:
    found = asked(replace(QUIET, waiting=200), params)
    assert isinstance(found, Reason)
    assert found.trigger is Trigger.LABELS
    log = entries(trained(), released(1, None), ended(found.key, LoopOutcome.UNCHANGED))
    left = asked(replace(QUIET, waiting=390), params, log)
    assert isinstance(left, Idle)
    assert "left them" in left.words
    assert isinstance(asked(replace(QUIET, waiting=400), params, log), Reason)


def test_the_calendar_counts_from_the_last_training(params: Params) -> None:
    due = START + timedelta(days=params.loop.days)
    assert isinstance(asked(QUIET, params, now=due - timedelta(minutes=1)), Idle)
    found = asked(QUIET, params, now=due)
    assert isinstance(found, Reason)
    assert found.trigger is Trigger.CALENDAR
    never = asked(QUIET, params, [])
    assert isinstance(never, Reason)
    assert never.words == "Nothing was trained yet."


def test_a_loop_is_open_until_it_ends_and_its_runs_are_counted(params: Params) -> None:
    log = entries(begun("old"), ended("old"), begun(), begun(), versioned(NEWER), begun())
    found = open_loop(log)
    assert found is not None
    assert (found[0].number, found[1].key) == (3, "a reason")
    assert tries(log) == 1  # data came of it since
    assert tries(log[:4]) == 2
    assert open_loop(log[:2]) is None


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([decided(2, Outcome.PROMOTED), released(2, 1)], LoopOutcome.PROMOTED),
        ([decided(2, Outcome.REFUSED)], LoopOutcome.REFUSED),
        ([], LoopOutcome.UNCHANGED),
        ([released(1, 2, Cause.ROLLBACK)], LoopOutcome.UNCHANGED),
    ],
)
def test_the_log_tells_what_came_of_a_loop(events: list[object], expected: LoopOutcome) -> None:
    assert outcome(entries(released(1, None), begun(), *events))[0] is expected  # type: ignore[arg-type]


def test_who_is_watched() -> None:
    first, second = released(1, None), released(2, 1)
    found = watched(entries(first, second, released(2, 2)))
    assert found is not None
    assert (found[0].number, found[1].previous) == (2, 1)  # told again, it is watched from its first release on
    over = WatchEnded(version=2, proven=True, summary="good")
    assert watched(entries(first, second, over)) is None
    assert watched(entries(first, second, released(1, 2, Cause.ROLLBACK))) is None
    assert watched([]) is None


def test_the_chain_of_a_loop_that_was_killed_begins_with_its_reason() -> None:
    log = entries(begun("old"), ended("old"), begun(), versioned(NEWER), begun(), trained(NEWER, "r2"))
    links = chain([*log])
    assert [(link.name, link.when is not None) for link in links][:4] == [
        ("reason", True),
        ("data version", True),
        ("training", True),
        ("decision", False),
    ]
    assert links[0].when == log[2].time
    assert chain([]) == []


def verdict(hour: int, cause: DriftCause | None, run_id: str = "r1") -> Verdict:
    """Of a window of two hours."""
    start = datetime(2026, 11, 23, hour, tzinfo=UTC)
    return Verdict(
        overall=Overall.DRIFTED if cause else Overall.STABLE,
        cause=cause,
        reason="So it is.",
        rows=200,
        start=start,
        end=start + timedelta(hours=2),
        columns=(),
        accuracy=None,
        accuracy_withheld="made up",
        reference_rows=300,
        false_alarm_rate=0.01,
        run_id=run_id,
        data_version=DATA,
        model_version=1,
        site="",
        instrument="",
        synthetic=True,
        torn_lines=0,
        corrupt_lines=0,
        checked=start + timedelta(hours=3),
    )


def test_an_alarm_stands_after_windows_that_do_not_overlap() -> None:
    stain, focus = DriftCause.STAIN, DriftCause.FOCUS
    assert standing([verdict(0, stain), verdict(1, stain), verdict(2, stain)], "r1", 2) is None  # they share rows
    found = standing([verdict(0, stain), verdict(1, stain), verdict(3, stain)], "r1", 2)
    assert found is not None
    assert (found.cause, found.windows, found.mendable) == ("stain", 2, True)
    assert standing([verdict(0, stain), verdict(3, focus)], "r1", 2) is None
    assert standing([verdict(0, stain), verdict(3, stain), verdict(6, None)], "r1", 1) is None
    assert standing([verdict(0, stain, "r2"), verdict(3, stain)], "r1", 2) is None
    blurred = standing([verdict(0, focus), verdict(3, focus)], "r1", 2)
    assert blurred is not None
    assert not blurred.mendable


def test_only_the_newest_checks_are_read(tmp_path: Path) -> None:
    assert newest_checks(tmp_path / "none", 5) == []
    for hour in (0, 3, 6):
        folder = tmp_path / f"20261123T0{hour}0000Z-r1"
        folder.mkdir()
        (folder / "verdict.json").write_text(verdict(hour, None).model_dump_json())
    (tmp_path / ".being-written").mkdir()
    (tmp_path / "20261123T090000Z-r1").mkdir()  # without a verdict
    assert [check.verdict.start.hour for check in newest_checks(tmp_path, 2) if check.verdict.start] == [3, 6]


def test_a_schedule_is_a_cron_line_or_off(settings: Settings) -> None:
    place = settings.root / "params.yaml"
    written = place.read_text()
    hourly = '"0 * * * *"'
    place.write_text(written.replace(hourly, "off"))  # which YAML reads as false
    assert set(load_params(place).schedules.crons()) == {"queue", "upkeep", "retrain", "watch"}
    place.write_text(written.replace(hourly, "hourly"))
    with pytest.raises(ParamsError, match="neither a cron line of five fields"):
        load_params(place)
    place.write_text(written.replace("tolerance: 0.02", "tolerance: 0.2"))
    with pytest.raises(ParamsError, match=r"tolerance is not below .*loss"):
        load_params(place)
