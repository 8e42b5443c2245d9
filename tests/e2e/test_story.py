"""The README on a clone, with the real tools: its commands, and what a person sees and does after `make lifecycle`.

In one file, which is one worker's: the clone is made once.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from readme import blocks, end, script
from story import Clone, environment

pytestmark = pytest.mark.timeout(3600)  # the first one makes the environment and runs the lifecycle


def test_the_commands_of_the_readme_run(clone: Clone, tmp_path: Path) -> None:
    readme = (clone.folder / "README.md").read_text(encoding="utf-8")
    assert len(blocks(readme)) >= 10
    assert blocks(readme)[0] == "make lifecycle\n"
    told = tmp_path / "told"
    with told.open("wb") as stream:
        shell = subprocess.Popen(
            ["bash", "-c", script(readme, tmp_path)],
            cwd=clone.folder,
            env=environment(clone.folder),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=1500)
        finally:
            end(shell.pid)
            shell.wait(timeout=10)
    said = told.read_text(errors="replace")
    assert status == 0, said[-6000:]
    answers = re.findall(r'"predicted":\s*"([a-z ]+)"', said)
    assert answers == ["platelet", "platelet"], said[-3000:]


def test_the_closing_table_says_what_happened(clone: Clone) -> None:
    said = " ".join(clone.printed.split())
    for words in (
        "synthetic",
        "small_cnn",
        "efficientnet_lite0",
        "promoted",
        "stable",
        "drifted",
        "mlflow ui",
        "bentoml serve",
    ):
        assert words in said, words


def test_the_committed_data_version_is_the_drawn_one(clone: Clone) -> None:
    assert "up to date" in clone.run("dvc", "status", "data.dvc")
    assert clone.run("git", "status", "--porcelain", "data.dvc") == ""


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    before = clone.run_ids()
    printed = clone.run("dvc", "repro")
    assert "Running stage" not in printed
    assert clone.run_ids() == before
    assert len(before) == 2


def test_outputs_come_back_from_the_remote_and_nothing_is_trained_again(clone: Clone) -> None:
    before = clone.run_ids()
    shutil.rmtree(clone.folder / "build")
    shutil.rmtree(clone.folder / ".dvc" / "cache")
    clone.run("dvc", "pull")
    printed = clone.run("dvc", "repro")
    assert "Running stage" not in printed
    assert clone.run_ids() == before


def test_an_experiment_with_one_candidate_reruns_one_candidate(clone: Clone) -> None:
    before, lock = clone.run_ids(), clone.folder / "dvc.lock"
    locked = lock.read_text()
    printed = clone.run("dvc", "exp", "run", "-S", "candidates.small_cnn.epochs=2")
    ran = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    assert ran == {"train@small_cnn", "evaluate@small_cnn", "compare"}
    assert clone.run_ids()["efficientnet_lite0"] == before["efficientnet_lite0"]
    # and back, as a person does with `git checkout` of both files and `dvc checkout`
    clone.run("git", "checkout", "params.yaml")
    lock.write_text(locked)
    clone.run("dvc", "checkout")
    assert "Running stage" not in clone.run("dvc", "repro")
    assert clone.run_ids() == before


def test_metrics_and_plots_are_dvc_s(clone: Clone) -> None:
    assert "efficientnet_lite0" in clone.run("dvc", "metrics", "show")
    assert "html" in clone.run("dvc", "plots", "show")


def test_the_champion_answers_as_an_mlflow_model(clone: Clone) -> None:
    code = """
import glob, mlflow, pandas
mlflow.set_tracking_uri("sqlite:///var/mlflow.db")
model = mlflow.pyfunc.load_model("models:/bloodyspy@champion")
pictures = sorted(glob.glob("data/platelet/*.jpg"))[:4]
answers = model.predict(pandas.DataFrame({"image": [open(picture, "rb").read() for picture in pictures]}))
assert list(answers["predicted"]) == ["platelet"] * 4, answers
"""
    clone.run("python", "-c", code)


def test_promoting_again_changes_nothing(clone: Clone) -> None:
    release = (clone.folder / "var" / "release.json").read_bytes()
    clone.run("python", "-m", "pipelines", "promote")
    assert (clone.folder / "var" / "release.json").read_bytes() == release
    clone.run("bloodyspy", "verify")  # exit code 0: every joint holds
