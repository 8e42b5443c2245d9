"""Makes the queue: which pictures are worth a person's look, the most telling first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CellType, Label
from bloodyspy.labelling.answers import answered, kept_images, shadowed
from bloodyspy.labelling.audit import declare
from bloodyspy.labelling.labels import Key, Opinions
from bloodyspy.labelling.queue import Item, Queue, Why, write_queue
from bloodyspy.labelling.settling import State, standing
from bloodyspy.observation import PROBABILITIES
from bloodyspy.params import Params
from bloodyspy.policy import Action, Reason
from bloodyspy.settings import Settings

DOUBTED = 0.05
"""A label is suspect to which the model gives a lower probability."""

_NOVEL = {str(Reason.UNFAMILIAR), str(Reason.FOREIGN)}


@dataclass(frozen=True, slots=True)
class Laid:
    """A queue, and what is beside it."""

    queue: Queue
    unresolved: tuple[Key, ...]
    """Pictures that people could not agree on."""
    settled: int
    """Pictures that they agree on."""
    hidden: int
    """Pictures worth a look whose images are not kept."""


def lay_out(s: Settings, p: Params) -> Laid:
    """Make the queue anew and put it where the service reads it; the first call begins the random audit.

    The audit comes first, in the order of its draw: as much of it as people get done is a random sample itself. The
    others follow by what they teach (:func:`worth`); a picture that was sent several times is there once. Of what the
    policy rejected half of the places at most: it may be a stain to learn, or a flood of pictures of nothing.

    Raises:
        LabellingError: the audit's file is damaged, the labels cannot be read, or something cannot be written.
        MonitoringError: the observations cannot be read.
        KeepingError: the index of the kept images cannot be read.
    """
    drawn, now = declare(s, p.labelling.audit_share), datetime.now(UTC)
    since = now - timedelta(days=s.keep_days)
    frame, opinions = answered(s, since).frame, Opinions(s.labels).refresh()
    keys: list[Key] = list(frame["key"])
    times: list[datetime] = list(frame["time"])
    audited = [drawn.holds(key.request_id, key.picture, time) for key, time in zip(keys, times, strict=True)]
    named = set(opinions.pictures())
    said = {
        key: [one.label for one in opinions.of(key, time, blind=held) if one.label]
        for key, time, held in zip(keys, times, audited, strict=True)
        if key in named
    }
    why = reasons(frame, audited, shadowed(s, since), said, p.labelling.unsure)
    positions = np.array([drawn.position(key.request_id, key.picture) for key in keys])
    teaching = np.where(audited, np.inf, worth(frame, why, said))
    states = [standing(said.get(key, []), p.labelling.readers).state for key in keys]
    open_ones = [i for i in np.lexsort((positions, -teaching)) if states[i] is State.OPEN and why[i]]
    images = kept_images(s)
    shown = [i for i in open_ones if keys[i] in images]
    items = _limited(keys, times, shown, why, images, p.labelling.queue)
    queue = Queue(made=now, readers=p.labelling.readers, items=items)
    write_queue(queue, s.queue)
    return Laid(
        queue,
        unresolved=tuple(key for key, state in zip(keys, states, strict=True) if state is State.UNRESOLVED),
        settled=states.count(State.SETTLED),
        hidden=len(open_ones) - len(shown),
    )


def reasons(
    frame: pd.DataFrame,
    audited: Sequence[bool],
    shadow: Mapping[Key, str],
    said: Mapping[Key, Sequence[Label]],
    unsure: float,
) -> list[tuple[Why, ...]]:
    """Why each picture is worth a look; nothing where it is not.

    Args:
        frame: of :func:`~bloodyspy.labelling.answers.answered`, n rows.
        audited: whether each is in the audit, n of them.
        shadow: what the shadow answered.
        said: the labels so far.
        unsure: probability below which an answer is worth a look.
    """
    found = []
    for drawn, row in zip(audited, frame.to_dict("records"), strict=True):
        labels = [label for label in said.get(row["key"], ()) if isinstance(label, CellType)]
        tests = {
            Why.AUDIT: drawn,
            Why.REVIEW: row["action"] == Action.REVIEW,
            Why.DISAGREEMENT: shadow.get(row["key"], row["predicted"]) != row["predicted"],
            Why.REJECTED: row["action"] == Action.REJECT,
            Why.NOVELTY: not _NOVEL.isdisjoint(str(row["reasons"]).split()),
            Why.UNSURE: row["confidence"] < unsure,
            Why.SUSPECT: any(row[f"p_{label}"] < DOUBTED for label in labels),
        }
        found.append(tuple(why for why, holds in tests.items() if holds))
    return found


def worth(
    frame: pd.DataFrame, why: Sequence[tuple[Why, ...]], said: Mapping[Key, Sequence[Label]]
) -> NDArray[np.float64]:
    """How much a look at each picture teaches, (n,): a sum of five terms, each from 0 to 1.

    The entropy of the probabilities over that of eight equal ones; the share of answers that are less novel; one each
    where the policy asks for a person, where the shadow disagrees, and where somebody has looked already, so that one
    more look may settle it.
    """
    p = frame[list(PROBABILITIES)].to_numpy(np.float64).clip(1e-12, 1)
    entropy = -(p * np.log(p)).sum(axis=1) / np.log(len(PROBABILITIES))
    novelty = frame["novelty"].rank(pct=True).to_numpy(np.float64)
    asked = [sum(one in reasons for one in (Why.REVIEW, Why.DISAGREEMENT)) for reasons in why]
    begun = [bool(said.get(key)) for key in frame["key"]]
    return np.asarray(entropy + novelty + np.array(asked, np.float64) + np.array(begun, np.float64))


def _limited(
    keys: Sequence[Key],
    times: Sequence[datetime],
    shown: Sequence[int],
    why: Sequence[tuple[Why, ...]],
    images: Mapping[Key, str],
    most: int,
) -> tuple[Item, ...]:
    """The whole audit, and of the others as many as may be, half of them rejected at most; each image once."""
    items: list[Item] = []
    seen: set[str] = set()
    others = rejected = 0
    for i in shown:
        key = keys[i]
        digest, drawn, refused = images[key], Why.AUDIT in why[i], Why.REJECTED in why[i]
        room = others < most and not (refused and rejected >= most // 2)
        if drawn or (digest not in seen and room):
            named = {"request_id": key.request_id, "picture": key.picture, "answered": times[i]}
            items.append(Item(**named, sha256=digest, why=why[i]))
            seen.add(digest)
            others += not drawn
            rejected += refused and not drawn
    return tuple(items)
