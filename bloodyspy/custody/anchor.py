"""The audit log's head, kept outside of it: a chain alone cannot prove that nothing was cut off its end."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from bloodyspy.adapters import commits
from bloodyspy.errors import AuditError
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry, Fault
from bloodyspy.promotion.events import Digest
from bloodyspy.settings import Settings


class Anchor(BaseModel):
    """The newest entry at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    hash: Digest
    time: AwareDatetime


def anchor(s: Settings) -> tuple[Anchor, str]:
    """Keep the log's head as a git note on the checked-out commit.

    Returns:
        What was kept, and the commit.

    Raises:
        AuditError: the log is empty, cannot be read, or does not hold together.
        VersioningError: git cannot keep a note here.
    """
    entries = trail.entries(s)
    if not entries:
        raise AuditError("The audit log is empty: there is nothing to anchor.")
    head = entries[-1]
    kept = Anchor(number=head.number, hash=head.hash, time=head.time)
    return kept, commits.add_note(s.root, kept.model_dump_json())


def anchors(s: Settings) -> tuple[list[tuple[str, Anchor]], list[Fault]]:
    """Every anchor with its commit, and the notes that are none.

    Raises:
        VersioningError: git cannot be run.
    """
    found: list[tuple[str, Anchor]] = []
    faults: list[Fault] = []
    for commit, line in commits.notes(s.root):
        try:
            found.append((commit, Anchor.model_validate_json(line)))
        except ValidationError:
            faults.append(Fault(where=_note(commit), what="it was changed: a line of it is no anchor."))
    return found, faults


def compared(found: list[tuple[str, Anchor]], entries: list[Entry]) -> list[Fault]:
    """The anchors that the log does not bear out."""
    hashes = {entry.number: entry.hash for entry in entries}
    return [
        Fault(
            where=_note(commit),
            what=f"the log had entry {kept.number} as {kept.hash[:12]} on {kept.time:%Y-%m-%d}, and "
            + (
                f"has {hashes[kept.number][:12]} there now: it was written anew."
                if kept.number in hashes
                else "has no such entry now: its end was cut off."
            ),
        )
        for commit, kept in found
        if hashes.get(kept.number) != kept.hash
    ]


def _note(commit: str) -> str:
    return f"git note on {commit[:12]}"
