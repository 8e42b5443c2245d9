"""The loop on real git, DVC, registry, store and log: killed at each joint it retrains once, a bad one goes back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import audited
import coloured
import pytest
import yaml
from labelled import answer_and_label

from bloodyspy.adapters import registry, versioning
from bloodyspy.custody import releasing
from bloodyspy.dataset.holdings import Held, Holdings, image_paths, listings
from bloodyspy.dataset.version import read_dataset
from bloodyspy.labelling.audit import LEAD, declare
from bloodyspy.model.artifact import NETWORK, Artefact, read_digests
from bloodyspy.params import load_params
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Trained
from bloodyspy.promotion.history import live
from bloodyspy.promotion.loop_events import LoopEnded, LoopOutcome
from bloodyspy.promotion.release import one_loop
from bloodyspy.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipelines.retrain import Turn

ROOT = Path(__file__).parents[2]
LABELS = 8

pytestmark = [
    pytest.mark.timeout(1800),
    # Prefect's ephemeral server is a child that ends with this process, its client's sockets with the interpreter
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# the stage `train`: what a training leaves, without TensorFlow
TRAIN = """
import sys
import coloured, test_loop
from bloodyspy.dataset.version import data_version
from bloodyspy.settings import load_settings
s = load_settings()
test_loop.tell(coloured.candidate(s, "good", data_version=data_version(s.root)), s)
"""

KILLED = """
import os, signal, sys
from bloodyspy.adapters import packaging, registry, versioning
from bloodyspy.custody import looping
module, name = {
    "take labels": (versioning, "add_data"), "train": (versioning, "reproduce"), "promote": (registry, "register"),
    "tell": (packaging, "tell"), "end": (looping, "end"),
}[sys.argv[1]]
setattr(module, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from pipelines.retrain import retrain
retrain()
"""


def tell(made: Artefact, s: Settings) -> None:
    spec = made.spec
    trail.record_once(
        Trained(
            candidate=spec.candidate,
            run_id=spec.run_id,
            network=read_digests(made.path)[NETWORK],
            git_commit=spec.git_commit,
            data_version=spec.data_version,
            manifest_digest=spec.manifest_digest,
        ),
        s,
    )


@pytest.fixture
def s(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Version 1 answers; settled labels wait, and the stage `train` makes a better candidate of new data."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]))
    made = load_settings()
    coloured.lay_out(made)
    held = Holdings(
        read_dataset(made.data),
        tuple(Held(str(p.relative_to(made.data)), "", "colours") for p in image_paths(made.data)),
    )
    for name, content in listings(held).items():
        (made.data / name).write_bytes(content)
    place = made.root / "params.yaml"
    params = yaml.safe_load(place.read_text())
    params["loop"]["labels"] = LABELS
    place.write_text(yaml.safe_dump(params))
    subprocess.run(["git", "init", "--quiet"], cwd=made.root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=made.root, check=True)
    for name in (".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, made.root / name)
    version = versioning.add_data(made)
    tell(coloured.candidate(made, "middling", data_version=version), made)
    audited.release_best(made)
    (made.root / "train.py").write_text(TRAIN)
    (made.root / "dvc.yaml").write_text(
        f"stages:\n  train:\n    cmd: {sys.executable} train.py\n    deps: [data]\n"
        "    outs: [build/models, build/comparison.json]\n"
    )
    declare(made, 0.999)  # almost every answer is in the audit
    time.sleep(LEAD.total_seconds())
    answer_and_label(made, LABELS, version=1, right=LABELS, run_id="1" * 32, keep=True)
    return made


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """Imported late: Prefect reads its places when it is imported, and they are the session's."""
    before = dict(os.environ)
    os.environ["BLOODYSPY_STATE"] = str(tmp_path_factory.mktemp("prefect"))
    from pipelines.retrain import retrain
    from pipelines.watch import watch

    os.environ.pop("BLOODYSPY_STATE")
    yield retrain, watch
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()
    os.environ.clear()
    os.environ.update(before)


def killed(s: Settings, step: str) -> None:
    """Run the loop in a process of its own that is killed where a step would begin."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, step], cwd=s.root, start_new_session=True)
    try:
        assert process.wait(300) == -signal.SIGKILL, step
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # Prefect's ephemeral server outlives it


def champion(s: Settings) -> int:
    found = live(trail.entries(s))
    assert found is not None
    assert releasing.agrees(found[1].version, s)
    return found[1].version


def test_killed_at_each_joint_it_retrains_once_and_a_bad_champion_goes_back(
    s: Settings, flows: tuple[Any, Any]
) -> None:
    retrain, watch = flows
    for step in ("take labels", "train", "promote", "tell", "end"):
        killed(s, step)
    done: Turn = retrain()
    assert done.ended is not None
    assert done.ended.outcome is LoopOutcome.PROMOTED
    assert champion(s) == 2
    told = Counter(entry.event.kind for entry in trail.entries(s))
    assert (told["loop begun"], told["loop ended"]) == (6, 1)  # a run each, and one end
    assert (told["training"], told["data version"], told["release"]) == (2, 1, 2)  # version 1's, and one more
    client = registry.connect(s)
    experiment = client.get_experiment_by_name(s.experiment)
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2

    idle: Turn = retrain()
    assert idle.begun is None
    assert f"0 settled label(s) wait of {LABELS}" in idle.words
    with one_loop(s) as ours:
        assert ours
        assert "running already" in retrain().words

    assert watch().standing == "watched"
    answered = live(trail.entries(s))
    assert answered is not None
    answer_and_label(s, 120, version=2, right=80, run_id=answered[1].run_id, keep=False)
    found = watch()
    assert (found.standing, champion(s)) == ("worse", 1)
    release = live(trail.entries(s))
    assert release is not None
    assert "the watch took it back: Version 2: 6" in release[1].reason
    assert watch() is None

    by_hand: Turn = retrain("the microscope was mended")
    assert by_hand.ended is not None
    assert by_hand.ended.outcome is LoopOutcome.REFUSED  # the best candidate is the one that was taken back
    assert "it was rolled back (the watch took it back" in by_hand.ended.summary
    assert champion(s) == 1


def test_a_reason_that_gets_nowhere_is_given_up(s: Settings, flows: tuple[Any, Any]) -> None:
    retrain, _ = flows
    (s.root / "dvc.yaml").write_text(f"stages:\n  train:\n    cmd: {sys.executable} -c 'raise SystemExit(1)'\n")
    tries = load_params(s.root / "params.yaml").loop.tries
    from bloodyspy.errors import PromotionError, VersioningError

    for _ in range(tries + 1):  # the first one got further: it took the labels in
        with pytest.raises(VersioningError):
            retrain()
    with pytest.raises(PromotionError, match=r"given up: it was tried 3 times .* begin anew"):
        retrain()
    (ended,) = [entry.event for entry in trail.entries(s) if isinstance(entry.event, LoopEnded)]
    assert ended.outcome is LoopOutcome.GIVEN_UP
    assert retrain().begun is None  # the reason was told
