"""At most one alarm a cause until it is over, whatever the checks say one after the other."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from judged_windows import verdict

from monitoring.alarms import Alarm, Scope, alarms
from monitoring.causes import Cause
from monitoring.history import Check
from monitoring.verdict import Overall

SITES = ("", "north")


@st.composite
def check(draw: st.DrawFn) -> Check:
    overall = draw(st.sampled_from(Overall))
    cause = draw(st.sampled_from([Cause.STAIN, Cause.FOCUS])) if overall is Overall.DRIFTED else None
    run = draw(st.sampled_from("ab")) * 32
    return Check(Path(), verdict(overall, cause, run_id=run, site=draw(st.sampled_from(SITES))))


@given(st.lists(check(), max_size=30))
def test_there_is_at_most_one_alarm_a_cause_until_it_is_over(checks: list[Check]) -> None:
    numbered = [Check(Path(str(number)), one.verdict) for number, one in enumerate(checks)]
    found = alarms(numbered)
    assert [alarm.begun for alarm in found] == sorted((a.begun for a in found), key=lambda c: int(c.folder.name))
    said = [one for one in numbered if one.verdict.cause]
    for alarm in found:
        same = [one for one in numbered if Scope.of(one.verdict) == alarm.scope]
        begun = same.index(alarm.begun)
        end = same.index(alarm.over) if alarm.over else len(same)
        judged = [one.verdict for one in same[begun:end] if one.verdict.overall is not Overall.INSUFFICIENT]
        assert {one.cause for one in judged} == {alarm.cause}  # while it is open, nothing else is said
        assert alarm.over is None or alarm.over.verdict.cause is not alarm.cause
        assert alarm.over is None or alarm.over.verdict.overall is not Overall.INSUFFICIENT
        said = [one for one in said if one not in same[begun:end]]
    assert said == []  # every check with a cause is in an alarm


def test_too_little_to_judge_neither_begins_an_alarm_nor_ends_it() -> None:
    drifted, stable, few = (
        verdict(Overall.DRIFTED, Cause.STAIN),
        verdict(Overall.STABLE),
        verdict(Overall.INSUFFICIENT),
    )
    checks = [Check(Path(str(i)), one) for i, one in enumerate([few, drifted, few, drifted, few, stable, drifted])]
    scope = Scope.of(drifted)
    assert alarms(checks) == [
        Alarm(Cause.STAIN, scope, checks[1], checks[5]),
        Alarm(Cause.STAIN, scope, checks[6], None),
    ]
