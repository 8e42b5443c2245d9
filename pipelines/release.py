"""Releases: one Prefect transaction that is finished or undone, whatever happens in it; and ``rollback``."""

import logging

from prefect import flow
from prefect.transactions import Transaction, transaction

from bloodyspy.adapters import packaging, registry
from bloodyspy.custody import releasing, shadowing
from bloodyspy.errors import BloodySpyError, PromotionError
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Cause, Released
from bloodyspy.promotion.history import live, open_release
from bloodyspy.promotion.release import one_at_a_time
from bloodyspy.settings import Settings
from pipelines import shown
from pipelines.project import project, step

logger = logging.getLogger(__name__)


def _undo(txn: Transaction) -> None:
    """Compensation: everything names the version before again. After a kill the next run does it, or finishes."""
    releasing.undo(txn.get("begun"), "it could not be finished; the flow run's log says why", txn.get("settings"))


fetch = step(registry.artefact_of, "fetch an artefact")
store = step(packaging.store, "store the model in BentoML")
build = step(packaging.build, "build the bento")
prove = step(releasing.prove, "give the golden answers")
undo = step(releasing.undo, "undo a release that was left open")
check = step(releasing.check_packed, "compare what is packed with its last release")
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
    check(version, s)
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
    if found is None:
        return
    entry, begun = found
    try:
        release(begun.version, begun.cause, begun.reason, s)
    except BloodySpyError as exc:
        logger.warning("The release of version %d that was left open is undone: %s", begun.version, exc)
        undo(entry, str(exc), s)


@flow(name="rollback")
def rollback(reason: str, to: int | None = None, of: int | None = None) -> Released:
    """Let an earlier version answer again; code, data and params stay as they are.

    A rollback that was killed is finished. A promotion that was killed is undone, which may be all that was wanted.

    Args:
        reason: why, for the audit log.
        to: the version; without one, the one that answered before.
        of: only where this version answers still; without one, whoever answers.

    Returns:
        The release that stands now.

    Raises:
        PromotionError: there is no reason, no such version to go back to, or another answers than the one meant.
        BloodySpyError: it could not be released, and the present one goes on.
    """
    s, _ = project()
    if not reason.strip():
        raise PromotionError("Say why: the reason is what the audit log keeps. Nothing was changed.")
    with one_at_a_time(s):
        stands = live(trail.entries(s))
        if of is not None and (stands is None or stands[1].version != of):
            raise PromotionError(f"Version {of} answers no more. Nothing was changed.")
        done = _taken_back(reason, to, s) or release(releasing.rollback_target(to, s), Cause.ROLLBACK, reason, s)
        shown.release(done)
    return done


def _taken_back(reason: str, to: int | None, s: Settings) -> Released | None:
    """The release that stands once what was left open is ended, where that is what is asked for."""
    found = open_release(trail.entries(s))
    if found is None:
        return None
    entry, begun = found
    if begun.cause is Cause.ROLLBACK and to in (None, begun.version):
        return release(begun.version, begun.cause, begun.reason, s)
    undo(entry, reason, s)
    stands = live(trail.entries(s))
    return stands[1] if stands is not None and to in (None, stands[1].version) else None
