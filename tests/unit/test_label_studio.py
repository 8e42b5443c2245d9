"""Out to Label Studio and back: what is exported, what comes home, and what is refused."""

import base64
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from observed import live, log, observed
from pictures import tinted

from bloodyspy.cells import CELL_TYPES, NO_CELL, CellType
from bloodyspy.errors import LabellingError
from bloodyspy.kept import Kept, store_of
from bloodyspy.labelling.choosing import lay_out
from bloodyspy.labelling.label_studio import Imported, config, export, import_labels
from bloodyspy.labelling.labels import GivenLabel, Key, Labels, Opinions
from bloodyspy.labelling.queue import Why, read_queue, write_queue
from bloodyspy.params import Params
from bloodyspy.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def s(settings: Settings, params: Params) -> Settings:
    """Six answers in review, their images, and the queue of them."""
    frame = live(observed(6, 1), NOW - timedelta(days=2)).assign(action="review", reasons="unsure")
    assert settings.observations is not None
    log(settings.observations, frame)
    store_of(settings).keep([Kept(tinted(i), "", f"request-{i}", 0, "review") for i in range(6)])
    assert len(lay_out(settings, params).queue.items) == 6
    return settings


def annotated(
    task: dict[str, object], choice: str, who: object = 3, at: str = "2026-01-02T10:00:00.5Z"
) -> dict[str, object]:
    """A task as Label Studio exports it."""
    result = [{"id": "x", "type": "choices", "from_name": "cell", "to_name": "image", "value": {"choices": [choice]}}]
    annotation = {"id": 7, "completed_by": who, "result": result, "was_cancelled": False, "updated_at": at}
    return {**task, "id": 1, "annotations": [annotation], "meta": {}, "project": 1}


def write(place: Path, tasks: object) -> Path:
    place.write_text(json.dumps(tasks))
    return place


def test_there_and_back(s: Settings, tmp_path: Path) -> None:
    assert export(s, tmp_path / "tasks.json") == 6
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for task in tasks:
        kind, _, content = task["data"]["image"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == tinted(int(task["data"]["request_id"].removeprefix("request-")))
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "v3"
        assert 0 < prediction["score"] <= 1
        assert prediction["result"][0]["value"]["choices"][0] in set(CELL_TYPES)
    back = [annotated(task, "ig" if i else NO_CELL) for i, task in enumerate(tasks)]
    back[-1]["annotations"] = []
    back.append(annotated(tasks[0], "ig") | {"annotations": [{"completed_by": 3, "result": [], "was_cancelled": True}]})
    file = write(tmp_path / "export.json", back)
    people = {"label-studio:3": "anna"}
    assert import_labels(s, file, people) == Imported(new=5, known=0, skipped=1)
    assert import_labels(s, file, people) == Imported(new=0, known=5, skipped=1)
    first = Key(tasks[0]["data"]["request_id"], 0)
    (held,) = Opinions(s.labels).refresh().of(first)
    assert (held.reviewer, held.label, held.blind) == ("anna", NO_CELL, False)
    Labels(s.labels).keep(GivenLabel(request_id=first.request_id, picture=0, label=CellType.MONOCYTE), "anna")
    assert import_labels(s, file, people).new == 0  # an old file takes nothing back
    assert [one.label for one in Opinions(s.labels).refresh().of(first)] == [CellType.MONOCYTE]


def test_the_later_of_two_annotations_of_one_person_holds(s: Settings, tmp_path: Path) -> None:
    task = {"data": {"request_id": "request-1", "picture": 0}}
    late, early = (
        annotated(task, "ig", "a@b.org"),
        annotated(task, "monocyte", {"id": 4, "email": "a@b.org"}, "2026-01-01T00:00:00Z"),
    )
    import_labels(s, write(tmp_path / "one.json", [late, early]))
    (held,) = Opinions(s.labels).refresh().of(Key("request-1", 0))
    assert (held.reviewer, held.label) == ("a@b.org", CellType.IG)
    ahead = annotated(task, "platelet", "a@b.org", (NOW + timedelta(days=9)).isoformat())
    import_labels(s, write(tmp_path / "two.json", [ahead]))
    (held,) = Opinions(s.labels).refresh().of(Key("request-1", 0))
    assert held.time < datetime.now(UTC) + timedelta(minutes=5)  # or nobody could correct it for nine days


def test_pictures_in_a_folder_and_blind(s: Settings, tmp_path: Path) -> None:
    assert export(s, tmp_path / "tasks.json", tmp_path / "pictures", blind=True) == 6
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert not any("predictions" in task for task in tasks)
    import_labels(s, write(tmp_path / "export.json", [annotated(tasks[0], "ig")]))
    (held,) = Opinions(s.labels).refresh().of(Key(tasks[0]["data"]["request_id"], 0))
    assert held.blind
    for task in tasks:
        place = Path("/" + task["data"]["image"].removeprefix("/data/local-files/?d="))
        assert place.read_bytes() == tinted(int(task["data"]["request_id"].removeprefix("request-")))


def test_a_task_of_the_audit_tells_nothing_of_the_model(s: Settings, tmp_path: Path) -> None:
    queue = read_queue(s.queue)
    assert queue is not None
    first, *others = queue.items
    drawn = first.model_copy(update={"why": (Why.AUDIT, Why.REVIEW)})
    write_queue(queue.model_copy(update={"items": (drawn, *others)}), s.queue)
    export(s, tmp_path / "tasks.json")
    task = json.loads((tmp_path / "tasks.json").read_text())[0]
    assert "predictions" not in task
    assert (task["data"]["why"], task["data"]["blind"]) == ("audit", True)


def test_the_interface_has_every_label_and_the_keys_of_the_bench() -> None:
    choices = ET.fromstring(config()).findall("Choices/Choice")
    assert {choice.get("value"): choice.get("hotkey") for choice in choices} == {
        **{str(cell): str(cell.position + 1) for cell in CELL_TYPES},
        NO_CELL: "0",
    }


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"data": {}}, "Entry 1: data.request_id: Field required"),
        ("text", "Entry 1: the entry: "),
        ({"data": {"request_id": "../x", "picture": 0}}, "Entry 1: request_id: "),
        ({"data": {"request_id": "request-2", "picture": -1}}, "Entry 1: picture: "),
        (annotated({"data": {"request_id": "request-2", "picture": 0}}, "unicorn"), "Entry 1: annotations.0.result.0"),
    ],
)
def test_what_is_malformed_is_named_and_nothing_is_taken(
    s: Settings, tmp_path: Path, broken: object, told: str
) -> None:
    good = annotated({"data": {"request_id": "request-1", "picture": 0}}, "ig")
    with pytest.raises(LabellingError) as refused:
        import_labels(s, write(tmp_path / "export.json", [good, broken]))
    assert told in str(refused.value)
    assert not s.labels.exists()


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"a": 1}'])
def test_what_is_no_export(s: Settings, tmp_path: Path, content: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(LabellingError, match=r"Label Studio"):
        import_labels(s, tmp_path / "export.json")
