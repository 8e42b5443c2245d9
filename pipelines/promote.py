"""``promote``: the best candidate against the champion, and the service told of whoever is champion afterwards.

Each step may be killed and run again. Whatever the decision, the flow ends by seeing that the champion is released;
what a killed release left open is finished first.
"""

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
from bloodyspy.promotion.audit import Approved, Cause
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.evidence import contend, newest
from bloodyspy.promotion.gate import decide
from bloodyspy.promotion.history import live
from bloodyspy.promotion.release import annotation, description, one_at_a_time, recorded
from bloodyspy.promotion.replay import shadowed
from bloodyspy.settings import Settings
from pipelines import shown
from pipelines.approval import asked
from pipelines.project import project, step
from pipelines.release import fetch, release, settle

BY_HAND = "it was made champion in the registry by hand; nobody decided about it here"
AGAIN = "the service was told again: its release file did not name the champion any more"

register = step(registry.register, "register the best candidate")
challenge = step(registry.set_challenger, "name the challenger")
stand_down = step(registry.clear_challenger, "dismiss the challenger")
score = step(contend, "score on the sealed part")
count = step(ledger.looks, "count the looks")
compare = step(shadowed, "compare with what it said in the shadow")
judge = step(decide, "decide")
annotate = step(registry.annotate, "put the decision on the version")
record = step(trail.record_change, "record the decision")


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
    named person resumes it; meanwhile others may promote and roll back.

    Raises:
        PromotionError: the champion's files cannot be used by this release of BloodySpy, or another version was made
            champion while a person was waited for.
    """
    s, p = project()
    with one_at_a_time(s):
        settle(s)
        judged = _judge(s, p)
    decision, answer = judged.decision, None
    if decision is not None and judged.is_let_through and p.promotion.approval is Approval.REQUIRED:
        shown.promotion(judged.best.spec.candidate, decision, judged.champion)
        answer = asked(decision, judged.best.digest, s)
    with one_at_a_time(s):
        settle(s)
        champion = _conclude(judged, answer, s)
        done = Promotion(
            candidate=judged.best.spec.candidate,
            challenger=judged.number,
            decision=decision,
            was_champion=judged.was_champion,
            approval=answer,
            champion=champion,
            bento=None if champion is None else packaging.tag_of(champion),
        )
        shown.promotion(done.candidate, decision, champion)
    return done


def _judge(s: Settings, p: Params) -> _Judged:
    best = newest(read_comparison(s).best, s)
    number, champion = register(best, s), registry.champion(s)
    if champion is not None and champion.number == number:
        return _Judged(best, number, number, recorded(champion.tags))
    challenge(number, s)
    challenger = score(number, fetch(number, s), s, p)
    decision = judge(
        challenger,
        score(champion.number, _fetch_champion(champion.number, s), s, p) if champion else None,
        p.promotion,
        count(s, challenger.sealed.digest, best.digest),
        compare(champion, registry.version(s, number), s) if champion else None,
    )
    annotate(number, s, tags=annotation(decision), description=description(decision))
    record(approval.decided(decision, best.digest), s)
    return _Judged(best, number, champion.number if champion else None, decision)


def _conclude(judged: _Judged, answer: Approved | None, s: Settings) -> int | None:
    """Release the challenger or dismiss it; the champion's number afterwards."""
    now = registry.champion(s)
    present = now.number if now else None
    decision = judged.decision
    if decision is not None and not judged.was_champion:
        if not decision.promoted or (answer is not None and not answer.approved):
            stand_down(s)
        elif present != judged.champion:
            raise PromotionError(
                f"Version {judged.number} was held against version {judged.champion}, but version {present} was made "
                "champion meanwhile. Nothing was changed; run `python -m pipelines promote` again."
            )
        else:
            reason = decision.summary if answer is None else f"{answer.words} {decision.summary}"
            release(judged.number, Cause.PROMOTION, reason, s)
            return judged.number
    if present is not None and not releasing.agrees(present, s):
        _fetch_champion(present, s)
        stood = live(trail.entries(s))
        again = stood is not None and stood[1].version == present
        release(present, Cause.PROMOTION, AGAIN if again else BY_HAND, s)
    return present


def _fetch_champion(number: int, s: Settings) -> Path:
    try:
        return fetch(number, s)
    except ArtefactInvalid as exc:
        raise PromotionError(
            f"The champion, version {number}, can be neither scored nor served: {exc.fault}. Nothing was changed. "
            "Go on with the release of BloodySpy that made it, or take the alias `champion` away from it in the MLflow "
            "UI and promote again: the best candidate then has only floors and limits to pass."
        ) from exc
