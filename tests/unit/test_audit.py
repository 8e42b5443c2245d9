"""The audit log: what holds a chain together, and what breaks it."""

import multiprocessing
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import postgres
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.errors import AuditError
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry, chained, read_chain
from bloodyspy.promotion.events import Event, Looked, Mended, UserChanged, Why
from bloodyspy.settings import Settings

DAY = datetime(2026, 11, 23, tzinfo=UTC)
WORDS = st.text(min_size=1, max_size=40)


def settings(folder: Path, uri: str | None = None) -> Settings:
    return Settings(root=folder, state=folder / "var", audit_uri=uri, actor="anna")


def user(name: str) -> UserChanged:
    return UserChanged(name=name, change="added")


def look(network: str = "a", version: int | None = 3) -> Looked:
    return Looked(
        why=Why.PROMOTION,
        network=network * 64,
        candidate="tiny",
        run_id="r" * 32,
        version=version,
        test_digest="b" * 64,
        images=10,
    )


def chain(events: list[Event]) -> list[Entry]:
    entries: list[Entry] = []
    for event in events:
        entries.append(chained(event, entries[-1] if entries else None, "anna", DAY))
    return entries


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_what_was_written_is_read_and_whole(names: list[str]) -> None:
    written = chain([user(name) for name in names])
    read, faults = read_chain([entry.line for entry in written], "log")
    assert (read, faults) == (written, [])


@given(st.lists(WORDS, min_size=1, max_size=4), st.data())
def test_any_changed_byte_is_a_fault_of_its_line(names: list[str], data: st.DataObject) -> None:
    content = bytearray("".join(f"{entry.line}\n" for entry in chain([user(name) for name in names])).encode())
    at = data.draw(st.integers(0, len(content) - 2))  # the last end of line is the file's business
    line = content[:at].count(b"\n") + 1
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    lines = [part.decode("utf-8", "replace") for part in bytes(content).split(b"\n")[:-1]]
    _, faults = read_chain(lines, "log")
    assert [fault.where for fault in faults][:1] == [f"log, line {line}"]


@pytest.mark.parametrize("change", [lambda c: c[1:], lambda c: c[:1] + c[2:], lambda c: [c[1], c[0], *c[2:]]])
def test_an_entry_taken_out_or_moved_is_a_fault(change) -> None:
    lines = [entry.line for entry in chain([user("a"), user("b"), user("c"), user("d")])]
    _, faults = read_chain(change(lines), "log")
    assert faults
    assert "does not follow" in faults[0].what


def test_an_entry_written_anew_does_not_fit_the_next() -> None:
    one, two, three = chain([user("a"), user("b"), user("c")])
    forged = chained(user("eve"), one, "anna", two.time)
    _, faults = read_chain([one.line, forged.line, three.line], "log")
    assert [fault.where for fault in faults] == ["log, line 3"]


def test_a_number_that_json_does_not_have_is_a_fault() -> None:
    line = chain([user("a")])[0].line.replace('"number":1', '"number":Infinity')
    assert "no entry" in read_chain([line], "log")[1][0].what


def test_without_its_last_entries_a_chain_still_holds() -> None:
    """What a chain cannot prove, and an anchor outside can: that nothing came after."""
    lines = [entry.line for entry in chain([user("a"), user("b"), user("c")])]
    assert read_chain(lines[:2], "log")[1] == []


def test_a_clock_set_back_does_not_set_the_log_back() -> None:
    first = chained(user("a"), None, "anna", DAY)
    assert chained(user("b"), first, "anna", DAY - timedelta(hours=1)).time == DAY


def test_the_same_fields_written_otherwise_are_a_change() -> None:
    line = chain([user("a")])[0].line
    assert '"change":"added"' in line
    assert read_chain([line], "log")[1] == []
    assert read_chain([line.replace('"change":"added"', '"change": "added"')], "log")[1]


def test_the_log_says_who(tmp_path: Path) -> None:
    s = settings(tmp_path)
    trail.record(user("ben"), s)
    (entry,) = trail.entries(s)
    assert (entry.by, entry.event, entry.number) == ("anna", user("ben"), 1)
    assert "@" in Settings(root=tmp_path).actor_name


def test_what_was_recorded_already_is_not_recorded_again(tmp_path: Path) -> None:
    s = settings(tmp_path)
    for event in (look(), look(), user("ben"), look(), look("c"), look()):
        trail.record_change(event, s)
    expected = [look(), user("ben"), look("c"), look()]
    assert [entry.event for entry in trail.entries(s)] == expected
    for event in expected:
        trail.record_once(event, s)
    assert [entry.event for entry in trail.entries(s)] == expected


def test_a_line_cut_off_by_a_kill_is_put_aside(tmp_path: Path) -> None:
    s = settings(tmp_path)
    first, second = trail.record(user("a"), s), trail.record(user("b"), s)
    content = s.audit_log.read_bytes()
    s.audit_log.write_bytes(content[:-20])
    assert "does not end" in trail.checked(s)[1][0].what  # who only looks mends nothing
    assert len(trail.entries(s)) == 2
    trail.record(user("c"), s)
    found = trail.entries(s)
    assert found[0] == first
    assert isinstance(found[1].event, Mended)
    assert found[2].event == user("c")
    assert (s.audit_log.parent / found[1].event.kept_in).read_bytes() == second.line.encode()[:-19]


def test_a_kill_that_cost_only_the_end_of_the_line_is_made_good(tmp_path: Path) -> None:
    s = settings(tmp_path)
    first = trail.record(user("a"), s)
    s.audit_log.write_bytes(s.audit_log.read_bytes()[:-1])
    assert trail.entries(s) == [first]
    assert trail.checked(s) == ([first], [])


@pytest.mark.parametrize("end", [b"x", b"}", b" "])
def test_a_whole_entry_whose_end_was_changed_is_not_put_aside(tmp_path: Path, end: bytes) -> None:
    s = settings(tmp_path)
    trail.record(user("a"), s)
    s.audit_log.write_bytes(s.audit_log.read_bytes()[:-1] + end)
    before = s.audit_log.read_bytes()
    for attempt in (lambda: trail.record(user("b"), s), lambda: trail.entries(s)):
        with pytest.raises(AuditError, match="its end was changed"):
            attempt()
    assert s.audit_log.read_bytes() == before


def test_nothing_is_appended_to_an_altered_entry(tmp_path: Path) -> None:
    s = settings(tmp_path)
    trail.record(user("anna"), s)
    s.audit_log.write_bytes(s.audit_log.read_bytes().replace(b"added", b"addad"))
    with pytest.raises(AuditError, match="altered"):
        trail.record(user("b"), s)


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s = settings(tmp_path)
    trail.record(user("a"), s)
    whole, write = s.audit_log.read_bytes(), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, payload, at: write(handle, payload[:30], at))
    with pytest.raises(AuditError, match="30 of"):
        trail.record(user("b"), s)
    assert s.audit_log.read_bytes() == whole


def _record_many(folder: Path, uri: str | None, name: str, times: int) -> None:
    for number in range(times):
        trail.record(user(f"{name}{number}"), settings(folder, uri))


def _at_once(folder: Path, uri: str | None) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_record_many, args=(folder, uri, name, 25)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    found = trail.entries(settings(folder, uri))
    assert [entry.number for entry in found] == list(range(1, 101))
    for name in "abcd":
        assert [e.event.name for e in found if e.event.name.startswith(name)] == [f"{name}{i}" for i in range(25)]


def test_four_who_write_at_once_make_one_chain(tmp_path: Path) -> None:
    _at_once(tmp_path, None)


def test_kills_leave_a_chain_that_goes_on(tmp_path: Path) -> None:
    s = settings(tmp_path)
    script = (
        "import itertools, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from test_audit import settings, user, trail\n"
        "for i in itertools.count(): trail.record(user(str(i)), settings(Path(sys.argv[1]))); print(i, flush=True)"
    )
    told = 0
    for _ in range(5):
        command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
        paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as process:
            assert process.stdout is not None
            for _ in range(20):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
        told += 20 + rest.count(b"\n")
    trail.record(user("last"), s)
    # acknowledged entries are all there; each kill may have left one that nobody was told of
    assert told <= len(trail.entries(s)) - 1 <= told + 5


def test_a_table_keeps_the_same_chain(tmp_path: Path) -> None:
    with postgres() as uri:
        s = settings(tmp_path, uri)
        assert trail.entries(s) == []
        _at_once(tmp_path, uri)
        assert not s.audit_log.exists()
        with trail._table(s) as connection:
            for statement in ("UPDATE bloodyspy_audit SET line = 'x'", "DELETE FROM bloodyspy_audit"):
                with pytest.raises(Exception, match="only ever appended"):
                    connection.exec_driver_sql(statement)
                connection.rollback()
            connection.exec_driver_sql("ALTER TABLE bloodyspy_audit DISABLE TRIGGER append_only")
            connection.exec_driver_sql(
                "UPDATE bloodyspy_audit SET line = replace(line, 'added', 'addad') WHERE number = 7"
            )
            connection.commit()
        _, faults = trail.checked(s)
        assert len(faults) == 1
        assert faults[0].where.endswith("line 7")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///x.db", "names no PostgreSQL"),
        ("postgresql://anna:secret@127.0.0.1:1/none", r"anna:\*\*\*@127.0.0.1:1/none cannot be used"),
    ],
)
def test_a_table_that_is_not_there_is_one_sentence(tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(AuditError, match=message) as caught:
        trail.record(user("a"), settings(tmp_path, uri))
    assert "secret" not in str(caught.value)
