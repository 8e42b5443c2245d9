"""The audit's draw, when people agree, the queue's order, live accuracy: on a real store, real labels, real images."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from observed import live, log, observed

from bloodyspy.cells import NO_CELL, CellType, Label
from bloodyspy.errors import LabellingError
from bloodyspy.kept import Kept, store_of
from bloodyspy.labelling.acceptance import accepted, waiting
from bloodyspy.labelling.accuracy import by_version, live_accuracy
from bloodyspy.labelling.audit import Audit, Auditor, Epoch, declare
from bloodyspy.labelling.choosing import lay_out, worth
from bloodyspy.labelling.labels import GivenLabel, KeptLabel, Key, Labels, Opinions
from bloodyspy.labelling.queue import Why, read_queue
from bloodyspy.labelling.settling import State, standing
from bloodyspy.observation import PROBABILITIES
from bloodyspy.params import Params
from bloodyspy.serving.keeping import Keeper
from bloodyspy.serving.queue import ShownQueue
from bloodyspy.settings import Keep, Settings

NOW = datetime.now(UTC)
BEGUN = NOW - timedelta(days=20)
IG, NEUTROPHIL, MONOCYTE = CellType.IG, CellType.NEUTROPHIL, CellType.MONOCYTE


def drawing(share: float, key: str = "ab" * 32, since: datetime = BEGUN) -> Audit:
    return Audit(key=key, epochs=(Epoch(since=since, share=share),))


def begin(s: Settings, share: float) -> Audit:
    """An audit that has run for some weeks."""
    s.labelling.mkdir(parents=True, exist_ok=True)
    s.audit.write_text(drawing(share).model_dump_json())
    return declare(s, share)


def with_params(p: Params, **changes: object) -> Params:
    return p.model_copy(update={"labelling": p.labelling.model_copy(update=changes)})


@dataclass
class Project:
    """A project whose answers are told by hand."""

    s: Settings

    def answer(self, rows: pd.DataFrame, *, kept: bool = True, shadow: bool = False) -> pd.DataFrame:
        """Log answers, and keep a picture of each, named by its request."""
        assert self.s.observations is not None
        log(self.s.shadow_observations if shadow else self.s.observations, rows)
        if kept:
            store_of(self.s).keep(
                [
                    Kept(f"picture of {row.request_id} {row.picture}".encode(), "", row.request_id, row.picture, "auto")
                    for row in rows.itertuples()
                ]
            )
        return rows

    def say(self, reviewer: str, request_id: str, label: Label | None, picture: int = 0, *, blind: bool = True) -> None:
        given = GivenLabel(request_id=request_id, picture=picture, label=label, blind=blind)
        Labels(self.s.labels).keep(given, reviewer)


@pytest.fixture
def project(settings: Settings) -> Project:
    return Project(settings)


def answers(rows: int, seed: int = 0, age: float = 10, **columns: object) -> pd.DataFrame:
    """Sure answers, all of one type, unless told otherwise."""
    frame = live(observed(rows, seed), NOW - timedelta(days=age)).assign(
        predicted=str(IG), confidence=0.99, novelty=0.1
    )
    frame[list(PROBABILITIES)] = 0.001
    frame[f"p_{IG}"] = 0.993
    return frame.assign(**columns)


def test_the_draw_is_a_share_whatever_the_answers_are() -> None:
    audit = drawing(0.1)
    drawn = np.array([audit.holds(f"request-{i // 4}", i % 4, NOW) for i in range(20_000)])
    assert abs(drawn.mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 20_000)
    for modulus in (2, 4, 7):  # nothing that is regular in the ids is drawn more often
        shares = [drawn[rest::modulus].mean() for rest in range(modulus)]
        assert max(shares) - min(shares) < 0.03
    again = Audit.model_validate_json(audit.model_dump_json())
    assert all(again.holds("request-7", i, NOW) == audit.holds("request-7", i, NOW) for i in range(50))
    other = drawing(0.1, key="cd" * 32)  # who does not have the key cannot tell
    both = np.mean([other.holds(f"request-{i}", 0, NOW) and audit.holds(f"request-{i}", 0, NOW) for i in range(20_000)])
    assert both < 0.02
    assert not audit.holds("request-1", 0, BEGUN - timedelta(seconds=1))


def test_a_raised_share_draws_more_from_then_on_and_none_of_before(settings: Settings) -> None:
    first = begin(settings, 0.3)
    assert declare(settings, 0.3) == first  # again, nothing new happens
    raised = declare(settings, 0.6)
    assert raised.key == first.key
    later = raised.epochs[-1].since + timedelta(seconds=1)
    ids = [f"request-{i}" for i in range(2000)]
    before, after = ({one for one in ids if raised.holds(one, 0, time)} for time in (NOW - timedelta(days=1), later))
    assert before == {one for one in ids if first.holds(one, 0, later)}
    assert before < after
    settings.audit.write_text("{")
    with pytest.raises(LabellingError, match="Restore it from a copy"):
        declare(settings, 0.6)


def test_the_pictures_of_the_audit_are_kept_with_those_in_review(settings: Settings) -> None:
    audit = begin(settings, 0.4)
    keeper = Keeper(settings.model_copy(update={"keep_images": Keep.REVIEW}))
    keeper.start()
    for i in range(60):
        keeper.offer(Kept(f"{i}".encode(), "", f"request-{i}", 0, "review" if i < 3 else "auto"))
    keeper.stop()
    kept = {one.request_id for one in store_of(settings).pictures()}
    drawn = {f"request-{i}" for i in range(60) if audit.holds(f"request-{i}", 0, NOW)}
    assert 3 < len(drawn) < 50
    assert kept == drawn | {"request-0", "request-1", "request-2"}


def test_the_service_goes_on_with_a_draw_whose_file_is_broken(settings: Settings) -> None:
    audit, auditor = begin(settings, 0.5), Auditor(settings.audit)
    held = [auditor.holds(f"request-{i}", 0) for i in range(50)]
    assert held == [audit.holds(f"request-{i}", 0, NOW) for i in range(50)]
    settings.audit.write_text("no JSON")
    assert [auditor.holds(f"request-{i}", 0) for i in range(50)] == held
    assert not Auditor(settings.state / "nowhere.json").holds("request-1", 0)


@pytest.mark.parametrize(
    ("labels", "readers", "state", "label"),
    [
        ([], 2, State.OPEN, None),
        ([IG], 2, State.OPEN, None),
        ([IG, IG], 2, State.SETTLED, IG),
        ([IG, NO_CELL], 2, State.OPEN, None),
        ([IG, NO_CELL, NO_CELL], 2, State.SETTLED, NO_CELL),
        ([IG, MONOCYTE, NEUTROPHIL], 2, State.UNRESOLVED, None),
        ([IG, MONOCYTE, NEUTROPHIL, IG], 2, State.SETTLED, IG),
        ([IG, IG, MONOCYTE, MONOCYTE], 2, State.UNRESOLVED, None),
        ([IG], 1, State.SETTLED, IG),
        ([IG, MONOCYTE], 1, State.OPEN, None),
        ([IG, IG], 3, State.OPEN, None),
        ([IG, IG, MONOCYTE, MONOCYTE, NEUTROPHIL], 3, State.UNRESOLVED, None),
    ],
)
def test_when_people_agree(labels: list[Label], readers: int, state: State, label: Label | None) -> None:
    found = standing(labels, readers)
    assert (found.state, found.label) == (state, label)


def test_the_last_word_of_each_person_counts_and_a_torn_line_is_none(project: Project) -> None:
    opinions, key = Opinions(project.s.labels), Key("request-1", 0)
    project.say("anna", "request-1", IG)
    project.say("ben", "request-1", MONOCYTE)
    assert [one.label for one in opinions.refresh().of(key)] == [IG, MONOCYTE]
    project.say("anna", "request-1", NEUTROPHIL)
    project.say("ben", "request-1", None)
    (file,) = project.s.labels.glob("*/*.jsonl")
    with file.open("a") as stream:
        stream.write('no label\n{"time": "2026-')
    assert [(one.reviewer, one.label) for one in opinions.refresh().of(key)] == [("anna", NEUTROPHIL)]
    assert opinions.unreadable == 1
    assert Opinions(project.s.labels).refresh().of(key) == opinions.of(key)  # read at once, or as it grew


def test_the_audit_comes_first_and_then_what_teaches_most(project: Project, params: Params) -> None:
    audit = begin(project.s, 0.1)
    frame = answers(200)
    frame.loc[50, ["action", "reasons"]] = ["review", "unsure"]
    frame.loc[60, ["action", "reasons"]] = ["review", "unfamiliar"]
    frame.loc[60, "novelty"] = 0.9
    frame.loc[70, "confidence"] = 0.5
    frame.loc[[80, 81], ["action", "novelty"]] = ["reject", 0.95]
    project.answer(frame)
    project.answer(frame.iloc[[90]].assign(predicted=str(MONOCYTE)), shadow=True, kept=False)
    project.say("anna", "request-95", MONOCYTE)
    laid = lay_out(project.s, with_params(params, audit_share=0.1))
    drawn = {f"request-{i}" for i in range(200) if audit.holds(f"request-{i}", 0, NOW)}
    first = [item.request_id for item in laid.queue.items[: len(drawn)]]
    assert set(first) == drawn
    assert first == sorted(first, key=lambda one: audit.position(one, 0))
    others = {item.request_id: item.why for item in laid.queue.items[len(drawn) :]}
    wanted = {
        "request-60": (Why.REVIEW, Why.NOVELTY),
        "request-50": (Why.REVIEW,),
        "request-90": (Why.DISAGREEMENT,),
        "request-80": (Why.REJECTED,),
        "request-81": (Why.REJECTED,),
        "request-95": (Why.SUSPECT,),
        "request-70": (Why.UNSURE,),
    }
    assert others == {one: why for one, why in wanted.items() if one not in drawn}
    assert next(iter(others)) == "request-60"
    assert list(others)[-1] == "request-70"
    assert read_queue(project.s.queue) == laid.queue


def test_what_is_asked_of_the_audit_does_not_depend_on_the_answers(project: Project, params: Params) -> None:
    begin(project.s, 0.2)
    frame = answers(100)
    project.answer(frame)
    p = with_params(params, audit_share=0.2, queue=1)

    def audited() -> list[str]:
        return [item.request_id for item in lay_out(project.s, p).queue.items if Why.AUDIT in item.why]

    before = audited()
    assert 8 < len(before) < 35
    moved = frame.assign(predicted=str(MONOCYTE), confidence=0.3, action="review", time=frame["time"])
    for file in project.s.observations.glob("*/*.jsonl") if project.s.observations else ():
        file.unlink()
    other = project.s.model_copy(update={"observation_store": str(project.s.state / "other-store")})
    log(other.observations, moved)  # type: ignore[arg-type]
    again = [item.request_id for item in lay_out(other, p).queue.items if Why.AUDIT in item.why]
    assert again == before  # other answers, another moment: the same draw in the same order


def test_a_picture_without_its_image_or_with_two_is_not_shown(project: Project, params: Params) -> None:
    begin(project.s, 0)
    frame = answers(4, action="review", reasons="unsure")
    project.answer(frame.iloc[:3])
    project.answer(frame.iloc[3:], kept=False)
    store_of(project.s).keep([Kept(b"another", "", "request-0", 0, "review")])  # its client used the id again
    laid = lay_out(project.s, with_params(params, audit_share=0.0))
    assert {item.request_id for item in laid.queue.items} == {"request-1", "request-2"}
    assert laid.hidden == 2


def test_what_is_rejected_takes_half_of_the_places_at_most(project: Project, params: Params) -> None:
    """A flood of pictures of nothing leaves the others their half; the audit draws among them as among all."""
    audit = begin(project.s, 0.1)
    frame = answers(100, confidence=0.5)
    frame.loc[:59, ["action", "novelty"]] = ["reject", 1.0]
    project.answer(frame)
    laid = lay_out(project.s, with_params(params, audit_share=0.1, queue=20))
    drawn = {f"request-{i}" for i in range(100) if audit.holds(f"request-{i}", 0, NOW)}
    assert {item.request_id for item in laid.queue.items if Why.AUDIT in item.why} == drawn
    others = [Why.REJECTED in item.why for item in laid.queue.items if Why.AUDIT not in item.why]
    assert others == [True] * 10 + [False] * 10


def test_worth_rises_with_doubt(project: Project) -> None:
    frame = answers(3).assign(key=[Key(f"request-{i}", 0) for i in range(3)])
    frame.loc[1, list(PROBABILITIES)] = 1 / 8
    found = worth(frame, [()] * 3, {Key("request-2", 0): [IG]})
    assert found[1] == pytest.approx(found[0] + 1, abs=0.05)
    assert found[2] == pytest.approx(found[0] + 1)


def test_live_accuracy_counts_the_audit_alone(project: Project, params: Params) -> None:
    audit = begin(project.s, 0.3)
    frame = answers(100)
    project.answer(frame)
    p = with_params(params, audit_share=0.3)
    drawn = [f"request-{i}" for i in range(100) if audit.holds(f"request-{i}", 0, NOW)]
    for one in drawn[:10]:
        for reviewer in ("anna", "ben"):
            project.say(reviewer, one, MONOCYTE if one == drawn[0] else NO_CELL if one == drawn[1] else IG)
    for reviewer, label in (("anna", IG), ("ben", MONOCYTE), ("carl", NEUTROPHIL)):
        project.say(reviewer, drawn[10], label)
    left = [f"request-{i}" for i in range(100) if f"request-{i}" not in drawn]
    for one in left[:40]:  # what people label besides says nothing, right or wrong
        project.say("anna", one, MONOCYTE)
        project.say("ben", one, MONOCYTE)
    found = live_accuracy(project.s, p, 3)
    assert (found.answered, found.audited, found.settled, found.right) == (100, len(drawn), 10, 8)
    assert (found.unresolved, found.waiting, found.lost) == (1, len(drawn) - 11, 0)
    assert found.low < 0.8 < found.high
    assert found.worst == pytest.approx(8 / len(drawn))
    assert found.best == pytest.approx((len(drawn) - 2) / len(drawn))
    store_of(project.s).expire(datetime.now(UTC))
    gone = live_accuracy(project.s, p, 3)
    assert (gone.waiting, gone.lost, gone.settled) == (0, len(drawn) - 11, 10)
    assert live_accuracy(project.s, p, 4).accuracy is None
    assert live_accuracy(project.s, p, 3, since=NOW).answered == 0


def test_labels_of_the_bench_do_not_choose_what_the_audit_counts(project: Project, params: Params) -> None:
    """Who labels doubtful ones with the answer in sight is asked again; else the audit would be of doubtful ones."""
    audit = begin(project.s, 0.3)
    project.answer(answers(100))
    p = with_params(params, audit_share=0.3)
    drawn = [f"request-{i}" for i in range(100) if audit.holds(f"request-{i}", 0, NOW)]
    for one in drawn[:5]:  # wrong answers, which carla has labelled as she met them
        project.say("carla", one, MONOCYTE, blind=False)
        project.say("anna", one, MONOCYTE)
    found = live_accuracy(project.s, p, 3)
    assert (found.settled, found.waiting) == (0, len(drawn))
    lay_out(project.s, p)
    shown = ShownQueue(project.s)
    assert {one.request_id for one in shown.wanted("carla", 200).items} >= set(drawn)
    assert not {one.request_id for one in shown.wanted("anna", 200).items} & set(drawn[:5])
    project.say("carla", drawn[0], MONOCYTE)
    assert live_accuracy(project.s, p, 3).settled == 1
    assert drawn[0] not in {one.request_id for one in shown.wanted("ben", 200).items}


def test_a_label_of_an_earlier_picture_is_none_of_this_one(project: Project, params: Params) -> None:
    """A client that used a request's id again, after the first picture was forgotten."""
    begin(project.s, 0.5)
    frame = project.answer(answers(10))
    earlier = frame["time"].min().to_pydatetime() - timedelta(days=60)
    Labels(project.s.labels).keep_all(
        [
            KeptLabel(time=earlier, request_id=f"request-{i}", picture=0, label=MONOCYTE, reviewer=who, blind=True)
            for i in range(10)
            for who in ("anna", "ben")
        ]
    )
    p = with_params(params, audit_share=0.5)
    assert lay_out(project.s, p).settled == 0
    assert live_accuracy(project.s, p, 3).settled == 0
    assert accepted(project.s, p) == []


def test_an_image_that_was_drawn_under_another_name_is_no_training_image(project: Project, params: Params) -> None:
    audit = begin(project.s, 0.5)
    project.answer(answers(20), kept=False)
    drawn, other = (
        next(f"request-{i}" for i in range(20) if audit.holds(f"request-{i}", 0, NOW) is held) for held in (True, False)
    )
    store_of(project.s).keep([Kept(b"the same picture", "", one, 0, "auto") for one in (drawn, other)])
    for reviewer in ("anna", "ben"):
        project.say(reviewer, other, MONOCYTE)
    (found,) = accepted(project.s, with_params(params, audit_share=0.5))
    assert found.audited


def test_live_accuracy_is_that_of_all_answers(project: Project, params: Params) -> None:
    """A model that is right in nine of ten answers, and doubts those that are wrong: the estimate is near 0.9."""
    audit = begin(project.s, 0.25)
    truth = [IG if i % 10 else MONOCYTE for i in range(800)]
    frame = answers(800)
    frame.loc[frame.index % 10 == 0, ["action", "reasons"]] = ["review", "unsure"]
    project.answer(frame, kept=False)
    for i, label in enumerate(truth):
        if audit.holds(f"request-{i}", 0, NOW) or i % 10 == 0:
            project.say("anna", f"request-{i}", label)
            project.say("ben", f"request-{i}", label)
    found = live_accuracy(project.s, with_params(params, audit_share=0.25), 3)
    assert found.settled == found.audited
    assert found.low < 0.9 < found.high


def test_a_project_in_which_nothing_was_answered(settings: Settings, params: Params) -> None:
    laid = lay_out(settings, params)
    assert (laid.queue.items, laid.unresolved, laid.settled, laid.hidden) == ((), (), 0, 0)
    assert settings.audit.exists()
    assert by_version(settings, params) == {}
    assert waiting(settings, params) == 0


def test_the_queue_has_all_of_the_audit_and_a_limited_number_of_others(project: Project, params: Params) -> None:
    audit = begin(project.s, 0.1)
    project.answer(answers(200, action="review", reasons="unsure"))
    laid = lay_out(project.s, with_params(params, audit_share=0.1, queue=7))
    drawn = sum(audit.holds(f"request-{i}", 0, NOW) for i in range(200))
    assert len(laid.queue.items) == drawn + 7
