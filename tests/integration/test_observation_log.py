"""The observation log on good and on bad days: rows are whole, losses are counted, answers are never lost."""

import asyncio
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi import HTTPException
from handmade import judged
from prometheus_client import REGISTRY

from bloodyspy.observation import COLUMNS, LIVE_COLUMNS, Observation, Origin, Provenance
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.origin import sent_origin

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(scope="module")
def observation() -> Observation:
    return judged(np.full(8, 1 / 8), Provenance("a" * 32, "d" * 32))


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def lost() -> float:
    return REGISTRY.get_sample_value("bloodyspy_observations_lost_total") or 0.0


def test_a_row_has_the_declared_columns_in_their_order(tmp_path: Path, observation: Observation) -> None:
    ObservationLog(tmp_path / "log").append([observation, observation], "request-1", 7, picture=5)
    first, second = rows(tmp_path / "log")
    assert tuple(first) == (*COLUMNS, *LIVE_COLUMNS)
    assert (first["picture"], second["picture"]) == (5, 6)
    assert {**first, "picture": 6} == second
    assert {key: first[key] for key in COLUMNS} == observation.row()
    assert (first["request_id"], first["model_version"]) == ("request-1", 7)
    ObservationLog(tmp_path / "log").append([], "request-2", 7)
    assert len(rows(tmp_path / "log")) == 2


def test_a_row_says_where_its_picture_comes_from(tmp_path: Path, observation: Observation) -> None:
    log = ObservationLog(tmp_path)
    log.append([observation], "request-1", 7, origin=Origin("LAB-2", "DM96-1", "S-2026-00017"))
    log.append([observation], "request-2", 7)
    told = {row["request_id"]: (row["site"], row["instrument"], row["specimen"]) for row in rows(tmp_path)}
    assert told == {"request-1": ("LAB-2", "DM96-1", "S-2026-00017"), "request-2": ("", "", "")}


@pytest.mark.parametrize("wrong", ["Dr. Anna Muster", "-LAB", "x" * 25, "LAB/2", "LÄB", "LAB\n2"])
def test_a_site_that_is_no_short_name_is_refused_and_not_repeated(wrong: str) -> None:
    assert asyncio.run(sent_origin("LAB-2", "DM96-1")) == Origin("LAB-2", "DM96-1")
    assert asyncio.run(sent_origin()) == Origin()
    for given, header in (((wrong, ""), "X-Site"), (("", wrong), "X-Instrument")):
        with pytest.raises(HTTPException, match=header) as refused:
            asyncio.run(sent_origin(*given))
        assert refused.value.status_code == 422
        assert wrong not in refused.value.detail


def test_rows_of_many_threads_do_not_mix(tmp_path: Path, observation: Observation) -> None:
    log = ObservationLog(tmp_path)
    threads = [
        threading.Thread(target=lambda t=t: [log.append([observation], f"{t}-{i}", 1) for i in range(50)])
        for t in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["request_id"] for row in rows(tmp_path)} == {f"{t}-{i}" for t in range(8) for i in range(50)}


def test_a_deleted_folder_comes_back(tmp_path: Path, observation: Observation) -> None:
    log = ObservationLog(tmp_path / "log")
    log.append([observation], "before", 1)
    (tmp_path / "log").rename(tmp_path / "moved")
    log.append([observation], "after", 1)
    assert [row["request_id"] for row in rows(tmp_path / "log")] == ["after"]


def test_what_cannot_be_written_is_counted_and_said_and_the_next_row_is_whole(
    tmp_path: Path, observation: Observation, caplog: pytest.LogCaptureFixture
) -> None:
    log, before = ObservationLog(tmp_path / "log"), lost()
    (tmp_path / "log").write_text("a file where the folder should be")
    with caplog.at_level(logging.ERROR):
        log.append([observation, observation], "lost", 1)
    assert lost() == before + 2
    assert "2 observation(s) lost" in caplog.text
    (tmp_path / "log").unlink()
    log.append([observation], "kept", 1)
    assert [row["request_id"] for row in rows(tmp_path / "log")] == ["kept"]
    assert lost() == before + 2


def test_a_full_disk_spoils_one_line_only(
    tmp_path: Path, observation: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    log, before, write = ObservationLog(tmp_path), lost(), os.write
    log.append([observation], "first", 1)
    monkeypatch.setattr(os, "write", lambda handle, payload: write(handle, payload[: len(payload) // 2]))
    log.append([observation], "half", 1)
    monkeypatch.undo()
    log.append([observation], "last", 1)
    (path,) = tmp_path.glob("*/*.jsonl")
    lines = path.read_text().splitlines()
    assert [json.loads(lines[0])["request_id"], json.loads(lines[2])["request_id"]] == ["first", "last"]
    assert len(lines) == 3
    assert lost() == before + 1


def test_a_line_that_another_process_of_this_number_left_torn_spoils_no_row(
    tmp_path: Path, observation: Observation
) -> None:
    """A container begins with the same numbers after each restart."""
    ObservationLog(tmp_path).append([observation], "0" * 32, 1)
    (path,) = tmp_path.glob("*/*.jsonl")
    with path.open("ab") as stream:
        stream.write(b'{"cut off')
    log = ObservationLog(tmp_path)
    log.append([observation], "1" * 32, 1)
    log.append([observation], "2" * 32, 1)
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["request_id"][0] for line in lines if line.endswith(b"}")] == ["0", "1", "2"]
    assert lines[1] == b'{"cut off'


def test_a_number_that_is_none_is_no_row(tmp_path: Path, observation: Observation) -> None:
    log, before = ObservationLog(tmp_path), lost()
    log.append([replace(observation, statistics=replace(observation.statistics, noise=float("nan")))], "nan", 1)
    log.append([observation], "good", 1)
    assert [row["request_id"] for row in rows(tmp_path)] == ["good"]
    assert lost() == before + 1
