import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from observed import RUN, START, live, log, observed

from bloodyspy import window
from bloodyspy.errors import MonitoringError
from bloodyspy.observation import COLUMNS, LIVE_COLUMNS
from bloodyspy.window import gather, read_window

OTHER = "b" * 32


def ids(frame: pd.DataFrame) -> list[str]:
    return list(frame["request_id"])


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


@pytest.mark.parametrize("block", [64, 1 << 16])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_newest_rows_of_all_workers_and_days_in_order_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, workers: int
) -> None:
    monkeypatch.setattr(window, "_BLOCK", block)
    written = live(observed(60, seed=0), seconds=10)  # crosses midnight
    log(tmp_path, written, workers)
    assert len(list(tmp_path.iterdir())) == 2
    for size in (1, 25, 60):
        expected = written.tail(size).reset_index(drop=True)
        pd.testing.assert_frame_equal(read_window(tmp_path, size, RUN), expected, check_exact=True)


def test_fewer_rows_come_where_fewer_were_logged(tmp_path: Path) -> None:
    log(tmp_path, live(observed(7, seed=0)))
    assert len(read_window(tmp_path, 200)) == 7


def test_an_empty_log_has_the_columns_and_their_types(tmp_path: Path) -> None:
    empty = read_window(tmp_path, 200)
    log(tmp_path, live(observed(3, seed=0)))
    pd.testing.assert_series_equal(empty.dtypes, read_window(tmp_path, 200).dtypes)
    assert tuple(empty.columns) == (*COLUMNS, *LIVE_COLUMNS)
    assert empty.empty


def test_rows_within_one_time_stamp_of_disorder_are_sorted(tmp_path: Path) -> None:
    rows = live(observed(4, seed=0))
    log(tmp_path, rows.iloc[[0, 2, 1, 3]])
    assert ids(read_window(tmp_path, 10)) == ids(rows)


def test_only_rows_of_the_model_asked_for(tmp_path: Path) -> None:
    log(tmp_path, live(observed(20, seed=0)))
    log(tmp_path, live(observed(30, seed=1, run_id=OTHER), START + timedelta(minutes=1)))
    mine = read_window(tmp_path, 25, RUN)
    assert len(mine) == 20
    assert set(mine["run_id"]) == {RUN}
    assert len(read_window(tmp_path, 100)) == 50


def test_a_torn_last_line_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log(tmp_path, live(observed(5, seed=0)))
    file = next(tmp_path.rglob("*.jsonl"))
    whole = file.read_text(encoding="utf-8")
    for cut in (20, 700):
        file.write_text(whole + whole.splitlines()[0][:cut], encoding="utf-8")
        found = gather(tmp_path, 200, RUN)
        assert (len(found.frame), found.unreadable.torn, found.unreadable.corrupt) == (5, 1, 0)
    with caplog.at_level(logging.WARNING):
        gather(tmp_path, 200, RUN)
    assert "1 torn" in caplog.text


def test_a_whole_row_without_its_line_break_counts(tmp_path: Path) -> None:
    log(tmp_path, live(observed(5, seed=0)))
    file = next(tmp_path.rglob("*.jsonl"))
    file.write_text(file.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    assert len(read_window(tmp_path, 200)) == 5


def broken(record: dict[str, object], **changes: object) -> str:
    return json.dumps({**record, **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: json.dumps(record)[:300],
        lambda record: '{"width": 360' + json.dumps(record),
        lambda record: "\0" * 500,
        lambda record: "null",
        lambda record: json.dumps([record]),
        lambda record: json.dumps({name: record[name] for name in record if name != "red"}),
        lambda record: broken(record, sharpness=float("nan")),
        lambda record: broken(record, sharpness="sharp"),
        lambda record: broken(record, predicted="elephant"),
        lambda record: broken(record, time="2026-11-23T00:00:00"),
        lambda record: broken(record, time="yesterday"),
        lambda record: broken(record, confidence=None),
    ],
)
def test_a_line_that_is_no_observation_is_left_out_and_counted(
    tmp_path: Path, spoil: Callable[[dict[str, object]], str]
) -> None:
    rows = live(observed(6, seed=0))
    log(tmp_path, rows.head(3))
    file = next(tmp_path.rglob("*.jsonl"))
    append(file, spoil(json.loads(file.read_text(encoding="utf-8").splitlines()[0])) + "\n\n")
    log(tmp_path, rows.tail(3))
    found = gather(tmp_path, 200, RUN)
    assert ids(found.frame) == ids(rows)
    assert (found.unreadable.torn, found.unreadable.corrupt) == (0, 1)


def test_a_line_without_end_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LONGEST_LINE", 4_096)
    monkeypatch.setattr(window, "_BLOCK", 1_024)
    log(tmp_path, live(observed(3, seed=0)))
    append(next(tmp_path.rglob("*.jsonl")), "x" * 100_000 + "\n")
    found = gather(tmp_path, 200, RUN)
    assert (len(found.frame), found.unreadable.corrupt) == (3, 1)


def test_other_files_and_folders_are_nobodys_observations(tmp_path: Path) -> None:
    log(tmp_path, live(observed(3, seed=0)))
    append(tmp_path / "2026-11-22" / "notes.txt", "hello\n")
    append(tmp_path / "notes.jsonl", "hello\n")
    append(tmp_path / "archive" / "1.jsonl", "hello\n")
    found = gather(tmp_path, 200)
    assert (len(found.frame), found.unreadable.corrupt) == (3, 0)


def test_the_shadow_s_rows_are_not_the_service_s(tmp_path: Path) -> None:
    log(tmp_path, live(observed(3, seed=0)))
    log(tmp_path / "shadow", live(observed(5, seed=1)))
    assert len(read_window(tmp_path, 100)) == 3
    assert len(read_window(tmp_path / "shadow", 100)) == 5


def test_rows_of_the_first_releases_have_no_place_in_their_request(tmp_path: Path) -> None:
    log(tmp_path, live(observed(3, seed=0)).assign(picture=2))
    file = next(tmp_path.rglob("*.jsonl"))
    file.write_text(file.read_text(encoding="utf-8").replace(' "picture": 2,', "", 2), encoding="utf-8")
    assert list(read_window(tmp_path, 100)["picture"]) == [0, 0, 2]


def test_old_days_are_not_opened_for_a_window_that_is_full(tmp_path: Path) -> None:
    log(tmp_path, live(observed(10, seed=0)))
    (tmp_path / "2026-01-01" / "1.jsonl").mkdir(parents=True)  # whoever opens it fails
    assert len(read_window(tmp_path, 10)) == 10
    with pytest.raises(MonitoringError, match="cannot be read"):
        read_window(tmp_path, 11)


def test_no_folder_is_an_empty_window_and_says_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_window(tmp_path / "absent", 200).empty
    assert "bentoml serve" in caplog.text
    assert "BLOODYSPY_OBSERVATIONS" in caplog.text
