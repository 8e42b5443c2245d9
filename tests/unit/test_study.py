"""What is searched, what is asked of the next trial, who takes over, and where the winner is written."""

import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from bloodyspy.errors import ParamsError, SettingsError
from bloodyspy.model import study as studies
from bloodyspy.params import Candidate, Params, load_params
from bloodyspy.params_edit import put_candidate
from bloodyspy.search_space import Study
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]
DECLARED: dict[str, Any] = {
    "candidate": "small_cnn",
    "trials": 3,
    "seed": 1,
    "pruner": {"kind": "none"},
    "space": {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "batch_size": {"low": 8, "high": 64, "log": True},
        "augmentation": {"choices": ["none", "full"]},
    },
}


def base(params: Params) -> Candidate:
    return params.candidate("small_cnn")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"candidate": "nobody"}, "nobody"),
        ({"space": {}}, "space"),
        ({"space": {"learning_rat": {"low": 0.1, "high": 1}}}, "learning_rat"),
        ({"space": {"learning_rate": {"low": -0.1, "high": 1}}}, "learning_rate.*greater than 0"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 0.01}}}, "low is not below high"),
        ({"space": {"weight_decay": {"low": 0.0, "high": 0.01, "log": True}}}, "begins above 0"),
        ({"space": {"augmentation": {"choices": ["none", "ful"]}}}, "augmentation"),
        ({"space": {"augmentation": {"choices": ["none"]}}}, "choices"),
        ({"space": {"input": {"choices": ["px64", "px65"]}}}, "px65|input"),
        ({"pruner": {"kind": "median"}}, "startup_trials"),
        ({"pruner": {"kind": "hyperband"}}, "hyperband|kind"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused_when_the_file_is_read(
    settings: Settings, change: dict[str, Any], fault: str
) -> None:
    path = settings.root / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["tuning"] = {"tuned": {**DECLARED, **change}}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ParamsError, match=rf"(?s)tuning.*({fault})"):
        load_params(path)


def test_a_winner_may_not_replace_what_it_came_from(settings: Settings) -> None:
    path = settings.root / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["tuning"] = {"small_cnn": DECLARED}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ParamsError, match="in the place of the candidate"):
        load_params(path)
    with pytest.raises(ParamsError, match=r"no study|nothing to tune"):
        load_params(ROOT / "params.yaml").study("nobody")


def ask(settings: Settings, params: Params, number: int) -> Candidate:
    declared = Study.model_validate(DECLARED)
    study = optuna.create_study(sampler=studies.sampler(declared, number))
    return studies.suggest(study.ask(), declared, base(params))


def test_a_trial_is_the_base_with_the_fields_of_the_space(settings: Settings, params: Params) -> None:
    asked = [ask(settings, params, number) for number in range(20)]
    for candidate in asked:
        assert 1e-4 <= candidate.learning_rate <= 1e-1
        assert float(f"{candidate.learning_rate:.3g}") == candidate.learning_rate  # what is written is what was tried
        assert 8 <= candidate.batch_size <= 64
        same = {"learning_rate", "batch_size", "augmentation"}
        assert candidate.model_dump(exclude=same) == base(params).model_dump(exclude=same)
    assert {candidate.augmentation for candidate in asked} == {"none", "full"}
    assert len({candidate.learning_rate for candidate in asked}) > 15  # no two workers draw the same
    assert ask(settings, params, 7) == asked[7]


def test_rounding_never_leaves_the_range(settings: Settings, params: Params) -> None:
    space = {"weight_averaging": {"low": 0.99, "high": 0.9999}, "learning_rate": {"low": 0.0012345, "high": 0.001236}}
    declared = Study.model_validate({**DECLARED, "space": space})
    study = optuna.create_study(sampler=studies.sampler(declared, 0))
    asked = [studies.suggest(study.ask(), declared, base(params)) for _ in range(30)]
    assert all(0.99 <= candidate.weight_averaging <= 0.9999 for candidate in asked)
    assert {0.991, 0.999} & {candidate.weight_averaging for candidate in asked}  # where it can be rounded, it is
    assert all(0.0012345 <= candidate.learning_rate <= 0.001236 for candidate in asked)


def test_a_trial_that_kills_its_workers_is_left_out_at_last(settings: Settings, params: Params) -> None:
    declared = Study.model_validate(DECLARED)
    study = studies.open_study("tuned", declared, settings)
    assert studies.identity_of(studies.open_study("tuned", declared, settings)) == studies.identity_of(study)
    study.tell(study.ask(), 1.0)
    tried = []
    for _ in range(4):
        trial = study.ask()
        tried.append(studies.suggest(trial, declared, base(params)))
        frozen = study.trials[trial.number]
        assert (studies.origin_of(frozen), studies.number_of(study, frozen)) == (1, 2)
        studies.give_up(study, frozen)
    assert tried == [tried[0]] * 4
    assert [trial.state for trial in studies.latest(study)] == [TrialState.COMPLETE, TrialState.FAIL]
    fresh = study.ask()
    assert studies.number_of(study, study.trials[fresh.number]) == 3


@pytest.mark.parametrize("uri", ["postgresql://anna:secret@127.0.0.1:9/tuning", "nonsense"])
def test_a_storage_that_does_not_answer_says_what_to_do(
    settings: Settings, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = settings.model_copy(update={"tuning_uri": uri})
    with pytest.raises(SettingsError, match="BLOODYSPY_TUNING_URI") as raised:
        studies.open_study("tuned", Study.model_validate(DECLARED), elsewhere)
    assert "secret" not in str(raised.value)


def test_the_winner_is_put_in_and_nothing_else_moves(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    before = path.read_bytes().splitlines(keepends=True)
    winner = base(params).changed({"learning_rate": 0.00123})

    assert put_candidate(path, "tuned", winner, "trial 7")
    after = path.read_bytes().splitlines(keepends=True)
    start = after.index(b"  tuned:  # trial 7\n")
    length = 1 + len(Candidate.model_fields)
    assert after[:start] + after[start + length :] == before
    assert before[start:][0] == b"\n"  # after the last candidate, before the empty line
    assert load_params(path).candidates == {**params.candidates, "tuned": winner}

    content = path.read_bytes()
    assert not put_candidate(path, "tuned", winner, "trial 8")
    assert path.read_bytes() == content

    better = winner.changed({"batch_size": 17})
    assert put_candidate(path, "tuned", better, "trial 9")
    again = path.read_bytes().splitlines(keepends=True)
    assert again[:start] + again[start + length :] == before
    assert again[start] == b"  tuned:  # trial 9\n"
    assert load_params(path).candidates["tuned"] == better

    first = base(params).changed({"seed": 5})
    assert put_candidate(path, "small_cnn", first, "by hand")
    assert load_params(path).candidates == {**params.candidates, "small_cnn": first, "tuned": better}
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_line_ends_and_links_stay_what_they_are(tmp_path: Path, params: Params) -> None:
    kept, path = tmp_path / "kept.yaml", tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_bytes().replace(b"\n", b"\r\n")
    kept.write_bytes(before)
    path.symlink_to(kept)
    assert put_candidate(path, "tuned", base(params), "trial 7")
    assert path.readlink() == kept
    lines = kept.read_bytes().splitlines(keepends=True)
    start = lines.index(b"  tuned:  # trial 7\r\n")
    entry = lines[start : start + 1 + len(Candidate.model_fields)]
    assert all(line.endswith(b"\r\n") for line in entry)
    assert b"".join(lines[:start] + lines[start + len(entry) :]) == before
    assert load_params(path).candidates["tuned"] == base(params)


def test_a_last_line_without_an_end_gets_one(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "params.yaml"
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["candidates"] = content.pop("candidates")  # the last key
    before = yaml.safe_dump(content, sort_keys=False).rstrip("\n").encode()
    path.write_bytes(before)
    assert put_candidate(path, "tuned", base(params), "trial 7")
    assert path.read_bytes().startswith(before + b"\n  tuned:  # trial 7\n")
    assert load_params(path).candidates["tuned"] == base(params)


def test_a_file_that_would_not_be_valid_is_left_alone(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    content = path.read_bytes()
    with pytest.raises(ParamsError, match="nowhere"):
        put_candidate(path, "tuned", base(params).changed({"input": "nowhere"}), "trial 7")
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]
