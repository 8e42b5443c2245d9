"""A search in Optuna's words: its storage, its trials, what is asked of the next one, and who takes over from the dead.

How a worker's death is noticed depends on the storage. With a file (the default) all workers share this machine's disk:
the lock of a trial's checkpoint tells at once and never errs. With a database server they may be anywhere: Optuna's
heartbeat tells, ten minutes after the last one.
"""

import logging
import math
import uuid
import warnings

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, OperationalError

from bloodyspy.errors import ParamsError, SettingsError
from bloodyspy.params import Candidate
from bloodyspy.search_space import Choices, HalvingPruner, MedianPruner, Range, Scalar, Study
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.ERROR)  # what becomes of a trial is told by the search, in its words

_IDENTITY = "identity"  # of a study, for the tracking store: drawn at random, so that two studies never share a run
# Of a trial: in whose place it is, how many workers died over it, what it trains.
_ORIGIN, _DEATHS, _CANDIDATE = "origin", "deaths", "candidate"
_DEATHS_ALLOWED = 3  # a trial that takes all the memory would else end every worker for ever
_HEARTBEAT, _SILENCE = 30, 600  # seconds


def open_study(key: str, declared: Study, s: Settings) -> optuna.Study:
    """The study of that key, begun where there is none.

    Raises:
        SettingsError: the storage does not answer or is none.
    """
    try:
        study = optuna.create_study(
            storage=_storage(s), study_name=key, direction="minimize", pruner=_pruner(declared), load_if_exists=True
        )
    except (ArgumentError, OperationalError, ImportError) as exc:
        raise SettingsError(
            f"The studies at {s.tuning_place} cannot be reached: {exc}. "
            "Correct BLOODYSPY_TUNING_URI or start its server; the same command then goes on."
        ) from exc
    if _IDENTITY not in study.user_attrs:
        study.set_user_attr(_IDENTITY, uuid.uuid4().hex)
    return study


def on_this_machine(s: Settings) -> bool:
    """Whether the storage is a file, so that all workers share this machine's disk."""
    return str(s.tuning_uri).startswith("sqlite")


def identity_of(study: optuna.Study) -> str:
    """What the study's run is known by in the tracking store."""
    return str(study.user_attrs[_IDENTITY])


def origin_of(trial: FrozenTrial) -> int:
    """Optuna's number of the trial in whose place one is, or its own."""
    return int(trial.user_attrs.get(_ORIGIN, trial.number))


def number_of(study: optuna.Study, trial: FrozenTrial) -> int:
    """The number of a trial for people, from 1: it stays when another worker takes over."""
    earlier = (one for one in study.get_trials(deepcopy=False) if one.number <= origin_of(trial))
    return sum(_ORIGIN not in one.user_attrs for one in earlier)


def latest(study: optuna.Study) -> list[FrozenTrial]:
    """The trials as people count them: of those that took over from one another, the last."""
    return list({origin_of(trial): trial for trial in study.get_trials(deepcopy=False)}.values())


def completed(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that ran to their end, the lowest loss first."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(done, key=lambda trial: trial.values)


def candidate_of(trial: FrozenTrial) -> Candidate:
    """What a trial trained."""
    return Candidate.model_validate_json(trial.user_attrs[_CANDIDATE])


def put_back(study: optuna.Study, trial: FrozenTrial, deaths: int = 1) -> None:
    """Queue again what an ended worker left: the same values, the same number for people."""
    deaths += trial.user_attrs.get(_DEATHS, 0)
    if deaths > _DEATHS_ALLOWED:
        logger.warning("trial %d: %d workers died over it; it is left out", number_of(study, trial), deaths)
        return
    logger.info("trial %d: its worker ended before it did; it goes on", number_of(study, trial))
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={_ORIGIN: origin_of(trial), _DEATHS: deaths},
            system_attrs=trial.system_attrs,
        )
    )


def give_up(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue again what a worker that is known to be dead left running, or failed and not yet queued."""
    if trial.state == TrialState.RUNNING:
        study.tell(trial.number, state=TrialState.FAIL)
        put_back(study, trial)
    else:  # which of the two it died of is not known: of the trial, or of a kill while the trial was handed on
        put_back(study, trial, deaths=0)


def may_go_on(trial: FrozenTrial) -> bool:
    """Whether one more worker may die over a trial before it is left out."""
    return int(trial.user_attrs.get(_DEATHS, 0)) < _DEATHS_ALLOWED


def take_from_the_silent(study: optuna.Study) -> None:
    """Queue again the trials of workers elsewhere that have not been heard of for ten minutes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def sampler(declared: Study, number: int) -> TPESampler:
    """What proposes the values of a trial. Seeded by the trial: two workers never draw the same by chance."""
    return TPESampler(seed=int(np.random.SeedSequence((declared.seed, number)).generate_state(1)[0]))


def suggest(trial: optuna.Trial, declared: Study, base: Candidate) -> Candidate:
    """The candidate of a trial: the base with the fields of the space as Optuna proposes them.

    Numbers are rounded to three digits before they are used, where that leaves them in their range: the winner in
    params.yaml is what was tried.
    """
    candidate = base.changed({key: _value(trial, key, domain, base) for key, domain in declared.space.items()})
    trial.set_user_attr(_CANDIDATE, candidate.model_dump_json())
    return candidate


def _value(trial: optuna.Trial, key: str, domain: Range | Choices, base: Candidate) -> Scalar:
    if isinstance(domain, Choices):
        choice = trial.suggest_categorical(key, domain.choices)
        assert choice is not None  # Optuna knows of choices that a list in params.yaml cannot hold
        return choice
    try:
        base.changed({key: domain.low + (domain.high - domain.low) / math.pi})
    except ParamsError:  # the field takes whole numbers only
        return trial.suggest_int(key, int(domain.low), int(domain.high), log=domain.log)
    exact = trial.suggest_float(key, domain.low, domain.high, log=domain.log)
    rounded = float(f"{exact:.3g}")
    return rounded if domain.low <= rounded <= domain.high else exact


def _pruner(declared: Study) -> optuna.pruners.BasePruner:
    wanted = declared.pruner
    if isinstance(wanted, MedianPruner):
        return optuna.pruners.MedianPruner(wanted.startup_trials, wanted.warm_up_epochs)
    if isinstance(wanted, HalvingPruner):
        return optuna.pruners.SuccessiveHalvingPruner(wanted.warm_up_epochs, wanted.reduction)
    return optuna.pruners.NopPruner()


def _storage(s: Settings) -> RDBStorage:
    if on_this_machine(s):
        s.state.mkdir(parents=True, exist_ok=True)
        # Workers write a few rows an epoch; one may have to wait for another.
        return RDBStorage(str(s.tuning_uri), engine_kwargs={"connect_args": {"timeout": 60}})
    with warnings.catch_warnings():  # heartbeats are there since 2021, and still called experimental
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            str(s.tuning_uri),
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=_HEARTBEAT,
            grace_period=_SILENCE,
            heartbeat_stale_trial_callback=put_back,
        )
