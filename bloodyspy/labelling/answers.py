"""The live answers that labels are about, and which of their pictures can still be looked at."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from bloodyspy.kept import store_of
from bloodyspy.labelling.labels import Key
from bloodyspy.observation import PROBABILITIES
from bloodyspy.policy import Action
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted

_COLUMNS = ("model_version", *PROBABILITIES, "predicted", "confidence", "novelty", "action", "reasons")


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service said of pictures."""

    frame: pd.DataFrame
    """One row a picture, sorted by time: ``key``, time, model_version, PROBABILITIES, predicted, confidence, novelty,
    action and reasons."""
    ambiguous: int
    """Pictures left out, because more than one answer claims to be theirs: a client used an id again."""

    @property
    def given(self) -> pd.DataFrame:
        """The rows that are answers: a rejection is none."""
        return self.frame[self.frame["action"] != str(Action.REJECT)].reset_index(drop=True)


def answered(s: Settings, since: datetime | None = None) -> Answered:
    """Every answer from then on, gathered up to now.

    Raises:
        MonitoringError: the store of observations cannot be read.
    """
    frame = streams.live(s).newest(Wanted(since=since), columns=_COLUMNS).frame
    frame = _keyed(frame)
    again = frame["key"].duplicated(keep=False)
    return Answered(frame[~again].reset_index(drop=True), int(frame["key"][again].nunique()))


def shadowed(s: Settings, since: datetime | None = None) -> dict[Key, str]:
    """What the newest shadow answered to each picture.

    Raises:
        MonitoringError: as :func:`answered`.
    """
    if not s.shadow_observations.exists():  # no version has answered in the shadow
        return {}
    frame = _keyed(streams.shadow(s).newest(Wanted(since=since), columns=("predicted",)).frame)
    return dict(zip(frame["key"], frame["predicted"], strict=True))


def kept_images(s: Settings) -> dict[Key, str]:
    """SHA-256 of the images that are still kept; of a picture whose id stands for several none is told.

    Raises:
        KeepingError: the index cannot be read.
    """
    found: dict[Key, set[str]] = defaultdict(set)
    for one in store_of(s).pictures():
        found[Key(one.request_id, one.picture)].add(one.sha256)
    return {key: digests.pop() for key, digests in found.items() if len(digests) == 1}


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    keys = [Key(str(request), int(place)) for request, place in zip(frame["request_id"], frame["picture"], strict=True)]
    return frame.drop(columns=["request_id", "picture"]).assign(key=pd.Series(keys, index=frame.index, dtype=object))
