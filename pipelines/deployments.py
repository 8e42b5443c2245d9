"""``python -m pipelines.deployments`` serves the schedules of params.yaml; a Prefect server keeps the time.

prefect.yaml deploys the same flows, with the same schedules, to a work pool. Use the one or the other: with both, each
drift check is made twice.
"""

from typing import Any

import httpx
from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.settings import get_current_settings

from bloodyspy.cli.terminal import run
from bloodyspy.errors import SettingsError
from bloodyspy.loop_rule import OFF
from pipelines import events
from pipelines.check_drift import check_drift
from pipelines.lifecycle import lifecycle
from pipelines.project import project
from pipelines.promote import promote
from pipelines.queue import queue
from pipelines.release import rollback
from pipelines.retrain import retrain
from pipelines.take_labels import take_labels
from pipelines.train import train
from pipelines.upkeep import upkeep
from pipelines.version_data import version_data
from pipelines.watch import watch

NAME = "served"
"""Not the name in prefect.yaml: Prefect would change half of a worker's deployment into one served from here."""

FLOWS: tuple[Flow[Any, Any], ...] = (
    *(check_drift, queue, upkeep, retrain, watch),
    *(version_data, take_labels, train, promote, rollback, lifecycle),
)

# A run that finds its like at work is cancelled, not queued: whichever comes next does what is due.
ALONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


NEVER = "0 0 1 1 *"
"""For a schedule that is off: prefect.yaml has to have some line."""


def schedules() -> dict[str, dict[str, str | bool]]:
    """Of params.yaml, for the templates of prefect.yaml: name to cron line, and whether it is active."""
    lines = project()[1].schedules.model_dump()
    return {name: {"cron": NEVER if line == OFF else line, "active": line != OFF} for name, line in lines.items()}


def main() -> None:
    """Serve every flow until interrupted: the scheduled ones by the clock, `retrain` on drift too, all on request.

    Raises:
        SettingsError: no Prefect server is named, or none answers, so nobody would keep the time.
    """
    if get_current_settings().api.url is None:
        raise SettingsError(
            "PREFECT_API_URL is not set: schedules are kept by a Prefect server. Start one (`prefect server start`) "
            "and set PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    crons = project()[1].schedules.crons()
    try:
        serve(*(_deployment(flow, crons) for flow in FLOWS))
    except httpx.ConnectError as exc:
        raise SettingsError(
            f"No Prefect server answers at {get_current_settings().api.url}. Start one: `prefect server start`."
        ) from exc


def _deployment(flow: Flow[Any, Any], crons: dict[str, str]) -> RunnerDeployment:
    scheduled = flow.name in ("check-drift", "queue", "upkeep", "retrain", "watch")
    drift = DeploymentEventTrigger(name="retrain on drift, served", enabled=True, expect={events.DRIFT})
    return RunnerDeployment.from_flow(
        flow,
        NAME,
        cron=crons.get(flow.name),
        concurrency_limit=ALONE if scheduled else None,
        triggers=[drift] if flow is retrain else None,
    )


if __name__ == "__main__":
    run(main)
