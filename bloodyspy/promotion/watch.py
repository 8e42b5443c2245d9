"""Whether a new champion is as good live as the gate saw it, or is to be taken back. Pure.

Two suppositions are held against each other by the settled labels of the random audit share: that the champion answers
rightly as often as on the sealed images less a tolerance, and that it has the loss that has to be found. Their
likelihood ratio is asked at every look (Wald, Annals of Mathematical Statistics 16:117, 1945): of champions that are no
worse than the first, at most a share of ``level`` ever reaches 1 / level, however often one looks (Ville's inequality);
of those with the loss, at most a share of ``missed`` ever falls to ``missed``, where the watch ends.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import log

from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.loop_rule import Loop

LONGEST = 4.0
"""Times the hours of a watch, after which it ends even where labels are missing."""


@dataclass(frozen=True, slots=True)
class Live:
    """Settled labels of the random audit share of a version's answers."""

    settled: int
    right: int

    @property
    def share(self) -> Estimate | None:
        """That was right, with Wilson's interval; None where nothing is settled."""
        return wilson(self.right, self.settled) if self.settled else None


@dataclass(frozen=True, slots=True)
class Sure:
    """Answers, and how many of them did not go out unseen (review and reject)."""

    answers: int
    unsure: int

    @property
    def share(self) -> float:
        """That was unsure, 0 to 1; 0 of none."""
        return self.unsure / self.answers if self.answers else 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a champion that is watched."""

    version: int
    previous: int | None
    """What a rollback would go back to."""
    hours: float
    """Since its release."""
    sealed: float
    """Accuracy on the sealed images."""
    live: Live
    before: Live
    """Of the previous version, for as long as it answered."""
    answers: Sure
    """Since its release."""
    reference: Sure
    """Its own, on held-out pictures."""
    answers_before: Sure
    """The previous version's newest."""


class Standing(StrEnum):
    """What a look at a watched champion says."""

    WATCHED = "watched"
    KEPT = "kept"
    UNPROVEN = "unproven"
    """The longest time is over, and labels were too few to tell."""
    WORRYING = "worrying"
    """Worse than the gate saw it, but there is nothing better to go back to."""
    WORSE = "worse"
    """It is to be taken back."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    standing: Standing
    words: str
    """One sentence."""


def look(evidence: Evidence, rule: Loop) -> Finding:
    """Judge what is known now; may be asked as often as one likes."""
    watch = rule.watch
    if (unsure := _unsure(evidence, rule)) is not None:
        return _back(evidence, unsure)
    ratio = log_likelihood_ratio(evidence.live, evidence.sealed - rule.tolerance, evidence.sealed - watch.loss)
    if ratio >= -log(watch.level):
        if _is_no_better(evidence):
            return Finding(
                Standing.WORRYING,
                f"{_told(evidence)} That is worse than on the sealed images, but version {evidence.previous} was not "
                "better live: going back would mend nothing. Look at the labels and at the pictures.",
            )
        return _back(evidence, f"{_told(evidence)} A loss of {watch.loss:.0%} is shown (level {watch.level:g}).")
    proven = ratio <= log(watch.missed)
    if proven and evidence.hours >= watch.hours and evidence.answers.answers >= watch.answers:
        return Finding(Standing.KEPT, f"{_told(evidence)} A loss of {watch.loss:.0%} is ruled out.")
    if evidence.hours >= LONGEST * watch.hours:
        over = f"Too little to tell, and {evidence.hours:.0f} hours are over."
        return Finding(Standing.UNPROVEN, f"{_told(evidence)} {over}")
    return Finding(Standing.WATCHED, _told(evidence))


def log_likelihood_ratio(live: Live, as_good: float, with_loss: float) -> float:
    """How much likelier the labels are with the loss than without: above 0 speaks for the loss.

    Args:
        live: labels.
        as_good: share of right answers without it, above ``with_loss``.
        with_loss: share of right answers with it.
    """
    good, bad = (min(max(share, 0.001), 0.999) for share in (as_good, with_loss))
    wrong = live.settled - live.right
    return live.right * log(bad / good) + wrong * log((1 - bad) / (1 - good))


def _is_no_better(evidence: Evidence) -> bool:
    """Whether the previous version did not lie above this one's interval; one without labels is taken for better."""
    now, before = evidence.live.share, evidence.before.share
    return before is not None and now is not None and before.value <= now.high


def _unsure(evidence: Evidence, rule: Loop) -> str | None:
    """Why its unsure answers take it back: far more than on its own held-out pictures and than the version before."""
    found = evidence.answers
    if found.answers < rule.watch.answers:
        return None
    usual = max(evidence.reference.share, evidence.answers_before.share)
    limit = usual + rule.watch.unsure
    if found.share <= limit or wilson(found.unsure, found.answers).low <= limit:
        return None
    return (
        f"{found.share:.0%} of {found.answers:,} answers did not go out unseen; {evidence.reference.share:.0%} of its "
        f"reference and {evidence.answers_before.share:.0%} of the version before did not."
    )


def _back(evidence: Evidence, words: str) -> Finding:
    if evidence.previous is None:
        return Finding(Standing.WORRYING, f"{words} There is no version to go back to: train another one.")
    return Finding(Standing.WORSE, words)


def _told(evidence: Evidence) -> str:
    share = evidence.live.share
    live = f"{share} of {evidence.live.settled:,} audited answers right" if share else "no audited answer settled yet"
    return f"Version {evidence.version}: {live}; on the sealed images {evidence.sealed:.1%}."
