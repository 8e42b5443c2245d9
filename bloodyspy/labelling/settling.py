"""When people agree on a picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bloodyspy.cells import Label


class State(StrEnum):
    """How far a picture is."""

    OPEN = "open"
    """Somebody else is asked."""
    SETTLED = "settled"
    UNRESOLVED = "unresolved"
    """As many as may be were asked, and no label has a majority: those who read talk about it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a picture."""

    state: State
    label: Label | None = None
    """Where it is settled."""


def most_readers(readers: int) -> int:
    """How many people are asked at most where ``readers`` have to agree: one more settles a conflict of all but one."""
    return max(3, 2 * readers - 1)


def standing(labels: Sequence[Label], readers: int) -> Standing:
    """How far a picture is, by what different people say of it.

    A label holds that ``readers`` people gave, if no other one was given as often. With two readers: both agree, or two
    of three do; three different answers are unresolved until a further person's word makes a majority.

    Args:
        labels: one of each person.
        readers: people who have to agree, at least 1.
    """
    ranked = Counter(labels).most_common(2)
    if ranked and ranked[0][1] >= readers and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
        return Standing(State.SETTLED, ranked[0][0])
    return Standing(State.UNRESOLVED if len(labels) >= most_readers(readers) else State.OPEN)
