"""Two versions on the same pictures: what is counted, what is paired, and what is left out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import make_artefact
from hypothesis import given
from hypothesis import strategies as st
from observed import live, log, observed
from pictures import tinted, write

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import DataError, PromotionError
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import PROBABILITIES
from bloodyspy.promotion.agreement import NAMED, Agreement, Pairs, agreement, joined
from bloodyspy.promotion.replay import replay_logged, replay_pictures
from bloodyspy.settings import Settings

RUNS = {1: "a" * 32, 2: "b" * 32}


class Registered:
    """A version as far as its number and its run."""

    def __init__(self, number: int) -> None:
        self.number, self.run_id = number, RUNS[number]


def rows(n: int, seed: int, version: int = 1) -> pd.DataFrame:
    """A window of one request a row, with three pictures in each third request."""
    frame = live(observed(n, seed, run_id=RUNS[version]))
    return frame.assign(
        request_id=[f"request-{i // 3}" for i in range(n)], picture=[i % 3 for i in range(n)], model_version=version
    )


def answers(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(8), n)


sizes = st.integers(1, 60)
seeds = st.integers(0, 2**16)


@given(sizes, seeds)
def test_what_is_counted_is_what_a_person_would_count(n: int, seed: int) -> None:
    ids = tuple(f"r{i % 7}" for i in range(n))
    one, other = answers(n, seed), answers(n, seed + 1)
    found = agreement(Pairs(ids, one, other, ambiguous=2), 3, 4)
    same, sums, apart = 0, 0.0, {}
    for i in range(n):
        mine, theirs = max(range(8), key=lambda c: one[i][c]), max(range(8), key=lambda c: other[i][c])
        moved = abs(one[i][mine] - other[i][mine])
        sums += moved
        if mine == theirs:
            same += 1
        else:
            apart[ids[i]] = max(apart.get(ids[i], 0), moved)
        assert found.table[mine][theirs] >= 1
    assert found.agreeing == wilson(same, n)
    assert found.agreeing.low <= same / n <= found.agreeing.high
    assert sum(map(sum, found.table)) == found.pairs == n
    assert found.mean_difference == pytest.approx(sums / n)
    assert found.most_apart == tuple(sorted(apart, key=lambda name: (-apart[name], name)))[:NAMED]
    assert (found.champion, found.challenger, found.ambiguous) == (3, 4, 2)


@given(sizes, seeds)
def test_a_version_agrees_with_itself(n: int, seed: int) -> None:
    one = answers(n, seed)
    found = agreement(Pairs(tuple(map(str, range(n))), one, one), 1, 2)
    assert found.agreeing.value == 1
    assert (found.mean_difference, found.most_apart) == (0, ())
    assert np.array_equal(np.diag([found.table[i][i] for i in range(8)]), found.table)


@given(seeds)
def test_rows_are_paired_by_request_and_picture_whatever_their_order(seed: int) -> None:
    champion, challenger = rows(30, 1), rows(30, 2, version=2)
    expected = joined(champion, challenger)
    shuffled = joined(champion, challenger.sample(frac=1, random_state=seed))
    assert shuffled.ids == expected.ids == tuple(champion["request_id"])
    np.testing.assert_array_equal(shuffled.challenger, challenger[list(PROBABILITIES)])
    np.testing.assert_array_equal(shuffled.champion, champion[list(PROBABILITIES)])
    backwards = joined(champion.iloc[::-1], challenger)
    assert agreement(backwards, 1, 2) == agreement(expected, 1, 2)


def test_rows_without_a_partner_are_left_out() -> None:
    champion, challenger = rows(12, 1), rows(12, 2, version=2)
    found = joined(champion.drop(index=[0, 5]), challenger.drop(index=[7]))
    kept = [i for i in range(12) if i not in (0, 5, 7)]
    assert found.ids == tuple(champion["request_id"].iloc[kept])
    np.testing.assert_array_equal(found.challenger, challenger[list(PROBABILITIES)].iloc[kept])
    assert found.ambiguous == 0


@pytest.mark.parametrize("again", ["champion", "challenger", "both"])
def test_an_id_that_was_used_again_is_nobody_s(again: str) -> None:
    champion, challenger = rows(9, 1), rows(9, 2, version=2)
    if again in ("champion", "both"):
        champion = pd.concat([champion, champion.iloc[[4]].assign(p_ig=0.9)])
    if again in ("challenger", "both"):
        challenger = pd.concat([challenger, challenger.iloc[[4]]])
    found = joined(champion, challenger)
    assert (len(found), found.ambiguous) == (8, 1)
    # used again by a client that the other version never met: nothing to tell
    assert joined(champion, rows(9, 2, version=2).drop(index=[4])).ambiguous == 0


def test_one_id_for_everything_costs_no_product_of_rows() -> None:
    many = pd.concat([rows(3000, 1)] * 10).assign(request_id="always", picture=0)
    assert (len(joined(many, many)), joined(many, many).ambiguous) == (0, 1)


def test_no_pair_is_said_with_what_to_do() -> None:
    nothing = joined(rows(3, 1), rows(3, 2, version=2).assign(request_id="elsewhere"))
    assert len(nothing) == 0
    with pytest.raises(PromotionError, match=r"version 1 and version 2 both answered.*bloodyspy replay"):
        agreement(nothing, 1, 2)


def test_it_can_be_kept_and_told() -> None:
    found = agreement(joined(rows(200, 1), rows(200, 2, version=2)), 1, 2)
    assert Agreement.model_validate_json(found.model_dump_json()) == found
    assert "200 pictures" in found.summary
    assert str(found.agreeing) in found.summary


def test_logs_are_replayed_whoever_was_the_shadow(tmp_path: Path) -> None:
    s = Settings(root=tmp_path)
    assert s.observations is not None
    champion, challenger = rows(60, 1), rows(60, 2, version=2)
    log(s.observations, champion.iloc[:40])
    log(s.shadow_observations, challenger.iloc[:35])
    # promoted: now it answers, and the old one in the shadow
    log(s.observations, challenger.iloc[40:])
    log(s.shadow_observations, champion.iloc[45:])
    both = [*range(35), *range(45, 60)]
    expected = agreement(joined(champion.iloc[both], challenger.iloc[both]), 1, 2)
    assert replay_logged(Registered(1), Registered(2), s, rows=100) == expected
    assert replay_logged(Registered(2), Registered(1), s, rows=100).table == tuple(zip(*expected.table, strict=True))
    assert replay_logged(Registered(1), Registered(2), s, rows=10).pairs < 50


def test_a_run_that_was_registered_twice_is_two_versions(tmp_path: Path) -> None:
    s = Settings(root=tmp_path)
    assert s.observations is not None
    log(s.observations, rows(10, 1))
    log(s.shadow_observations, rows(10, 1).assign(model_version=9))
    log(s.shadow_observations, rows(4, 2, version=2))
    assert replay_logged(Registered(1), Registered(2), s, rows=100).pairs == 4


def test_where_nothing_was_logged_there_is_no_pair(tmp_path: Path) -> None:
    with pytest.raises(PromotionError, match="no picture"):
        replay_logged(Registered(1), Registered(2), Settings(root=tmp_path), rows=100)


def test_pictures_are_replayed_by_both(tmp_path: Path) -> None:
    first, second = make_artefact(tmp_path / "first"), make_artefact(tmp_path / "second", seed=5)
    folder = write(tmp_path / "pictures", {f"{i}.png": tinted(i) for i in range(40)} | {"broken.png": b"none"})
    found = replay_pictures((1, first.path), (2, second.path), [folder])
    assert found.pairs == 40
    one, other = Classifier.load(first.path), Classifier.load(second.path)
    counted = np.zeros((8, 8), dtype=int)
    for i in range(40):
        mine, theirs = one.observe(tinted(i)), other.observe(tinted(i))
        counted[mine.predicted.position, theirs.predicted.position] += 1
        if mine.predicted != theirs.predicted and len(found.most_apart) < NAMED:
            assert str(folder / f"{i}.png") in found.most_apart
    assert np.array_equal(found.table, counted)
    assert 0 < found.agreeing.value < 1
    assert set(found.most_apart) <= {str(folder / f"{i}.png") for i in range(40)}
    with pytest.raises(DataError, match="readable"):
        replay_pictures((1, first.path), (2, second.path), [folder / "broken.png"])


def test_the_table_has_the_eight_types() -> None:
    found = agreement(joined(rows(20, 1), rows(20, 2, version=2)), 1, 2)
    assert np.shape(json.loads(found.model_dump_json())["table"]) == (len(CELL_TYPES), len(CELL_TYPES))
