"""What is collected of a log, and what a window of the store holds."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from observed import RUN, START, live, log, observed

from bloodyspy.errors import MonitoringError
from bloodyspy.observation import COLUMNS, LIVE_COLUMNS
from bloodyspy.settings import Settings
from bloodyspy.store import collecting, record, streams
from bloodyspy.store.collecting import Collected, collect
from bloodyspy.store.place import Place
from bloodyspy.store.upkeep import Erased, Expired, compact, erase, expire
from bloodyspy.store.windows import Wanted, window

OTHER = "b" * 32
TODAY = START + timedelta(hours=1)  # while the logs of START's day may still be written to


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "store [of *all*]" / "live"))


def ids(frame: pd.DataFrame) -> list[str]:
    return list(frame["request_id"])


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def the_log(folder: Path) -> Path:
    (path,) = folder.glob("????-??-??/*.jsonl")
    return path


@pytest.mark.parametrize("block", [700, 5_000, 4 << 20])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_newest_rows_of_all_workers_and_days_in_order_of_time(
    logs: Path, place: Place, monkeypatch: pytest.MonkeyPatch, block: int, workers: int
) -> None:
    monkeypatch.setattr(collecting, "_BLOCK", block)
    monkeypatch.setattr(collecting, "_BATCH", 4 * block)
    written = live(observed(60, seed=0), seconds=10)  # crosses midnight
    log(logs, written, workers)
    done = collect(logs, place, TODAY)
    if block > 1_000:
        assert done == Collected(rows=60)
        for size in (1, 25, 60):
            expected = written.tail(size).reset_index(drop=True)
            found = window(place, Wanted(run_id=RUN), size).frame
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
    else:  # every line is longer than a block, and is taken for none
        assert (done.rows, done.corrupt) == (0, 60)


def test_what_was_collected_is_not_collected_again(logs: Path, place: Place) -> None:
    rows = live(observed(30, seed=0))
    for start in (0, 10, 20):
        log(logs, rows.iloc[start : start + 10], workers=2)
        assert collect(logs, place, TODAY).rows == 10
        assert collect(logs, place, TODAY) == Collected()
    assert ids(window(place).frame) == ids(rows)


def test_windows_by_time_site_instrument_specimen_and_model(logs: Path, place: Place) -> None:
    rows = live(observed(40, seed=0), seconds=30)
    rows["site"] = ["LAB-1", "LAB-2"] * 20
    rows["instrument"] = ["DM96"] * 10 + ["XN"] * 30
    rows["specimen"] = ["S-1"] * 39 + ["S-2"]
    rows.loc[35:, "run_id"] = OTHER
    log(logs, rows, workers=2)
    collect(logs, place, TODAY)
    since, until = rows["time"][5], rows["time"][20]
    assert ids(window(place, Wanted(since=since, until=until)).frame) == ids(rows.iloc[5:20])
    assert ids(window(place, Wanted(since=since), 7).frame) == ids(rows.tail(7))
    assert ids(window(place, Wanted(site="LAB-2"), 3).frame) == ids(rows.iloc[[35, 37, 39]])
    assert ids(window(place, Wanted(site="LAB-1", instrument="DM96")).frame) == ids(rows.iloc[0:10:2])
    assert ids(window(place, Wanted(specimen="S-2")).frame) == ids(rows.tail(1))
    assert ids(window(place, Wanted(run_id=RUN), 100).frame) == ids(rows.head(35))
    assert ids(window(place, Wanted(request_id="request-7")).frame) == ["request-7"]
    assert window(place, Wanted(run_id="'; DROP TABLE")).frame.empty
    with pytest.raises(MonitoringError, match="no time zone"):
        window(place, Wanted(since=datetime(2026, 11, 22)))


def test_a_store_at_another_address(logs: Path, place: Place, tmp_path: Path) -> None:
    rows = live(observed(30, seed=0), seconds=30)
    log(logs, rows)
    elsewhere = Place(f"memory://{tmp_path.name}/live")
    assert collect(logs, elsewhere, TODAY).rows == 30
    log(logs, rows.assign(time=rows["time"] + timedelta(microseconds=1), specimen="S-1"))
    assert collect(logs, elsewhere, TODAY).rows == 30
    assert collect(logs, elsewhere, TODAY) == Collected()
    assert compact(elsewhere, START + timedelta(days=9)).parts == 4
    assert erase(logs, elsewhere, "S-1") == Erased(rows=30, lines=30)
    collect(logs, place, TODAY)
    assert len(window(place).frame) == 60
    pd.testing.assert_frame_equal(window(elsewhere, Wanted(), 60).frame, window(place).frame)
    elsewhere.files.rm(elsewhere.url("").rstrip("/"), recursive=True)
    with pytest.raises(MonitoringError, match="BLOODYSPY_OBSERVATION_STORE"):
        Place("nowhere://there/is/none")


def test_an_empty_store_has_the_columns_and_their_types(logs: Path, place: Place, tmp_path: Path) -> None:
    empty = window(place, Wanted(), 200).frame
    log(logs, live(observed(3, seed=0)))
    collect(logs, place)
    pd.testing.assert_series_equal(empty.dtypes, window(place).frame.dtypes)
    assert tuple(empty.columns) == (*COLUMNS, *LIVE_COLUMNS)
    assert empty.empty


def test_a_torn_last_line_waits_and_is_counted(logs: Path, place: Place) -> None:
    log(logs, live(observed(5, seed=0)))
    file = the_log(logs)
    line = file.read_text(encoding="utf-8").splitlines(keepends=True)[0].replace("request-0", "request-5")
    for cut in (20, 700, len(line) - 1):
        append(file, line[:cut])
        assert collect(logs, place, TODAY) == Collected(rows=5 if cut == 20 else 0, torn=1)
        file.write_text(file.read_text(encoding="utf-8")[:-cut], encoding="utf-8")
    append(file, line[:300])
    assert collect(logs, place, TODAY).torn == 1
    append(file, line[300:])
    assert collect(logs, place, TODAY) == Collected(rows=1)
    assert len(window(place).frame) == 6


def test_after_its_day_a_log_is_taken_to_its_end(logs: Path, place: Place) -> None:
    log(logs, live(observed(5, seed=0)))
    file = the_log(logs)
    file.write_text(file.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    assert collect(logs, place, TODAY) == Collected(rows=4, torn=1)
    assert collect(logs, place, START + timedelta(days=2)) == Collected(rows=1)
    append(file, '\n{"half')
    assert collect(logs, place, START + timedelta(days=2)) == Collected(corrupt=1)
    assert collect(logs, place, START + timedelta(days=2)) == Collected()


def broken(content: dict[str, object], **changes: object) -> str:
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: json.dumps(content)[:300],
        lambda content: '{"width": 360' + json.dumps(content),
        lambda content: "\0" * 500,
        lambda content: "null",
        lambda content: "[" * 100_000,
        lambda content: json.dumps([content]),
        lambda content: json.dumps({name: content[name] for name in content if name != "red"}),
        lambda content: broken(content, sharpness=float("nan")),
        lambda content: broken(content, sharpness=float("inf")),
        lambda content: broken(content, sharpness="sharp"),
        lambda content: broken(content, width=10**30),
        lambda content: broken(content, predicted="elephant"),
        lambda content: broken(content, action="nod"),
        lambda content: broken(content, time="2026-11-23T00:00:00"),
        lambda content: broken(content, time="yesterday"),
        lambda content: broken(content, confidence=None),
        lambda content: broken(content, site=7),
        lambda content: broken(content, request_id="\ud800"),
        lambda content: "x" * (2 << 20),
    ],
)
def test_a_line_that_is_no_observation_is_set_aside_with_its_place(
    logs: Path, place: Place, caplog: pytest.LogCaptureFixture, spoil: Callable[[dict[str, object]], str]
) -> None:
    rows = live(observed(6, seed=0))
    log(logs, rows.head(3))
    file = the_log(logs)
    begin, line = file.stat().st_size, spoil(json.loads(file.read_text(encoding="utf-8").splitlines()[0]))
    append(file, line + "\n\n")
    log(logs, rows.tail(3))
    with caplog.at_level(logging.WARNING):
        assert collect(logs, place, TODAY) == Collected(rows=6, corrupt=1)
    assert "1 line(s)" in caplog.text
    found = window(place, Wanted(run_id=RUN), 200)
    assert ids(found.frame) == ids(rows)
    assert (found.unreadable.torn, found.unreadable.corrupt) == (0, 1)
    (aside,) = record.latest(place).aside
    from bloodyspy.store.parts import read_aside

    (kept,) = read_aside(place, aside)
    assert (kept["log"], kept["offset"], kept["length"]) == (f"{file.parent.name}/{file.name}", begin, len(line))
    assert str(bytes(kept["line"]), "utf-8") == line[: 64 << 10]


def test_rows_are_the_same_whether_a_block_is_read_at_once_or_line_by_line(logs: Path, place: Place) -> None:
    rows = live(observed(40, seed=3)).assign(site="LAB-1", specimen="S-1")
    log(logs, rows)
    append(the_log(logs), "no observation\n")
    assert collect(logs, place, TODAY).corrupt == 1
    pd.testing.assert_frame_equal(window(place).frame, rows, check_exact=True)


def test_other_files_and_folders_are_nobodys_observations(logs: Path, place: Place) -> None:
    log(logs, live(observed(3, seed=0)))
    append(logs / "2026-11-22" / "notes.txt", "hello\n")
    append(logs / "notes.jsonl", "hello\n")
    append(logs / "archive" / "1.jsonl", "hello\n")
    log(logs / "shadow", live(observed(5, seed=1)))
    assert collect(logs, place, TODAY) == Collected(rows=3)


def test_rows_of_earlier_releases_lack_columns(logs: Path, place: Place) -> None:
    log(logs, live(observed(3, seed=0)).assign(picture=2, site="LAB-1", specimen="S-1"))
    file = the_log(logs)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in lines[:2]:
        for name in ("picture", "site", "instrument", "specimen"):
            del line[name]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert collect(logs, place, TODAY).rows == 3
    frame = window(place).frame
    assert list(frame["picture"]) == [0, 0, 2]
    assert list(frame["site"]) == ["", "", "LAB-1"]
    assert list(frame["specimen"]) == ["", "", "S-1"]


def test_no_folder_is_an_empty_window_and_says_what_to_do(
    logs: Path, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    assert collect(logs, place) == Collected()
    assert window(place).frame.empty
    assert "bentoml serve" in caplog.text
    assert "BLOODYSPY_OBSERVATIONS" in caplog.text


def test_a_log_that_was_cut_replaced_or_comes_back_neither_doubles_nor_loses(logs: Path, place: Place) -> None:
    rows = live(observed(40, seed=0))
    log(logs, rows.head(20))
    file = the_log(logs)
    collect(logs, place, TODAY)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])  # a power failure took what was not on the disk yet
    cut = collect(logs, place, TODAY)
    assert (cut.rows, cut.torn) == (0, 1)
    file.write_bytes(whole)  # restored from a copy
    collect(logs, place, TODAY)
    file.unlink()
    collect(logs, place, TODAY)
    log(logs, rows.iloc[20:30])  # another process of the same id
    assert collect(logs, place, TODAY).rows == 10
    file.write_bytes(whole)
    assert collect(logs, place, TODAY).rows == 0
    log(logs, rows.iloc[30:])
    assert collect(logs, place, TODAY).rows == 10
    assert ids(window(place).frame) == ids(rows)


def test_two_logs_that_end_in_the_same_rubbish_are_told_apart(logs: Path, place: Place) -> None:
    first, second = (live(observed(1, seed=0)).assign(request_id=name) for name in ("request-1", "request-2"))
    log(logs, first)
    file = the_log(logs)
    append(file, "no row\n")
    assert collect(logs, place, TODAY).rows == 1
    file.unlink()
    log(logs, second)  # as long as the first, to the byte
    append(file, "no row\n")
    assert collect(logs, place, TODAY).rows == 1
    assert sorted(ids(window(place).frame)) == ["request-1", "request-2"]


def test_many_parts_of_a_day_become_one_in_order_of_time(logs: Path, place: Place) -> None:
    rows = live(observed(40, seed=0))
    for start in (30, 0, 20, 10):
        log(logs, rows.iloc[start : start + 10], workers=2)
        collect(logs, place, TODAY)
    assert compact(place, START).days == 0  # the day is not over
    done = compact(place, START + timedelta(days=1))
    assert (done.days, done.parts) == (1, 4)
    assert compact(place, START + timedelta(days=1)).days == 0
    names = place.names()
    assert len([name for name in names if name.endswith(".parquet")]) == 1
    assert names[0].startswith("commits/")
    pd.testing.assert_frame_equal(window(place).frame, rows, check_exact=True)
    assert collect(logs, place, TODAY) == Collected()


def test_a_window_survives_a_compaction_while_it_is_read(
    logs: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloodyspy.store import windows

    rows = live(observed(40, seed=0))
    for start in (0, 20):
        log(logs, rows.iloc[start : start + 20])
        collect(logs, place, TODAY)
    seen: list[int] = []

    def slow(asked: Place) -> record.Record:
        found = record.latest(asked)
        if not seen:
            compact(place, START + timedelta(days=1))  # its parts are gone when they are asked for
        seen.append(found.number)
        return found

    monkeypatch.setattr(windows, "latest", slow)
    assert ids(window(place).frame) == ids(rows)
    assert seen[-1] > seen[0]


def test_old_rows_and_collected_logs_go_and_others_stay(logs: Path, place: Place) -> None:
    now = START + timedelta(days=500)
    for age, text in ((500, "old"), (30, "recent"), (1, "new")):
        log(logs, live(observed(10, seed=age), now - timedelta(days=age)).assign(request_id=text))
    collect(logs, place, now)
    log(logs, live(observed(1, seed=9), now - timedelta(days=29)).assign(request_id="not collected"))
    assert expire(logs, place, 400, 14, now) == Expired(rows=10, logs=2, waiting=1)
    assert expire(logs, place, 400, 14, now) == Expired(waiting=1)
    assert set(ids(window(place).frame)) == {"recent", "new"}
    assert {path.parent.name for path in logs.rglob("*.jsonl")} == {
        (now - timedelta(days=days)).strftime("%Y-%m-%d") for days in (1, 29)
    }
    assert collect(logs, place, now) == Collected(rows=1)
    assert expire(logs, place, 400, 14, now).logs == 1
    assert len(window(place).frame) == 21


def test_a_removed_log_that_comes_back_is_known(logs: Path, place: Place) -> None:
    now = START + timedelta(days=30)
    log(logs, live(observed(10, seed=0)))
    file = the_log(logs)
    whole = file.read_bytes()
    collect(logs, place, now)
    assert expire(logs, place, 400, 14, now).logs == 1
    assert record.latest(place).logs == {}
    append(file, whole.decode())
    assert collect(logs, place, now) == Collected(known=10)


def test_a_specimen_is_erased_from_logs_and_store_and_collecting_goes_on(logs: Path, place: Place) -> None:
    rows = live(observed(20, seed=0)).assign(specimen=["S-1", "S-2"] * 10)
    log(logs, rows.head(10))
    append(the_log(logs), '{"specimen": "S-1", broken\n')
    collect(logs, place, TODAY)
    log(logs, rows.tail(10))
    assert erase(logs, place, "S-1") == Erased(rows=5, lines=11)
    assert erase(logs, place, "S-1") == Erased()
    everything = b"".join(path.read_bytes() for path in logs.parent.rglob("*") if path.is_file())
    assert b"S-1" not in everything
    assert collect(logs, place, TODAY) == Collected(rows=10)
    frame = window(place).frame
    assert list(frame["specimen"]) == ["", "S-2"] * 10
    pd.testing.assert_frame_equal(frame.assign(specimen=""), rows.assign(specimen=""), check_exact=True)


def test_a_damaged_record_is_told(logs: Path, place: Place) -> None:
    log(logs, live(observed(3, seed=0)))
    collect(logs, place, TODAY)
    (name,) = place.names("commits")
    assert place.local is not None
    (place.local / name).write_text("{}x")
    with pytest.raises(MonitoringError, match="Restore it from a copy"):
        collect(logs, place, TODAY)
    with pytest.raises(MonitoringError, match="Restore it from a copy"):
        window(place)


def test_a_number_is_given_once(place: Place) -> None:
    first = record.commit(place, record.Record().changed())
    with pytest.raises(record.Beaten):
        record.commit(place, record.Record().changed())
    second = record.commit(place, first.changed())
    with pytest.raises(record.Beaten):  # its name is free again, and too low
        record.commit(place, record.Record().changed())
    assert record.latest(place) == second
    assert datetime.now(UTC) > START


def test_the_commands_collect_compact_and_expire_both_streams(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from monitoring.__main__ import main

    def said(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["monitoring", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = "".join(capsys.readouterr())
        assert ended.value.code == (1 if "error" in told else 0)
        return told

    assert settings.observations is not None
    assert "Drift checks" in said()
    log(settings.observations, live(observed(10, seed=0)))
    log(settings.shadow_observations, live(observed(5, seed=1)))
    assert {"live: 10 observation(s)", "shadow: 5 observation(s)"} == {
        told.partition(" collected")[0] for told in said("collect").splitlines()
    }
    log(settings.observations, live(observed(10, seed=2), START + timedelta(seconds=1)))
    assert "live: 10 observation(s) collected" in said("collect")
    assert "live: 2 part(s) of 1 day(s)" in said("compact")
    assert "live: 0 observation(s) and 0 log(s) removed" in said("expire")
    assert len(window(streams.live(settings).place).frame) == 20
    monkeypatch.setenv("BLOODYSPY_OBSERVATION_STORE", "nowhere://bucket")
    assert "BLOODYSPY_OBSERVATION_STORE" in said("collect")
