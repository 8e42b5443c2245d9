"""A release, step by step: the alias in the registry, the bento, and what the service loads come to name one version.

Between :func:`begin` and :func:`finish` they may disagree. Both are entries of the audit log, so whoever comes after a
kill knows that a release is open, and finishes it or undoes it.
"""

from datetime import UTC, datetime

from bloodyspy.adapters import packaging, registry
from bloodyspy.errors import PromotionError, ServiceError
from bloodyspy.model import golden
from bloodyspy.model.artifact import GOLDEN, read_digests
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import read_release
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.events import Cause, ReleaseBegun, Released, ReleaseUndone
from bloodyspy.promotion.history import live, open_release, standing
from bloodyspy.settings import Settings


def agrees(version: int, s: Settings) -> bool:
    """Whether the audit log, the alias and the service's release file all name a version, and no release is open."""
    entries = trail.entries(s)
    found, champion = live(entries), registry.champion(s)
    if found is None or champion is None or open_release(entries) is not None:
        return False
    try:
        told = read_release(s.release).version
    except ServiceError:  # none, or a garbled one
        return False
    return found[1].version == champion.number == told == version


def rollback_target(to: int | None, s: Settings) -> int:
    """The version to go back to: the one that answered before, or the one that is named.

    Raises:
        PromotionError: there is none before, or the named one answers already or never did.
        AuditError: the log cannot be read.
    """
    entries = trail.entries(s)
    pile = standing(entries)
    if not pile:
        raise PromotionError("Nothing was released yet, so there is nothing to go back from.")
    if to is None:
        if len(pile) == 1:
            raise PromotionError(f"Version {pile[0]} is the first that answered: there is none to go back to.")
        return pile[-2]
    if to == pile[-1]:
        raise PromotionError(f"Version {to} answers already.")
    ever = sorted({*pile, *(entry.event.version for entry in entries if isinstance(entry.event, Released))})
    if to not in ever:
        raise PromotionError(
            f"Version {to} never answered, so there is no going back to it. Released until now: "
            f"{', '.join(map(str, ever))}. A version that never answered has to pass the gate: `python -m pipelines "
            "promote`."
        )
    return to


def begin(version: int, cause: Cause, reason: str, s: Settings) -> Entry:
    """Open a release, or go on with the one that is open for this version.

    Raises:
        RegistryError: no such version.
        PromotionError: a release of another version is open.
        AuditError: the log cannot be read or written.
    """
    wanted = registry.version(s, version)
    entries = trail.entries(s)
    if (found := open_release(entries)) is not None:
        entry, opened = found
        if opened.version == version and opened.cause is cause:
            return entry
        raise PromotionError(f"A release of version {opened.version} is open: `python -m pipelines promote` ends it.")
    before, champion = live(entries), registry.champion(s)
    # Where the log is younger than the first champion, the alias says who answered.
    previous = before[1].version if before else champion.number if champion else None
    return trail.record(
        ReleaseBegun(
            cause=cause,
            version=version,
            artefact_digest=wanted.artefact_digest,
            previous=previous,
            reason=reason,
        ),
        s,
    )


def check_packed(version: int, s: Settings) -> None:
    """What is packed already must be what was released before: a release never makes an altered file the right one.

    Raises:
        PromotionError: a file of the model or its bento was changed since; the message names it.
        ServiceError: the store cannot be read.
    """
    released = [e.event for e in trail.entries(s) if isinstance(e.event, Released) and e.event.version == version]
    if not released or not packaging.is_built(version, s):
        return
    before, now = released[-1].files, packaging.files(version, s)
    if wrong := sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path)):
        raise PromotionError(
            f"{len(wrong)} packed files of version {version} are not those that were released, {wrong[0]} for one. "
            f"Find out who changed them; then remove them (`bentoml delete {packaging.tag_of(version)}`, `bentoml "
            f"models delete {packaging.tag_of(version)}`), and the same command packs it anew from the registry."
        )


def prove(version: int, s: Settings) -> None:
    """Load what the service will load, and let it answer its golden pictures.

    Raises:
        ServiceError: the version is not stored.
        GoldenMismatch: it gives other answers than when it was assembled.
        ArtefactInvalid, PreprocessMismatch: it cannot be used.
    """
    golden.check(Classifier(packaging.stored(version, s), s.threads))


def finish(begun: Entry, s: Settings) -> Released:
    """Record that a release is made.

    Raises:
        PromotionError: the alias or the release file names another version meanwhile.
        AuditError: the log cannot be written.
    """
    opened = _begun(begun)
    champion, told = registry.champion(s), read_release(s.release)
    if champion is None or not champion.number == told.version == opened.version:
        raise PromotionError(
            f"Version {opened.version} was to be released, but the alias `champion` names "
            f"{champion.number if champion else 'nobody'} and the service was told version {told.version}: somebody "
            "else changed one of them meanwhile. Run the same command again."
        )
    stored = packaging.stored(opened.version, s)
    done = Released(
        cause=opened.cause,
        version=opened.version,
        artefact_digest=opened.artefact_digest,
        run_id=stored.spec.run_id,
        previous=opened.previous,
        reason=opened.reason,
        golden=read_digests(stored.path)[GOLDEN],
        files=packaging.files(opened.version, s),
        seconds=max(0.0, (datetime.now(UTC) - begun.time).total_seconds()),  # the clock may have been put back
    )
    trail.record(done, s)
    return done


def undo(begun: Entry, reason: str, s: Settings) -> None:
    """Let everything name the version that answered before a release was begun; nothing, where it is open no more.

    Raises:
        RegistryError, ServiceError: that version is not there any more.
        AuditError: the log cannot be written.
    """
    opened, still = _begun(begun), open_release(trail.entries(s))
    if still is None or still[0] != begun:
        return
    if opened.previous is None:
        registry.clear_champion(s)
        s.release.unlink(missing_ok=True)
    else:
        registry.set_champion(opened.previous, s)
        packaging.tell(opened.previous, s)
    trail.record(ReleaseUndone(version=opened.version, previous=opened.previous, reason=reason), s)


def _begun(entry: Entry) -> ReleaseBegun:
    assert isinstance(entry.event, ReleaseBegun)  # begin made it
    return entry.event
