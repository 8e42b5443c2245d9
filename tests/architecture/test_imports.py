"""Layers, import weight, the single road for a picture."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path for package in ("bloodyspy", "monitoring", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))
]


def modules_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after the statement."""
    code = f"import sys; {statement}; print(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("check", ["ruff check .", "ruff format --check .", "mypy", "lint-imports --no-cache"])
def test_the_checks_of_make_check_pass(check: str) -> None:
    command, *arguments = check.split()
    done = subprocess.run(
        [Path(sys.executable).with_name(command), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout


HEAVY = {
    "tensorflow",
    "keras",
    "mlflow",
    "dvc",
    "great_expectations",
    "evidently",
    "prefect",
    "bentoml",
    "pandas",
    "sklearn",
}


def test_the_command_line_imports_nothing_heavy() -> None:
    assert not modules_after("import bloodyspy.cli") & (HEAVY | {"cv2", "PIL", "onnxruntime", "numpy"})


def test_help_answers_with_less_than_a_second_of_work() -> None:
    command = [Path(sys.executable).with_name("bloodyspy"), "--help"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)  # processor time: the machine may be busy
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_the_service_imports_no_tool_of_the_platform() -> None:
    assert not modules_after("import bloodyspy.serving.service") & (HEAVY - {"bentoml"} | {"scipy"})


def test_the_classifier_needs_no_tensorflow() -> None:
    assert not modules_after("import bloodyspy.model.classifier") & HEAVY


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"\bImage\.open\(|cv2\.imdecode|imread\(", {"images/decode.py"}),
        (r"(?<!np)\.resize\(", {"images/preprocess.py"}),
        (r"\bopen_memmap\(", {"dataset/preparation.py"}),
        (r"\bInferenceSession\(", {"model/inference.py"}),
    ],
)
def test_one_place_for_each_step_of_the_road(pattern: str, home: set[str]) -> None:
    # Drawing cells and distorting them is not the road: those two make pictures, the road reads them.
    makers = {
        *("images/synthetic.py", "images/optics.py", "images/fields.py", "images/no_cells.py", "evaluation/figures.py"),
        "images/statistics.py",  # a square that no network sees: docs/decisions/0038
        "model/explanation.py",  # a heat map, made larger for people
    }
    found = {
        str(path.relative_to(ROOT / "bloodyspy"))
        if path.is_relative_to(ROOT / "bloodyspy")
        else str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found - makers == home


def test_no_file_of_the_library_prints() -> None:
    speaking = [path for path in SOURCES if re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert not speaking
