"""The store of observations on bad days: processes killed, the disk full, everybody at once. Rows are counted.

BLOODYSPY_TEST_KILLS says how many kills at random there are, 8 unless told.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from observed import START, live, log, observed
from running import settles

from bloodyspy.daily_log import DailyLog
from bloodyspy.errors import MonitoringError
from bloodyspy.store.collecting import Collected, collect
from bloodyspy.store.place import Place
from bloodyspy.store.record import latest
from bloodyspy.store.upkeep import compact, erase, expire
from bloodyspy.store.windows import window

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("BLOODYSPY_TEST_KILLS", "8"))
TEMPLATE: dict[str, Any] = json.loads(live(observed(1, seed=0)).iloc[0].to_json(date_format="iso"))


def line(request_id: str, time: datetime, **more: object) -> str:
    return json.dumps({**TEMPLATE, "request_id": request_id, "time": time.isoformat(timespec="microseconds"), **more})


def whole_lines(logs: Path) -> Counter[str]:
    """Requests of the rows that the logs hold, one row each."""
    found: Counter[str] = Counter()
    for path in logs.glob("????-??-??/*.jsonl"):
        *whole, _torn = path.read_text(encoding="utf-8").split("\n")
        for text in whole:
            try:
                found[json.loads(text)["request_id"]] += 1
            except ValueError:
                continue  # a worker was killed in it, and another goes on behind it
    return found


def stored(place: Place) -> Counter[str]:
    """Requests of the rows that hold, read without the code that is tested."""
    found: Counter[str] = Counter()
    assert place.local is not None
    for part in latest(place).parts:
        found.update(pq.read_table(place.local / part.name, columns=["request_id"])["request_id"].to_pylist())
    return found


def python(code: str, *arguments: object, **more: Any) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, **more)


# Kills itself at the n-th thing that it changes in the store or the logs, which Python's audit events tell.
STEPS = """
import os, signal, sys
from datetime import datetime, timedelta
from pathlib import Path
import pandas  # which pyarrow imports when it first needs it
from bloodyspy.store.collecting import collect
from bloodyspy.store.place import Place
from bloodyspy.store.upkeep import compact, expire
root = Path(sys.argv[1])
steps = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
def work(kill_at, now):
    seen = 0
    def watch(event, given):
        nonlocal seen
        reads = event == "open" and given[1] is not None and not set(given[1]) & set("wax+")
        if event in steps and not reads and str(given[0]).startswith(str(root)):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    logs, place = root / "logs", Place(str(root / "store"))
    collect(logs, place, now)
    compact(place, now)
    expire(logs, place, 400, 14, now)
for asked in sys.stdin:
    kill_at, now = asked.split()
    child = os.fork()  # what it needs is imported already
    if child == 0:
        work(int(kill_at), datetime.fromisoformat(now))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_each_step_of_collecting_compacting_and_expiring(tmp_path: Path) -> None:
    logs, place = tmp_path / "logs", Place(str(tmp_path / "store"))
    logged: Counter[str] = Counter()
    kills, day = 0, START - timedelta(days=90)
    with python(STEPS, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for step in range(1, 1_000):
            if step % 8 == 1:
                day += timedelta(days=1)
            rows = [line(f"{step}-{i}", day + timedelta(seconds=step, milliseconds=i)) for i in range(6)]
            for worker in (0, 1):
                path = logs / f"{day:%Y-%m-%d}" / f"{worker}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as stream:
                    stream.write("".join(one + "\n" for one in rows[worker::2]))
            logged.update(f"{step}-{i}" for i in range(6))
            now = day + timedelta(days=20 * (step % 3))  # in turn the day itself, and days on which logs are removed
            print(step, now.isoformat(), file=process.stdin, flush=True)
            status = int(process.stdout.readline())
            there = stored(place)
            assert not there - logged, step
            assert logged - there <= whole_lines(logs), step  # what is not in the store is in a log
            kills += status == -signal.SIGKILL
            if status == 0 and step > 20:
                break
        process.stdin.close()
    assert kills > 20
    done = collect(logs, place, day + timedelta(days=20))
    assert stored(place) == logged, done
    assert window(place).frame["request_id"].value_counts().to_dict() == dict(logged)
    compact(place, day + timedelta(days=20))
    expire(logs, place, 400, 14, day + timedelta(days=20))
    assert not list(logs.rglob("*.jsonl"))
    assert stored(place) == logged
    kept = [name for name in place.names() if name.endswith(".parquet")]
    assert len(kept) == len({part.day for part in latest(place).parts})  # nothing is left lying


WORKER = """
import itertools, json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from bloodyspy.daily_log import DailyLog
log, template = DailyLog(Path(sys.argv[1])), json.loads(sys.argv[4])
for number in itertools.count():
    now = datetime.now(UTC)
    stamp = now.isoformat(timespec="microseconds")
    row = {**template, "time": stamp, "request_id": f"{sys.argv[2]}-{number}", "specimen": "S-1"}
    log.append([row], now)
    time.sleep(float(sys.argv[3]))
"""
COLLECTOR = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from bloodyspy.store.collecting import collect
from bloodyspy.store.place import Place
from bloodyspy.store.upkeep import compact
logs, place = Path(sys.argv[1]), Place(sys.argv[2])
print("ready", flush=True)
while True:
    collect(logs, place)
    compact(place, datetime.now(UTC) + timedelta(days=1))
"""


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


@contextmanager
def ended(processes: dict[str, "subprocess.Popen[str]"]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes.values():
            kill(process)


def worker(logs: Path, name: str, pause: float = 0.002) -> "subprocess.Popen[str]":
    return python(WORKER, logs, name, pause, json.dumps(TEMPLATE))


def test_workers_and_two_collectors_killed_at_random_while_all_go_on(tmp_path: Path) -> None:
    logs, place, draw = tmp_path / "logs", Place(str(tmp_path / "store")), random.Random(5)
    running: dict[str, subprocess.Popen[str]] = {}
    started = 0

    def start(kind: str) -> None:
        nonlocal started
        started += 1
        if kind.startswith("worker"):
            running[kind] = worker(logs, f"{kind}-{started}")
        else:
            running[kind] = python(COLLECTOR, logs, place.address, stdout=subprocess.PIPE)

    with ended(running):
        for kind in ("worker 0", "worker 1", "collector 0", "collector 1"):
            start(kind)
        for _ in range(KILLS):
            kind = draw.choice(sorted(running))
            stdout = running[kind].stdout
            if stdout is not None:
                assert stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 0.6))
            assert running[kind].poll() is None
            kill(running[kind])
            there, whole = Counter(window(place).frame["request_id"]), whole_lines(logs)
            assert not there - whole
            start(kind)
        for kind in list(running):
            if kind.startswith("worker"):
                kill(running[kind])
    collect(logs, place)
    whole = whole_lines(logs)
    assert len(whole) > 100
    assert max(whole.values()) == 1
    assert stored(place) == whole


def test_a_full_disk_changes_nothing_and_the_next_collection_goes_on(tmp_path: Path) -> None:
    logs, place = tmp_path / "logs", Place(str(tmp_path / "store"))
    log(logs, live(observed(20, seed=0)))
    collect(logs, place)
    log(logs, live(observed(500, seed=1), START + timedelta(minutes=1)))
    code = """
import resource, sys
from pathlib import Path
from bloodyspy.store.collecting import collect
from bloodyspy.store.upkeep import compact
from bloodyspy.store.place import Place
from bloodyspy.errors import MonitoringError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
place = Place(sys.argv[2])
try:
    collect(Path(sys.argv[1]), place) if sys.argv[3] == "collect" else compact(place)
except MonitoringError as exc:
    print(exc)
"""
    before = place.names()
    said = python(code, logs, place.address, "collect", stdout=subprocess.PIPE).communicate(timeout=120)[0]
    assert os.strerror(errno.EFBIG) in said
    assert "Nothing is lost" in said
    assert place.names() == before
    assert collect(logs, place).rows == 500
    before = place.names()
    said = python(code, logs, place.address, "compact", stdout=subprocess.PIPE).communicate(timeout=120)[0]
    assert "Nothing is lost" in said
    assert place.names() == before
    assert compact(place).parts == 2
    assert len(window(place).frame) == 520


def test_ten_thousand_logs_of_one_row(tmp_path: Path) -> None:
    logs, place, day = tmp_path / "logs", Place(str(tmp_path / "store")), START + timedelta(days=1)
    folder = logs / f"{day:%Y-%m-%d}"
    folder.mkdir(parents=True)
    for number in range(10_000):
        text = line(f"request-{number}", day + timedelta(milliseconds=number)) + "\n"
        (folder / f"{number}.jsonl").write_text(text, encoding="utf-8")
    assert collect(logs, place, day) == Collected(rows=10_000)
    assert collect(logs, place, day) == Collected()
    assert len(latest(place).parts) == 1
    found = window(place, size=300).frame
    assert list(found["request_id"]) == [f"request-{number}" for number in range(9_700, 10_000)]


def test_a_specimen_is_erased_under_a_running_worker(tmp_path: Path) -> None:
    logs, place = tmp_path / "logs", Place(str(tmp_path / "store"))
    running = {"worker": worker(logs, "one", pause=0.0)}
    with ended(running):
        assert settles(lambda: any(logs.rglob("*.jsonl")), 30)  # it has begun
        for _ in range(3):
            time.sleep(0.3)
            collect(logs, place)
            erase(logs, place, "S-1")
    erase(logs, place, "S-1")
    texts = [text for path in logs.rglob("*.jsonl") for text in path.read_text().splitlines()]
    rows = [json.loads(text) for text in texts]
    assert {row["specimen"].strip() for row in rows} == {""}
    assert {row["request_id"] for row in rows} == {f"one-{number}" for number in range(len(rows))}
    collect(logs, place)
    assert stored(place) == Counter(row["request_id"] for row in rows)
    assert set(window(place).frame["specimen"]) == {""}


class _Disk:
    """Refuses the n-th thing that is done to a file below a folder from now on."""

    root, left = "", 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if self.left and event in ("open", "os.link", "os.rename", "os.remove") and str(given[0]).startswith(self.root):
            self.left -= 1
            if not self.left:
                raise OSError(errno.EIO, os.strerror(errno.EIO))


DISK = _Disk()
sys.addaudithook(DISK)


WORKERS = st.integers(0, 1)


class Life(RuleBasedStateMachine):
    """Workers append, torn lines are ended or not, logs are cut, removed and restored, the disk fails anywhere."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(os.environ["STORE_LIVES"]) / os.urandom(6).hex()
        self.logs, self.place = self.root / "logs", Place(str(self.root / "store"))
        self.folder = self.logs / f"{START:%Y-%m-%d}"
        self.folder.mkdir(parents=True)
        self.logged: Counter[str] = Counter()
        self.torn: dict[Path, tuple[str, str]] = {}
        self.copies: dict[Path, bytes] = {}

    def append(self, path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)

    @rule(worker=WORKERS, rows=st.integers(1, 4))
    def log(self, worker: int, rows: int) -> None:
        path = self.folder / f"{worker}.jsonl"
        self.finish(worker)
        for _ in range(rows):
            name = f"row-{len(self.logged)}"
            self.append(path, line(name, START + timedelta(milliseconds=len(self.logged))) + "\n")
            self.logged[name] += 1

    @rule(worker=WORKERS, cut=st.integers(1, 900))
    def tear(self, worker: int, cut: int) -> None:
        path = self.folder / f"{worker}.jsonl"
        if path not in self.torn and path.exists():
            name = f"row-{len(self.logged)}"
            text = line(name, START + timedelta(milliseconds=len(self.logged))) + "\n"
            self.append(path, text[:cut])
            self.torn[path] = (name, text[cut:])
            self.logged[name] = 0

    @rule(worker=WORKERS)
    def finish(self, worker: int) -> None:
        path = self.folder / f"{worker}.jsonl"
        if path in self.torn:
            name, rest = self.torn.pop(path)
            self.append(path, rest)
            self.logged[name] += 1

    @rule(worker=WORKERS)
    def corrupt(self, worker: int) -> None:
        self.finish(worker)
        self.append(self.folder / f"{worker}.jsonl", "no row\n")

    @rule(fails=st.one_of(st.just(0), st.integers(1, 30)), then=st.sampled_from([collect, compact]))
    def gather(self, fails: int, then: Any) -> None:
        DISK.root, DISK.left = str(self.root), fails
        try:
            if then is collect:
                collect(self.logs, self.place, START)
            else:
                compact(self.place, START + timedelta(days=1))
        except MonitoringError:
            pass
        finally:
            DISK.left = 0

    @precondition(lambda self: not self.torn)
    @rule(worker=WORKERS, share=st.floats(0, 1))
    def cut_what_is_in_the_store(self, worker: int, share: float) -> None:
        path = self.folder / f"{worker}.jsonl"
        if path.exists():
            collect(self.logs, self.place, START)
            self.copies[path] = path.read_bytes()
            cut = self.copies[path][: int(share * len(self.copies[path]))]
            path.write_bytes(cut[: cut.rfind(b"\n") + 1])

    @rule(worker=WORKERS)
    def remove_what_is_in_the_store(self, worker: int) -> None:
        path = self.folder / f"{worker}.jsonl"
        if path.exists() and path not in self.torn:
            collect(self.logs, self.place, START)
            self.copies[path] = path.read_bytes()
            path.unlink()

    @precondition(lambda self: not self.torn)
    @rule(worker=WORKERS)
    def restore(self, worker: int) -> None:
        path = self.folder / f"{worker}.jsonl"
        if path in self.copies:
            collect(self.logs, self.place, START)
            path.write_bytes(self.copies.pop(path))

    @invariant()
    def nothing_is_there_twice(self) -> None:
        if hasattr(self, "place"):
            assert not stored(self.place) - self.logged

    def teardown(self) -> None:
        if hasattr(self, "place"):
            collect(self.logs, self.place, START)
            assert stored(self.place) == +self.logged


def test_whatever_happens_in_whatever_order_each_row_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("STORE_LIVES", str(tmp_path))
    run_state_machine_as_test(
        Life, settings=settings(max_examples=30, stateful_step_count=40, suppress_health_check=list(HealthCheck))
    )


def test_a_worker_s_own_log_is_collected(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    DailyLog(tmp_path / "logs").append([json.loads(line("one", now))], now)
    place = Place(str(tmp_path / "store"))
    assert collect(tmp_path / "logs", place).rows == 1
    assert stored(place) == Counter(["one"])
