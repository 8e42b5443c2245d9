"""``promote``: the best candidate against the champion, and the service told of whoever is champion afterwards.

Each step may be killed and run again. Whatever the decision, the flow ends by seeing that the champion is released;
what a killed release left open is finished first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from bloodyspy.adapters import packaging, registry
from bloodyspy.custody import releasing
from bloodyspy.errors import ArtefactInvalid, PromotionError
from bloodyspy.evaluation.comparison import read_comparison
from bloodyspy.model.artifact import Artefact
from bloodyspy.params import Approval, Params
from bloodyspy.promotion import approval, ledger, trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import Approved, Cause
from bloodyspy.promotion.evidence import contend, newest
from bloodyspy.promotion.gate import decide
from bloodyspy.promotion.history import live
from bloodyspy.promotion.release import annotation, description, one_at_a_time, recorded
from bloodyspy.promotion.replay import shadowed
from bloodyspy.settings import Settings
from pipelines import shown
from pipelines.approval import asked
from pipelines.project import project, step
from pipelines.release import end_shadow, fetch, release, settle

BY_HAND = "it was made champion in the registry by hand"
AGAIN = "the service was told again: its release file did not name the champion any more"

register = step(registry.register, "register the best candidate")
challenge = step(registry.set_challenger, "name the challenger")
stand_down = step(registry.clear_challenger, "dismiss the challenger")
score = step(contend, "score on the sealed part")
count = step(ledger.looks, "count the looks")
compare = step(shadowed, "compare with what it said in the shadow")
judge = step(decide, "decide")
annotate = step(registry.annotate, "put the decision on the version")
record = step(trail.record, "record the decision")


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of a promotion."""

    candidate: str
    challenger: int
    """Version of the candidate."""
    decision: Decision | None
    """None where the candidate was made champion by hand, so that nobody decided about it here."""
    was_champion: bool
    """Whether the best candidate was champion before: then nothing was to be decided."""
    approval: Approved | None
    """A person's answer, where one was asked."""
    champion: int | None
    """Version that the service answers with now."""
    bento: str | None
    """Its bento."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """The best candidate, and what was decided about it against whoever was champion then."""

    best: Artefact
    number: int
    champion: int | None
    decision: Decision | None

    @property
    def was_champion(self) -> bool:
        return self.number == self.champion

    @property
    def is_let_through(self) -> bool:
        """Whether the gate would have it released now."""
        return self.decision is not None and self.decision.promoted and not self.was_champion


@flow(name="promote")
def promote() -> Promotion:
    """Register the best candidate, hold it against the champion on the same sealed images, and release the champion.

    Where ``promotion.approval`` is ``required``, the run pauses on a challenger that the gate would promote until a
    named person resumes it. While it scores and while it waits, others may promote and roll back.

    Raises:
        PromotionError: the champion's files cannot be used by this release of BloodySpy; something was released since
            the decision; or a version that nobody approved was made champion by hand.
    """
    s, p = project()
    with one_at_a_time(s):
        settle(s)
        best = newest(read_comparison(s).best, s)
        number, champion = register(best, s), registry.champion(s)
        if champion is None or champion.number != number:
            challenge(number, s)
    judged = _judge(best, number, champion, s, p)
    decision, answer = judged.decision, None
    if decision is not None and judged.is_let_through and p.promotion.approval is Approval.REQUIRED:
        shown.promotion(best.spec.candidate, decision, judged.champion)
        answer = asked(decision, best.digest, s)
    with one_at_a_time(s):
        settle(s)
        if decision is not None and answer is not None:  # somebody else may have said otherwise by now
            answer = approval.answer_to(decision, best.digest, trail.entries(s)) or answer
        present = _conclude(judged, answer, s, p)
        if present is not None:
            end_shadow(s, present)
        done = Promotion(
            candidate=best.spec.candidate,
            challenger=number,
            decision=decision,
            was_champion=judged.was_champion,
            approval=answer,
            champion=present,
            bento=None if present is None else packaging.tag_of(present),
        )
        shown.promotion(done.candidate, decision, present)
    return done


def _judge(best: Artefact, number: int, champion: registry.Version | None, s: Settings, p: Params) -> _Judged:
    against = champion.number if champion else None
    known = recorded(registry.version(s, number).tags, number)
    if number == against:
        return _Judged(best, number, against, known)
    if known is not None and known.champion == against and approval.stands(known, best.digest, trail.entries(s)):
        return _Judged(best, number, against, known)  # a person has answered: that is not decided anew
    challenger = score(number, fetch(number, s), s, p)
    decision = judge(
        challenger,
        score(champion.number, _fetch_champion(champion.number, s), s, p) if champion else None,
        p.promotion,
        count(s, challenger.sealed.digest, best.digest),
        compare(champion, registry.version(s, number), s) if champion else None,
    )
    annotate(number, s, tags=annotation(decision), description=description(decision))
    if approval.is_stale(decision, best.digest, trail.entries(s)):  # what a killed run had recorded is not told twice
        record(approval.decided(decision, best.digest), s)
    return _Judged(best, number, against, decision)


def _conclude(judged: _Judged, answer: Approved | None, s: Settings, p: Params) -> int | None:
    """Release the challenger or dismiss it; the champion's number afterwards."""
    now = registry.champion(s)
    present = now.number if now else None
    decision = judged.decision
    if decision is not None and not judged.was_champion:
        if not decision.promoted or (answer is not None and not answer.approved):
            stand_down(s)
        elif present != judged.champion or approval.is_stale(decision, judged.best.digest, trail.entries(s)):
            raise PromotionError(
                f"Version {judged.number} was held against version {judged.champion}, but something was released or "
                f"decided since: the champion is version {present}. Nothing was changed; run `python -m pipelines "
                "promote` again."
            )
        elif registry.version(s, judged.number).artefact_digest != judged.best.digest:
            raise PromotionError(
                f"Version {judged.number} names another artefact in the registry than the one that was decided about: "
                "somebody edited it. Nothing was changed; `bloodyspy verify` names what else was."
            )
        else:
            reason = decision.summary if answer is None else f"{answer.words} {decision.summary}"
            release(judged.number, Cause.PROMOTION, reason, s)
            return judged.number
    if now is not None and not releasing.agrees(now.number, s):
        _fetch_champion(now.number, s)
        release(now.number, Cause.PROMOTION, _why(now, s, p), s)
    return present


def _why(champion: registry.Version, s: Settings, p: Params) -> str:
    """Why the alias names a version that was not released, or not whole.

    Raises:
        PromotionError: a person has to approve what answers, and nobody approved this.
    """
    entries = trail.entries(s)
    stood = live(entries)
    if stood is not None and stood[1].version == champion.number:
        return AGAIN
    decision = recorded(champion.tags, champion.number)
    required = stood is not None and p.promotion.approval is Approval.REQUIRED
    if stood is not None and required and not _is_approved(decision, champion, entries):
        raise PromotionError(
            f"The alias `champion` was moved to version {champion.number} by hand, but `promotion.approval` is "
            f"required and nobody approved it. Move it back to version {stood[1].version}."
        )
    return BY_HAND + (f". {decision.summary}" if decision else "; nobody decided about it here")


def _is_approved(decision: Decision | None, version: registry.Version, entries: Sequence[Entry]) -> bool:
    if decision is None or not approval.stands(decision, version.artefact_digest, entries):
        return False
    answer = approval.answer_to(decision, version.artefact_digest, entries)
    return answer is not None and answer.approved


def _fetch_champion(number: int, s: Settings) -> Path:
    try:
        return fetch(number, s)
    except ArtefactInvalid as exc:
        raise PromotionError(
            f"The champion, version {number}, can be neither scored nor served: {exc.fault}. Nothing was changed. "
            "Go on with the release of BloodySpy that made it, or take the alias `champion` away from it in the MLflow "
            "UI and promote again: the best candidate then has only floors and limits to pass."
        ) from exc
