"""One promotion at a time, and its record."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from filelock import FileLock, Timeout
from pydantic import ValidationError

from bloodyspy.errors import PromotionError
from bloodyspy.promotion.decision import Decision
from bloodyspy.settings import Settings

DECISION = "decision"
"""Tag of a version: the whole :class:`Decision` as JSON."""

_DESCRIPTION = 5000  # characters

PATIENCE = 60.0  # seconds to wait for another promotion


@contextmanager
def one_at_a_time(s: Settings) -> Iterator[None]:
    """Nobody else promotes while the block runs; a killed holder lets go.

    Raises:
        PromotionError: another promotion takes longer than a minute.
    """
    s.state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(s.state / "promotion.lock", timeout=PATIENCE):
            yield
    except Timeout as exc:
        raise PromotionError(
            f"Another promotion is running; waited {PATIENCE:.0f} s for it. Run the same command again when it ends."
        ) from exc


@contextmanager
def one_loop(s: Settings) -> Iterator[bool]:
    """Whether the loop is ours while the block runs; False at once where another one runs. A killed holder lets go."""
    s.state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(s.state / "loop.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def description(decision: Decision) -> str:
    """The decision as a version's description in the registry, which shows Markdown; cut where MLflow's column ends."""
    if len(told := decision.markdown()) <= _DESCRIPTION:
        return told
    return textwrap.shorten(decision.summary, _DESCRIPTION, placeholder=" … (whole: the tag `decision`)")


def annotation(decision: Decision) -> dict[str, str]:
    """Tags that keep a decision on the challenger's version: a few to look at and search by, and the whole of it."""
    measured = {criterion.name: criterion.value for criterion in decision.criteria if criterion.value is not None}
    return {
        "outcome": str(decision.outcome),
        "compared_with": "nobody" if decision.champion is None else str(decision.champion),
        "test_digest": decision.test_digest,
        "test_images": f"{decision.images}{' synthetic' if decision.synthetic else ''}",
        **{name.replace(" ", "_"): f"{value:.4f}" for name, value in measured.items()},
        DECISION: decision.model_dump_json(),
    }


def recorded(tags: Mapping[str, str], version: int) -> Decision | None:
    """The decision that :func:`annotation` put among a version's tags; None where nobody decided about it here.

    Raises:
        PromotionError: the record was edited, or is about another version.
    """
    if DECISION not in tags:
        return None
    try:
        found = Decision.model_validate_json(tags[DECISION])
    except ValidationError as exc:
        raise PromotionError(
            f"The tag {DECISION!r} of version {version} is no decision of this version of BloodySpy "
            f"({exc.error_count()} faults). Remove the tag in the MLflow UI and promote again."
        ) from exc
    if found.challenger != version:
        raise PromotionError(
            f"The tag {DECISION!r} of version {version} is the decision about version {found.challenger}: somebody "
            "copied it. Remove the tag in the MLflow UI and promote again."
        )
    return found
