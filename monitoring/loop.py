"""What the loop decides by, gathered: labels, drift, live accuracy, and the answers of a new champion."""

from datetime import UTC, datetime

from bloodyspy.dataset.version import data_version
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.labelling.acceptance import waiting
from bloodyspy.labelling.accuracy import live_accuracy
from bloodyspy.model.artifact import Artefact
from bloodyspy.params import Params
from bloodyspy.policy import Action
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.events import Released
from bloodyspy.promotion.history import live, standing
from bloodyspy.promotion.loop import Present
from bloodyspy.promotion.watch import Evidence, Live, Sure
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted
from monitoring import lasting
from monitoring.check import read_reference
from monitoring.history import newest_checks

ANSWERS = 10_000
"""Newest answers of a version that are counted."""

CHECKS = 50
"""Newest drift checks that are looked through for an alarm."""


def present(s: Settings, p: Params) -> Present:
    """What is known beside the audit log.

    Raises:
        AuditError, DataError: the log or data.dvc cannot be read.
    """
    champion = live(trail.entries(s))
    verdicts = [check.verdict for check in newest_checks(s.drift_history, CHECKS)]
    return Present(
        data_version=data_version(s.root) if (s.root / "data.dvc").is_file() else None,
        waiting=waiting(s, p),
        alarm=lasting.standing(verdicts, champion[1].run_id, p.loop.alarms) if champion else None,
    )


def evidence(begun: Entry, release: Released, artefact: Artefact, s: Settings, p: Params) -> Evidence:
    """What is known of a champion that is watched.

    Args:
        begun: entry of its release.
        release: that stands.
        artefact: the champion's.
        s: where logs and labels are.
        p: as the labels want it.

    Raises:
        MonitoringError: observations or its reference cannot be read.
        AuditError: the log cannot be read.
    """
    entries = trail.entries(s)
    pile = standing(entries)
    previous = pile[-2] if len(pile) > 1 else None
    runs = {entry.event.version: entry.event.run_id for entry in entries if isinstance(entry.event, Released)}
    reference = read_reference(artefact)["action"]
    return Evidence(
        version=release.version,
        previous=previous,
        hours=(datetime.now(UTC) - begun.time).total_seconds() / 3600,
        sealed=read_scores(artefact).test.accuracy.value,
        live=_labelled(release.version, begun.time, s, p),
        before=_labelled(previous, None, s, p),
        answers=_answers(Wanted(run_id=release.run_id, since=begun.time), s),
        reference=Sure(len(reference), int((reference != Action.AUTO).sum())),
        answers_before=_answers(Wanted(run_id=runs[previous]), s) if previous in runs else Sure(0, 0),
    )


def _labelled(version: int | None, since: datetime | None, s: Settings, p: Params) -> Live:
    if version is None:
        return Live(0, 0)
    found = live_accuracy(s, p, version, since)
    return Live(found.settled, found.right)


def _answers(wanted: Wanted, s: Settings) -> Sure:
    actions = streams.live(s).newest(wanted, ANSWERS).frame["action"]
    return Sure(len(actions), int((actions != Action.AUTO).sum()))
