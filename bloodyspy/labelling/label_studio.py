"""The queue as tasks for Label Studio, and what people said there as labels of ours.

The formats are Label Studio's JSON: a list of tasks with ``data`` and ``predictions`` to import, and the same with
``annotations`` that it exports (https://labelstud.io/guide/task_format, https://labelstud.io/guide/export).
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bloodyspy.cells import CELL_TYPES, NO_CELL, Label
from bloodyspy.errors import KeepingError, LabellingError
from bloodyspy.images.media_type import kind_of
from bloodyspy.kept import store_of
from bloodyspy.labelling.answers import answered
from bloodyspy.labelling.audit import replace
from bloodyspy.labelling.labels import KeptLabel, Key, Labels, Opinions
from bloodyspy.labelling.queue import Why, read_queue
from bloodyspy.settings import Settings
from bloodyspy.smear.reading import Before

_FROM, _TO = "cell", "image"
NAMED = 10
"""Faults that a refusal names at most."""


def config() -> str:
    """The labelling interface, to be pasted into the project's settings; keys 1 to 8 and 0 as on the bench."""
    keys = [*((cell.value, cell.spelled_out, i) for i, cell in enumerate(CELL_TYPES, 1)), (NO_CELL, "no cell", 0)]
    choices = "\n".join(f'    <Choice value="{value}" hint="{words}" hotkey="{key}"/>' for value, words, key in keys)
    return (
        f'<View>\n  <Image name="{_TO}" value="$image" zoom="true"/>\n'
        f'  <Choices name="{_FROM}" toName="{_TO}" choice="single-radio" required="true">\n'
        f"{choices}\n  </Choices>\n</View>"
    )


def export(s: Settings, place: Path, images: Path | None = None, *, blind: bool = False) -> int:
    """Write the queue as tasks.

    Args:
        s: places.
        place: the file.
        images: a folder for the pictures, which Label Studio then serves as local files by the same path; without one
            they are in the tasks, as data URIs.
        blind: without the model's answers; those of the audit never have them.

    Returns:
        Number of tasks.

    Raises:
        LabellingError: there is no queue, or something cannot be written.
        MonitoringError: the observations cannot be read.
        KeepingError: the key of the kept images is missing.
    """
    queue = read_queue(s.queue)
    if queue is None:
        raise LabellingError("There is no queue to export. Make it with `bloodyspy labels queue`.")
    since = datetime.now(UTC) - timedelta(days=s.keep_days + 1)
    answers = {row["key"]: row for row in answered(s, since).frame.to_dict("records")} if not blind else {}
    store, tasks = store_of(s), []
    for item in queue.items:
        try:
            payload = store.read(item.sha256)
        except KeepingError:
            continue  # expired or erased since the queue was made
        data = {"image": _image(payload, item.sha256, images), **item.model_dump(mode="json", include=_NAMES)}
        why, answer = item.shown, None if Why.AUDIT in item.why else answers.get(item.key)
        task: dict[str, object] = {"data": {**data, "why": " ".join(why), "blind": answer is None}}
        if answer is not None:
            task["predictions"] = [_prediction(answer)]
        tasks.append(task)
    replace(place.resolve(), json.dumps(tasks, indent=1).encode())
    return len(tasks)


_NAMES = {"request_id", "picture"}


def _image(payload: bytes, digest: str, folder: Path | None) -> str:
    kind = kind_of(payload)
    if folder is None:
        return f"data:{kind.media_type};base64,{base64.b64encode(payload).decode()}"
    name = folder.resolve() / f"{digest}{kind.suffix}"
    replace(name, payload)
    return f"/data/local-files/?d={name.as_posix().lstrip('/')}"


def _prediction(answer: Mapping[Any, Any]) -> dict[str, object]:
    return {
        "model_version": f"v{answer['model_version']}",
        "score": round(float(answer["confidence"]), 6),
        "result": [
            {"from_name": _FROM, "to_name": _TO, "type": "choices", "value": {"choices": [str(answer["predicted"])]}}
        ],
    }


class _Foreign(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Choices(_Foreign):
    choices: tuple[Label, ...] = Field(min_length=1, max_length=1)


class _Result(_Foreign):
    value: _Choices


class _Person(_Foreign):
    id: int | None = None
    email: str | None = None


class _Annotation(_Foreign):
    result: tuple[_Result, ...] = Field(max_length=1)
    completed_by: int | str | _Person
    updated_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None
    was_cancelled: bool = False

    @property
    def reviewer(self) -> str:
        """Who gave it, as Label Studio names people: by address, else by number."""
        who = self.completed_by
        if isinstance(who, _Person):
            return who.email or f"label-studio:{who.id}"
        return who if isinstance(who, str) else f"label-studio:{who}"


class _Data(_Foreign):
    request_id: str
    picture: int
    blind: bool = False


class _Task(_Foreign):
    data: _Data
    annotations: tuple[_Annotation, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    new: int
    """Labels that were written down."""
    known: int
    """Labels that were there already, or that the same person has changed since."""
    skipped: int
    """Annotations without a label: cancelled or empty."""


def import_labels(s: Settings, place: Path, people: Mapping[str, str] | None = None) -> Imported:
    """Take labels from Label Studio's JSON export, all or none; the same file again changes nothing.

    Args:
        s: places.
        place: the file.
        people: name of a reviewer here, by what Label Studio calls them.

    Raises:
        LabellingError: no readable export; entries that are not as they should be are named by their index.
        LabelLost: the labels cannot be written.
    """
    try:
        entries = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise LabellingError(f"{place} is no readable JSON export of Label Studio: {exc}.") from exc
    if not isinstance(entries, list):
        raise LabellingError(f"{place} is no list of tasks. Export from Label Studio as JSON (not JSON-MIN or CSV).")
    tasks, faults = _tasks(entries)
    if faults:
        more = f" And {len(faults) - NAMED} more." if len(faults) > NAMED else ""
        raise LabellingError(f"Nothing was taken from {place}. {' '.join(faults[:NAMED])}{more}")
    opinions, now = Opinions(s.labels).refresh(), datetime.now(UTC)
    found = list(_labels(tasks, people or {}, now))
    labelled = [label for label in found if label is not None]
    # One person's several annotations of one task are in the order of their times: the last one holds.
    new: dict[tuple[Key, str], KeptLabel] = {}
    for label in sorted(labelled, key=lambda one: one.time):
        said = opinions.last(label.key, label.reviewer)
        if said is None or (said.time < label.time and (said.label, said.blind) != (label.label, label.blind)):
            new[label.key, label.reviewer] = label
    if new:
        Labels(s.labels).keep_all(list(new.values()))
    return Imported(len(new), len(labelled) - len(new), len(found) - len(labelled))


def _tasks(entries: Sequence[object]) -> tuple[list[_Task], list[str]]:
    tasks, faults = list[_Task](), list[str]()
    adapter = TypeAdapter(_Task)
    for index, entry in enumerate(entries):
        try:
            task = adapter.validate_python(entry)
            Before(request_id=task.data.request_id, picture=task.data.picture)
            tasks.append(task)
        except ValidationError as exc:
            fault = exc.errors()[0]
            faults.append(f"Entry {index}: {'.'.join(map(str, fault['loc'])) or 'the entry'}: {fault['msg']}.")
    return tasks, faults


def _labels(tasks: Sequence[_Task], people: Mapping[str, str], now: datetime) -> Iterator[KeptLabel | None]:
    for task in tasks:
        for one in task.annotations:
            if one.was_cancelled or not one.result:
                yield None
                continue
            yield KeptLabel(
                time=min(one.updated_at or one.created_at or now, now),  # their clock may be ahead of ours
                request_id=task.data.request_id,
                picture=task.data.picture,
                label=one.result[0].value.choices[0],
                reviewer=people.get(one.reviewer, one.reviewer),
                blind=task.data.blind,
            )
