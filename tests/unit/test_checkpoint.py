"""What survives the end of a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bloodyspy.errors import TrainingFailed
from bloodyspy.model.checkpoint import Checkpoint, Epoch, State, key_of, read_history, write_history


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=number,
        loss=1 / 3,
        accuracy=0.5,
        val_loss=0.1 + 0.2,
        val_accuracy=0.5,
        val_balanced_accuracy=0.5,
        learning_rate=1e-3,
        images_per_second=10.0,
        seconds=1.0,
        step_seconds=0.9,
        memory_mb=1.0,
    )


def state(epochs: int) -> State:
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, dtype=np.int64)] + [np.zeros(1)] * 12
    return State(
        weights, [np.ones(2, np.float32)], [w + 1 for w in weights], tuple(epoch(n + 1) for n in range(epochs))
    )


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() is None
    for epochs in (1, 2):
        checkpoint.save(state(epochs))
    found = checkpoint.load()
    assert found is not None
    assert found.history == state(2).history
    for group in ("weights", "optimizer", "kept"):
        for kept, given in zip(getattr(found, group), getattr(state(2), group), strict=True):
            np.testing.assert_array_equal(kept, given)
            assert kept.dtype == given.dtype


def test_a_write_cut_short_leaves_the_state_before(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(state(1))
    (tmp_path / "state.writing").write_bytes(b"PK\x03\x04 cut off here")
    found = checkpoint.load()
    assert found is not None
    assert len(found.history) == 1


def test_the_identity_is_drawn_once(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = Checkpoint(tmp_path).identity()
    assert Checkpoint(tmp_path).identity() == first
    assert Checkpoint(tmp_path / "other").identity() != first


def test_the_key_tells_facts_apart_and_where_they_end() -> None:
    assert key_of("a", "b") == key_of("a", "b")
    assert len({key_of("a", "b"), key_of("ab", ""), key_of("b", "a"), key_of("a", "b", "")}) == 4


def test_one_process_at_a_time_and_a_killed_one_does_not_count(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bloodyspy.model.checkpoint import Checkpoint\n"
        f"with Checkpoint(Path({str(tmp_path)!r})).held(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TrainingFailed, match="Another process"), Checkpoint(tmp_path).held():
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
    with Checkpoint(tmp_path).held():
        pass


def test_a_result_is_placed_whole_over_an_older_one(tmp_path: Path) -> None:
    checkpoint, wanted = Checkpoint(tmp_path / "key"), tmp_path / "build" / "fits" / "net"
    wanted.mkdir(parents=True)
    (wanted / "left_over").touch()
    result = tmp_path / "key" / "finishing"
    result.mkdir(parents=True)
    (result / "network.keras").write_bytes(b"network")
    checkpoint.save(state(1))
    checkpoint.finish(result)
    for _ in range(2):  # a second time, as after a kill before DVC took the outs
        checkpoint.place(wanted)
        assert [path.name for path in wanted.iterdir()] == ["network.keras"]
    assert checkpoint.load() is None
    assert [path.name for path in wanted.parent.iterdir()] == ["net"]


def test_only_finished_siblings_are_dropped(tmp_path: Path) -> None:
    own, finished, unfinished = (Checkpoint(tmp_path / name) for name in ("own", "finished", "unfinished"))
    for checkpoint in (own, finished):
        checkpoint.finished.mkdir(parents=True)
    unfinished.folder.mkdir()
    own.drop_older(list(tmp_path.iterdir()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "unfinished"]


def test_a_learning_curve_comes_back_as_it_was(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", (epoch(1), epoch(2)))
    assert read_history(tmp_path / "history.csv") == (epoch(1), epoch(2))
