"""What every flow begins with, and how its tasks are made."""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.transactions import Transaction

from bloodyspy.errors import BloodySpyError
from bloodyspy.params import Params, load_params
from bloodyspy.settings import Settings, load_settings

Given = ParamSpec("Given")
Result = TypeVar("Result")


def _in_one_sentence(record: logging.LogRecord) -> bool:
    """Errors of ours say what to do; a traceback around them only hides it."""
    if record.exc_info and isinstance(record.exc_info[1], BloodySpyError):
        record.exc_info = None
    return True


for _runs in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_runs).addFilter(_in_one_sentence)


def project() -> tuple[Settings, Params]:
    """Places and decisions of the project that this process works on."""
    settings = load_settings()
    return settings, load_params(settings.root / "params.yaml")


def ran(flow: str, s: Settings) -> None:
    """Leave the time at which a scheduled flow came to its end: what tells that the clock stands still."""
    place = s.ran / flow
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()


def step(
    function: Callable[Given, Result],
    name: str,
    *,
    retries: int = 0,
    wait: float = 10.0,
    undo: Callable[[Transaction], None] | None = None,
) -> Task[Given, Result]:
    """One library call as a task.

    Nothing is cached here: what need not be done again is known by DVC and by the functions themselves.

    Args:
        function: does the work.
        name: what it does, for people.
        retries: only where another machine is talked to.
        wait: seconds before a retry.
        undo: compensates it where a later step of the same transaction fails.
    """
    return Task(
        fn=function,
        name=name,
        cache_policy=NO_CACHE,
        retries=retries,
        retry_delay_seconds=wait,
        on_rollback=[undo] if undo else None,
    )
