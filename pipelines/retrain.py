"""``retrain``, the loop: is there a reason to train anew, and if there is: labels in, train, promote.

Nothing is kept of it but entries of the audit log. Killed anywhere, the next run finds the loop open and goes on: what
is done already is known by DVC, the registry and the log.
"""

from dataclasses import dataclass

from prefect import flow

from bloodyspy.custody import looping
from bloodyspy.promotion.loop import Idle
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded
from bloodyspy.promotion.release import one_loop
from monitoring import loop
from pipelines import events, shown
from pipelines.project import project, ran, step
from pipelines.promote import promote
from pipelines.take_labels import take_labels
from pipelines.train import train

RUNNING = "A loop is running already; it trains, or waits for approval. This run ends, and changes nothing."

gather = step(loop.present, "gather what the loop decides by")
begin = step(looping.begin, "begin the loop, or go on with it")
end = step(looping.end, "end the loop")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one run of the loop did."""

    begun: LoopBegun | None
    """None where there was no reason, or another run has the loop."""
    ended: LoopEnded | None
    words: str
    """One sentence."""


@flow(name="retrain")
def retrain(reason: str | None = None) -> Turn:
    """Train anew where there is a reason, and promote what comes of it if the gate lets it.

    Args:
        reason: a person's; without one, drift, labels and the calendar are asked.

    Raises:
        PromotionError: the reason was tried too often without getting further.
        BloodySpyError: a step failed; the reason stands, and the next run goes on.
    """
    s, p = project()
    with one_loop(s) as ours:
        if not ours:
            ran("retrain", s)
            return Turn(None, None, RUNNING)
        known = gather(s, p)
        begun = begin(known, reason, p.loop, s)
        if isinstance(begun, Idle):
            if known.alarm is not None and begun.labels:
                events.tell(events.LABELS, s, labels=begun.labels, reason=begun.words)
            ran("retrain", s)
            return Turn(None, None, f"No reason to train anew. {begun.words}")
        shown.loop(s)
        take_labels()
        train()
        promote()
        ended = end(begun, s)
        shown.loop(s)
        ran("retrain", s)
    return Turn(begun, ended, ended.words)
