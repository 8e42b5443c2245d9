"""Where the loop stands, in ten lines. No server is asked: the audit log, the drift checks and the labels tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from cronsim import CronSim

from bloodyspy.adapters import packaging
from bloodyspy.dataset.version import data_version
from bloodyspy.errors import BloodySpyError
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.labelling.accuracy import live_accuracy
from bloodyspy.params import Approval, Params
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Approved, DataVersioned, Decided, Released
from bloodyspy.promotion.history import live, open_release
from bloodyspy.promotion.loop import Idle, Present, Reason, open_loop, reason_to_retrain, watched
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, LoopOutcome, WatchEnded
from bloodyspy.promotion.watch import LONGEST, Live
from bloodyspy.settings import Settings
from monitoring.history import newest_checks
from monitoring.loop import present as gathered
from monitoring.verdict import Overall, Verdict


@dataclass(frozen=True, slots=True)
class Line:
    """One fact."""

    name: str
    words: str
    trouble: bool = False
    """Whether somebody should look."""


def status(s: Settings, p: Params, now: datetime | None = None) -> list[Line]:
    """Ten facts, and what to do next as the last of them.

    Args:
        s: where things are.
        p: what is due when.
        now: with a time zone; this moment unless given.

    Raises:
        AuditError: the log cannot be read.
        BloodySpyError: data.dvc, the labels or the observations cannot be read.
    """
    now, entries, known = now or datetime.now(UTC), trail.entries(s), gathered(s, p)
    found = reason_to_retrain(entries, known, p.loop, now)
    checks = newest_checks(s.drift_history, 1)
    lines = [
        _data(entries, s),
        _champion(entries, s),
        _watch(entries, p),
        _drift(checks[-1].verdict if checks else None, now, known),
        _live(entries, s, p),
        _labels(known, p),
        _loop(entries),
        _gate(entries, p),
        _schedules(s, p, now),
    ]
    return [*lines, Line("next", _next(lines, entries, found, p))]


def late(s: Settings, p: Params, now: datetime) -> dict[str, datetime | None]:
    """Scheduled flows that have not come to their end since the time before the last one that was due.

    Returns:
        By name of the flow, when it last did; None where it never did.
    """
    found: dict[str, datetime | None] = {}
    for flow, line in p.schedules.crons().items():
        *_, due = islice(CronSim(line, now.astimezone(UTC), reverse=True), 2)
        ran = s.ran / flow
        last = datetime.fromtimestamp(ran.stat().st_mtime, UTC) if ran.exists() else None
        if last is None or last < due:
            found[flow] = last
    return found


def _data(entries: Sequence[Entry], s: Settings) -> Line:
    if not (s.root / "data.dvc").is_file():
        return Line("data", "none yet", trouble=True)
    version = data_version(s.root)
    told = [e for e in entries if isinstance(e.event, DataVersioned) and e.event.data_version == version]
    if not told:
        return Line("data", f"version {version[:12]}, which the audit log does not know")
    event = told[-1].event
    assert isinstance(event, DataVersioned)
    return Line("data", f"version {version[:12]}, {event.images:,} images, since {_day(told[-1].time)}")


def _champion(entries: Sequence[Entry], s: Settings) -> Line:
    found = live(entries)
    if found is None:
        return Line("champion", "none yet", trouble=True)
    entry, release = found
    try:
        sealed = f"{read_scores(packaging.stored(release.version, s)).test.accuracy} right on the sealed images"
    except BloodySpyError as exc:
        return Line("champion", f"version {release.version}, but {exc}", trouble=True)
    return Line("champion", f"version {release.version} since {_moment(entry.time)}, {sealed}")


def _watch(entries: Sequence[Entry], p: Params) -> Line:
    found, watch = watched(entries), p.loop.watch
    if found is None:
        over = [entry for entry in entries if isinstance(entry.event, WatchEnded)]
        return Line("watch", f"nobody is watched; last: {over[-1].event.words}" if over else "nobody is watched")
    entry, release = found
    until, longest = (entry.time + timedelta(hours=times * watch.hours) for times in (1, LONGEST))
    return Line("watch", f"version {release.version} until {_moment(until)}, without labels until {_moment(longest)}")


def _drift(verdict: Verdict | None, now: datetime, known: Present) -> Line:
    if verdict is None:
        return Line("drift", "never checked", trouble=True)
    cause = f" ({verdict.cause})" if verdict.cause else ""
    behind = f", its newest picture {_age(now - verdict.end)} old" if verdict.end else ""
    stands = "; the alarm stands" if known.alarm else ""
    words = f"{verdict.overall}{cause}, checked {_moment(verdict.checked)}{behind}{stands}"
    return Line("drift", words, trouble=verdict.overall is Overall.DRIFTED)


def _live(entries: Sequence[Entry], s: Settings, p: Params) -> Line:
    found = live(entries)
    if found is None:
        return Line("live accuracy", "nobody answers yet")
    counted = live_accuracy(s, p, found[1].version, found[0].time)
    share = Live(counted.settled, counted.right).share
    if share is None:
        return Line("live accuracy", f"not known: of {counted.audited:,} audited answers none is labelled yet")
    return Line("live accuracy", f"{share}, by {counted.settled:,} labels of {counted.audited:,} audited answers")


def _labels(known: Present, p: Params) -> Line:
    needed = p.loop.drift_labels if known.alarm and known.alarm.mendable else p.loop.labels
    return Line("labels", f"{known.waiting:,} settled and not trained on yet; {needed:,} are a reason")


def _loop(entries: Sequence[Entry]) -> Line:
    if (found := open_loop(entries)) is not None:
        begun = found[1]
        return Line("retraining", f"open since {_moment(found[0].time)} ({begun.trigger}): {begun.reason}")
    told = [entry for entry in entries if isinstance(entry.event, LoopBegun | LoopEnded)]
    if len(told) < 2:
        return Line("retraining", "the loop has not run yet")
    begun_event, ended = told[-2].event, told[-1].event
    assert isinstance(begun_event, LoopBegun)
    assert isinstance(ended, LoopEnded)
    words = f"ended {_moment(told[-1].time)}, {ended.outcome} ({begun_event.trigger}): {begun_event.reason}"
    return Line("retraining", words, trouble=ended.outcome is LoopOutcome.GIVEN_UP)


def _gate(entries: Sequence[Entry], p: Params) -> Line:
    decided = [entry.event for entry in entries if isinstance(entry.event, Decided)]
    if not decided:
        return Line("gate", "has decided nothing yet")
    version = waits_for_approval(entries, p)
    asked = f"waits for approval of version {version}; " if version is not None else ""
    return Line("gate", f"{asked}{decided[-1].summary}", trouble=bool(asked))


def waits_for_approval(entries: Sequence[Entry], p: Params) -> int | None:
    """The version that the gate would promote and nobody has answered about; None where there is none."""
    for entry in reversed(entries):
        match entry.event:
            case Approved() | Released():
                return None
            case Decided(outcome=Outcome.PROMOTED, version=version):
                return version if p.promotion.approval is Approval.REQUIRED else None
            case Decided():
                return None
    return None


def _schedules(s: Settings, p: Params, now: datetime) -> Line:
    behind = late(s, p, now)
    if not behind:
        return Line("schedules", "on time")
    told = ", ".join(f"{flow} ({'never ran' if last is None else _age(now - last)})" for flow, last in behind.items())
    return Line("schedules", f"late: {told}", trouble=True)


def _next(lines: Sequence[Line], entries: Sequence[Entry], found: Reason | Idle, p: Params) -> str:
    trouble = {line.name for line in lines if line.trouble}
    if "data" in trouble:
        return "import images: `bloodyspy data import SOURCE`, then `python -m pipelines version-data`"
    if open_release(entries) is not None:
        return "a release was left open: `python -m pipelines promote` ends it"
    if (version := waits_for_approval(entries, p)) is not None:
        return f'answer: `bloodyspy approve {version} --reason "..."`, or in Prefect'
    if open_loop(entries) is not None:
        return "wait; where no flow run is at work, `python -m pipelines retrain` goes on"
    if "retraining" in trouble:
        return 'look at the failed flow runs, then `python -m pipelines retrain --reason "..."`'
    if isinstance(found, Reason):
        return f"`python -m pipelines retrain`: {found.words}"
    if "schedules" in trouble:
        return "see that the Prefect server and `python -m pipelines.deployments` (or a worker) run"
    return found.words if found.labels and "drift" in trouble else "nothing"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _age(gone: timedelta) -> str:
    minutes = int(gone.total_seconds() // 60)
    if minutes < 120:
        return f"{max(minutes, 0)} min"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1440} days"
