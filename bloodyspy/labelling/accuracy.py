"""How often the live answers are right, measured on the random audit alone.

Pictures that people label because the model doubts them are wrong more often than others: a share among them says
nothing of all answers. The audited ones were drawn whatever the model said, so theirs estimates that of all. But of
these, too, the doubtful ones are labelled first at the bench, where the model's answer is in sight: such a label does
not count, and whoever gave it is asked again in the queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bloodyspy.cells import Label
from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.labelling.answers import answered, kept_images
from bloodyspy.labelling.audit import read_audit
from bloodyspy.labelling.labels import Key, Opinions
from bloodyspy.labelling.settling import State, standing
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """What the audit tells of the answers of one version; counts are of pictures."""

    model_version: int
    since: datetime | None
    answered: int = 0
    """With a type; rejections are no answers."""
    audited: int = 0
    """Of these, drawn for the audit."""
    settled: int = 0
    """Of these, that people agree on. An answer to what they call no cell is wrong."""
    right: int = 0
    waiting: int = 0
    """Audited, not settled, and the image is there: somebody may still look."""
    unresolved: int = 0
    """Audited, and people could not agree."""
    lost: int = 0
    """Audited and not settled, and the image is gone or was never kept."""
    ambiguous: int = 0
    """Of all versions: left out because an id was used again."""

    @property
    def accuracy(self) -> Estimate | None:
        """Share of right answers, with Wilson's 95 % interval; None where nothing is settled."""
        return wilson(self.right, self.settled) if self.settled else None

    @property
    def low(self) -> float:
        """Low end of the interval; 0 where nothing is settled."""
        return self.accuracy.low if self.accuracy else 0.0

    @property
    def high(self) -> float:
        """High end of the interval; 1 where nothing is settled."""
        return self.accuracy.high if self.accuracy else 1.0

    @property
    def worst(self) -> float:
        """The share of right answers among all audited, if every one that is not settled were wrong."""
        return self.right / self.audited if self.audited else 0.0

    @property
    def best(self) -> float:
        """The same, if each of them were right."""
        return (self.right + self.audited - self.settled) / self.audited if self.audited else 1.0


def live_accuracy(s: Settings, p: Params, model_version: int, since: datetime | None = None) -> LiveAccuracy:
    """The accuracy of a version's live answers.

    Args:
        s: places.
        p: how many readers have to agree.
        model_version: number of the version.
        since: answers from then on, with a time zone; all that the store has where it is not said.

    Raises:
        LabellingError: the audit's file is damaged, or the labels cannot be read.
        MonitoringError: the observations cannot be read.
        KeepingError: the index of the kept images cannot be read.
    """
    return by_version(s, p, since).get(model_version) or LiveAccuracy(model_version, since)


def by_version(s: Settings, p: Params, since: datetime | None = None) -> dict[int, LiveAccuracy]:
    """The same of every version that has answered, by its number; raises as :func:`live_accuracy`."""
    live, drawn = answered(s, since), read_audit(s.audit)
    images, opinions = kept_images(s), Opinions(s.labels).refresh()
    found = {}
    for version, frame in live.given.groupby("model_version"):
        rows = zip(frame["key"], frame["time"], frame["predicted"], strict=True)
        audited = {
            key: (said, time)
            for key, time, said in rows
            if drawn is not None and drawn.holds(key.request_id, key.picture, time)
        }
        found[int(str(version))] = _measured(
            int(str(version)), since, len(frame), live.ambiguous, audited, images, opinions, p.labelling.readers
        )
    return found


def _measured(
    version: int,
    since: datetime | None,
    answers: int,
    ambiguous: int,
    audited: Mapping[Key, tuple[str, datetime]],
    images: Mapping[Key, str],
    opinions: Opinions,
    readers: int,
) -> LiveAccuracy:
    settled = right = unresolved = waiting = 0
    for key, (predicted, time) in audited.items():
        labels: Sequence[Label] = [one.label for one in opinions.of(key, time, blind=True) if one.label]
        now = standing(labels, readers)
        settled += now.state is State.SETTLED
        right += now.label == predicted
        unresolved += now.state is State.UNRESOLVED
        waiting += now.state is State.OPEN and key in images
    lost = len(audited) - settled - unresolved - waiting
    return LiveAccuracy(version, since, answers, len(audited), settled, right, waiting, unresolved, lost, ambiguous)
