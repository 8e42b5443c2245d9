"""DVC driven in a real project: a git repository, a cache, a local remote."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bloodyspy.adapters import versioning
from bloodyspy.dataset.version import DatasetInfo, SourceInfo, data_version
from bloodyspy.errors import DataMissing, VersioningError
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]
DVC = [sys.executable, "-m", "dvc"]

STAGES = """
stages:
  first:
    cmd: echo first > first.txt
    outs: [first.txt]
  second:
    cmd: cat first.txt > second.txt
    deps: [first.txt]
    params: [word]
    outs: [second.txt]
  broken:
    cmd: 'echo "The data failed 1 expectation(s): too few platelets" >&2; exit 1'
    outs: [broken.txt]
  slow:
    cmd: 'echo $$ > slow.pid; test -e quick || sleep 600; echo done > slow.txt'
    outs: [slow.txt]
"""


@pytest.fixture
def s(settings: Settings) -> Settings:
    """A DVC project with a data set of text files: DVC does not look inside."""
    root = settings.root
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run([*DVC, "init", "--quiet"], cwd=root, check=True)
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    shutil.copy(ROOT / ".dvcignore", root)
    (root / "params.yaml").write_text("word: one\n")
    (root / "dvc.yaml").write_text(STAGES)
    fill(settings, 20)
    return settings


def fill(s: Settings, files: int, source: str = "synthetic") -> None:
    place = s.data / "platelet"
    place.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (place / f"{number}.txt").write_text(str(number))
    info = DatasetInfo(
        synthetic=source == "synthetic", sources=(SourceInfo(name=source, images=files, taken=files, quarantined=0),)
    )
    (s.data / "dataset.json").write_text(info.model_dump_json())


def lose(s: Settings, *, remote: bool) -> None:
    """As on a fresh clone: no data/, no cache, and perhaps nothing on the remote."""
    shutil.rmtree(s.data)
    shutil.rmtree(s.root / ".dvc" / "cache")
    if remote:
        shutil.rmtree(s.root / "var" / "dvc-remote")


def test_data_gets_a_version_and_the_same_data_the_same(s: Settings) -> None:
    version = versioning.add_data(s)
    assert version == data_version(s.root)
    assert versioning.is_clean(s)
    assert versioning.is_synthetic(s)
    written = (s.root / "data.dvc").read_bytes()
    assert versioning.add_data(s) == version
    assert (s.root / "data.dvc").read_bytes() == written
    fill(s, 21)
    assert not versioning.is_clean(s)
    assert versioning.add_data(s) != version


def test_the_sources_are_named_beside_the_version(s: Settings) -> None:
    versioning.add_data(s)
    fill(s, 20, source="pbc")
    versioning.add_data(s)
    assert yaml.safe_load((s.root / "data.dvc").read_text())["meta"] == {"sources": ["pbc"]}
    assert not versioning.is_synthetic(s)
    assert versioning.is_clean(s)


def test_data_comes_back_from_the_remote(s: Settings) -> None:
    versioning.add_data(s)
    versioning.push(s, "data.dvc")
    lose(s, remote=False)
    assert not versioning.is_complete(s)
    assert versioning.pull_data(s)
    assert versioning.is_complete(s)
    assert len(list((s.data / "platelet").iterdir())) == 20
    assert versioning.is_clean(s)


def test_an_empty_remote_is_an_answer(s: Settings) -> None:
    versioning.add_data(s)
    versioning.push(s, "data.dvc")
    lose(s, remote=True)
    assert not versioning.pull_data(s)
    assert not s.data.exists()


def test_a_broken_remote_is_an_error(s: Settings) -> None:
    versioning.add_data(s)
    lose(s, remote=False)
    subprocess.run([*DVC, "remote", "modify", "local", "url", "/proc/1/nowhere"], cwd=s.root, check=True)
    (s.root / ".dvc" / "config").write_text((s.root / ".dvc" / "config").read_text() + "[core]\n    remote = other\n")
    with pytest.raises(VersioningError, match="fetch"):
        versioning.pull_data(s)


def test_without_data_dvc_there_is_nothing_to_pull(s: Settings) -> None:
    with pytest.raises(DataMissing, match=r"data\.dvc"):
        versioning.pull_data(s)
    shutil.rmtree(s.data)
    with pytest.raises(DataMissing, match="bloodyspy data import"):
        versioning.add_data(s)


def test_a_checkout_killed_half_way_is_not_taken_for_the_data(s: Settings) -> None:
    version = versioning.add_data(s)
    (s.state).mkdir(exist_ok=True)
    (s.state / "pulling-data").touch()  # what a killed pull leaves beside half of the files
    for number in range(10):
        (s.data / "platelet" / f"{number}.txt").unlink()
    assert not versioning.is_complete(s)
    assert versioning.pull_data(s)
    assert versioning.is_complete(s)
    assert versioning.add_data(s) == version


def test_what_was_imported_after_a_killed_checkout_is_not_taken_away(s: Settings) -> None:
    versioning.add_data(s)
    s.state.mkdir(exist_ok=True)
    (s.state / "pulling-data").touch()
    (s.data / "platelet" / "new.txt").write_text("new")
    with pytest.raises(VersioningError, match="force"):
        versioning.pull_data(s)
    assert (s.data / "platelet" / "new.txt").exists()


def test_what_ran_is_told_apart_from_what_was_known(s: Settings) -> None:
    done = versioning.reproduce(s, ("second",))
    assert (done.ran, done.restored, done.unchanged) == (("first", "second"), (), ())
    done = versioning.reproduce(s, ("second",))
    assert (done.ran, done.restored, done.unchanged) == ((), (), ("first", "second"))
    (s.root / "params.yaml").write_text("word: two\n")
    assert versioning.reproduce(s, ("second",)).ran == ("second",)
    (s.root / "params.yaml").write_text("word: one\n")
    assert versioning.reproduce(s, ("second",)).restored == ("second",)


def test_progress_is_logged_and_a_failing_stage_speaks(s: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bloodyspy")
    with pytest.raises(VersioningError) as caught:
        versioning.reproduce(s, ("broken",))
    assert "too few platelets" in str(caught.value)
    assert "exit code" in str(caught.value)
    assert "Running stage 'broken':" in caplog.messages


@pytest.mark.parametrize(
    "left",
    [
        '{"write": {"/x": {"pid": ',  # cut off while it was written
        json.dumps({"write": {}, "read": {"PLACE": [{"pid": 1, "cmd": "repro"}]}}),  # a number that was given again
    ],
    ids=["cut off", "number given again"],
)
def test_what_a_killed_dvc_left_does_not_block_the_next(s: Settings, left: str) -> None:
    table = s.root / ".dvc" / "tmp" / "rwlock"
    table.parent.mkdir(exist_ok=True)
    table.write_text(left.replace("PLACE", str(s.root / "first.txt")))
    assert versioning.reproduce(s, ("first",)).ran == ("first",)


CALLER = """
from bloodyspy.adapters import versioning
from bloodyspy.settings import load_settings
print(versioning.reproduce(load_settings(), ("slow",)).ran)
"""


def test_after_kill_9_the_stage_ends_and_the_same_call_goes_on(s: Settings) -> None:
    caller = subprocess.Popen([sys.executable, "-c", CALLER], cwd=s.root)
    pid_file = s.root / "slow.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip() != "", 60)
    stage = int(pid_file.read_text())
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    (s.root / "quick").touch()
    done = versioning.reproduce(s, ("slow",))  # at once: the orphans may still be about to end
    assert done.ran == ("slow",)
    assert (s.root / "slow.txt").read_text() == "done\n"
    wait_until(lambda: not Path(f"/proc/{stage}").exists(), 10)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
