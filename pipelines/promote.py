"""``promote``: the best candidate against the champion, and the service told of whoever is champion afterwards.

Each step may be killed and run again. Whatever the decision, the flow ends by seeing that the champion is packed and
released; that is also how a promotion goes on that was killed after the alias had moved.
"""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from bloodyspy.adapters import packaging, registry
from bloodyspy.errors import ArtefactInvalid, PromotionError
from bloodyspy.evaluation.comparison import read_comparison
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.evidence import contend, newest
from bloodyspy.promotion.gate import decide
from bloodyspy.promotion.release import annotation, description, one_at_a_time, recorded
from bloodyspy.settings import Settings
from pipelines import shown
from pipelines.project import project, step

register = step(registry.register, "register the best candidate")
challenge = step(registry.set_challenger, "name the challenger")
stand_down = step(registry.clear_challenger, "dismiss the challenger")
fetch = step(registry.artefact_of, "fetch an artefact")
score = step(contend, "score on the sealed part")
judge = step(decide, "decide")
annotate = step(registry.annotate, "record the decision")
crown = step(registry.set_champion, "move the alias champion")
store = step(packaging.store, "store the model in BentoML")
build = step(packaging.build, "build the bento")
tell = step(packaging.tell, "tell the service")


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
    champion: int | None
    """Version that the service answers with now."""
    bento: str | None
    """Its bento."""


@flow(name="promote")
def promote() -> Promotion:
    """Register the best candidate, hold it against the champion on the same sealed images, and release the champion.

    Raises:
        PromotionError: the champion's files cannot be used by this release of BloodySpy.
    """
    s, p = project()
    with one_at_a_time(s):
        best = newest(read_comparison(s).best, s)
        number = register(best, s)
        champion = registry.champion(s)
        was_champion = champion is not None and champion.number == number
        if champion is not None and was_champion:
            decision = recorded(champion.tags)
        else:
            challenge(number, s)
            decision = judge(
                score(number, fetch(number, s), s, p),
                score(champion.number, _fetch_champion(champion.number, s), s, p) if champion else None,
                p.promotion,
            )
            annotate(number, s, tags=annotation(decision), description=description(decision))
            if decision.promoted:
                crown(number, s)
            else:
                stand_down(s)
        champion = registry.champion(s)
        bento = None
        if champion is not None:
            store(_fetch_champion(champion.number, s), champion.number, s)
            bento = build(champion.number, s)
            tell(champion.number, s)
        promotion = Promotion(
            candidate=best.spec.candidate,
            challenger=number,
            decision=decision,
            was_champion=was_champion,
            champion=champion.number if champion else None,
            bento=bento,
        )
        shown.promotion(promotion.candidate, decision, promotion.champion)
    return promotion


def _fetch_champion(number: int, s: Settings) -> Path:
    try:
        return fetch(number, s)
    except ArtefactInvalid as exc:
        raise PromotionError(
            f"The champion, version {number}, can be neither scored nor served: {exc.fault}. Nothing was changed. "
            "Go on with the release of BloodySpy that made it, or take the alias `champion` away from it in the MLflow "
            "UI and promote again: the best candidate then has only floors and limits to pass."
        ) from exc
