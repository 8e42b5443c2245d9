"""Releases: one Prefect transaction that is finished or undone, whatever happens in it; and ``rollback``."""

from prefect import flow
from prefect.transactions import Transaction, transaction

from bloodyspy.adapters import packaging, registry
from bloodyspy.custody import releasing, shadowing
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Cause, Released
from bloodyspy.promotion.history import open_release
from bloodyspy.promotion.release import one_at_a_time
from bloodyspy.settings import Settings
from pipelines import shown
from pipelines.project import project, step


def _undo(txn: Transaction) -> None:
    """Compensation: everything names the version before again. After a kill the next run does it, or finishes."""
    releasing.undo(txn.get("begun"), "it could not be finished; the flow run's log says why", txn.get("settings"))


fetch = step(registry.artefact_of, "fetch an artefact")
store = step(packaging.store, "store the model in BentoML")
build = step(packaging.build, "build the bento")
prove = step(releasing.prove, "give the golden answers")
begin = step(releasing.begin, "begin the release", undo=_undo)
crown = step(registry.set_champion, "move the alias champion")
tell = step(packaging.tell, "tell the service")
finish = step(releasing.finish, "record the release")
end_shadow = step(shadowing.end_shadow, "end its time in the shadow")


def release(version: int, cause: Cause, reason: str, s: Settings) -> Released:
    """Let a version answer. What nobody sees comes first: only when it is packed and proved does anything change.

    Raises:
        BloodySpyError: it could not be released, and the version before it goes on.
    """
    store(fetch(version, s), version, s)
    build(version, s)
    prove(version, s)
    with transaction() as txn:
        begun = begin(version, cause, reason, s)
        txn.set("begun", begun)
        txn.set("settings", s)
        crown(version, s)
        tell(version, s)
        done = finish(begun, s)
    end_shadow(s, version)
    return done


def settle(s: Settings) -> None:
    """Finish what a killed release left open, or undo it where that cannot be."""
    found = open_release(trail.entries(s))
    if found is not None:
        _, begun = found
        release(begun.version, begun.cause, begun.reason, s)


@flow(name="rollback")
def rollback(reason: str, to: int | None = None) -> Released:
    """Let an earlier version answer again; code, data and params stay as they are.

    Args:
        reason: why, for the audit log.
        to: the version; without one, the one that answered before.

    Raises:
        PromotionError: there is no such version to go back to.
        BloodySpyError: it could not be released, and the present one goes on.
    """
    s, _ = project()
    with one_at_a_time(s):
        settle(s)
        done = release(releasing.rollback_target(to, s), Cause.ROLLBACK, reason, s)
        shown.release(done)
    return done
