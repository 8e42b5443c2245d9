"""The served version without a server: what is taken up, and what goes on when something is not."""

import logging
import shutil
from pathlib import Path

import pytest
from handmade import make_artefact, make_forgetful

from bloodyspy.errors import ModelUnavailable
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.release import Release, read_release, write_release
from bloodyspy.serving.served import ServedModel

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def release_of(artefact: Artefact, version: int) -> Release:
    facts = {"run_id": artefact.spec.run_id, "digest": artefact.digest, "path": str(artefact.path)}
    return Release(version=version, model=f"bloodyspy:v{version}", **facts)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "release.json"


@pytest.fixture
def model(told: Path, tmp_path: Path) -> ServedModel:
    return ServedModel("release", lambda: read_release(told), tmp_path, threads=1)


def test_golden_answers_that_do_not_hold_leave_the_old_one(
    tmp_path: Path, told: Path, model: ServedModel, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_artefact(tmp_path / "first"), make_artefact(tmp_path / "second", seed=2)
    write_release(told, release_of(first, 1))
    model.refresh()
    assert model.current().release.version == 1
    with caplog.at_level(logging.ERROR):
        write_release(told, release_of(make_forgetful(tmp_path / "forgetful"), 2))
        for _ in range(3):
            model.refresh()
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "bloodyspy:v1 goes on" in said
    assert "answers otherwise here" in said
    assert model.current().release.version == 1
    write_release(told, release_of(second, 3))
    model.refresh()
    assert model.current().release.version == 3


def test_where_nothing_was_served_the_mismatch_is_the_answer_and_is_not_looked_for_again(
    tmp_path: Path, told: Path, model: ServedModel
) -> None:
    refused = make_forgetful(tmp_path / "forgetful")
    write_release(told, release_of(refused, 1))
    model.refresh()
    assert not model.ready
    shutil.rmtree(refused.path)  # whoever opened it again would say that it is gone
    model.refresh()
    with pytest.raises(ModelUnavailable, match="answers otherwise here"):
        model.current()
