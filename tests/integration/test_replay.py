"""`bloodyspy replay` on two registered versions: on pictures, and on what both logged."""

from pathlib import Path

import pytest
from handmade import make_artefact
from pictures import tinted, write
from typer.testing import CliRunner

from bloodyspy.adapters import registry
from bloodyspy.adapters.evaluation_log import log_evaluation
from bloodyspy.cells import CELL_TYPES
from bloodyspy.cli import app
from bloodyspy.errors import PromotionError
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import Params
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def said(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_pictures_and_logs_are_replayed(settings: Settings, params: Params, tmp_path: Path) -> None:
    client = registry.connect(settings)
    experiment = client.create_experiment(settings.experiment, settings.mlflow_artifacts)
    classifiers = []
    for number, seed in enumerate((0, 5), 1):  # two that agree about two thirds of the colours
        run_id = client.create_run(experiment).info.run_id
        made = make_artefact(settings.artefact(f"number{number}"), run_id, seed=seed)
        log_evaluation(made, settings, params)
        assert registry.register(made, settings) == number
        classifiers.append(Classifier(made))
    folder = write(tmp_path / "pictures", {f"{i:02}.png": tinted(i) for i in range(30)})
    types = [[one.observe(tinted(i)).predicted for i in range(30)] for one in classifiers]
    same = sum(one == other for one, other in zip(*types, strict=True))
    assert 0 < same < 30

    answer = said(1, 2, folder)
    assert f"same type to {same / 30:.1%}" in answer
    assert "of 30 pictures" in answer
    for cell in CELL_TYPES:
        (row,) = (line for line in answer.splitlines() if line.startswith(f"│ {cell} "))
        assert sum(int(count) for count in row.split("│")[2:10]) == types[0].count(cell)
    apart = answer.partition("Furthest apart:")[2].split()
    assert len(apart) == min(10, 30 - same)
    assert all(types[0][i] != types[1][i] for i in (int(Path(path).stem) for path in apart))

    with pytest.raises(PromotionError, match="both answered"):
        said(1, 2)
    assert settings.observations is not None
    logs = ObservationLog(settings.observations), ObservationLog(settings.shadow_observations)
    for i in range(20):
        for number, (classifier, log) in enumerate(zip(classifiers, logs, strict=True), 1):
            log.append([classifier.observe(tinted(i))], f"request-{i // 4}", number, picture=i % 4)
    assert "of 20 pictures" in said(1, 2)
    assert "of 5 pictures" in said(2, 1, "--rows", 5)
