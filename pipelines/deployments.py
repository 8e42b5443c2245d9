"""``python -m pipelines.deployments`` serves the schedules of params.yaml; a Prefect server keeps the time.

prefect.yaml deploys the same flows, with the same schedules, to a work pool. Use the one or the other: with both, each
drift check is made twice.
"""

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import get_current_settings

from bloodyspy.errors import SettingsError
from pipelines.check_drift import check_drift
from pipelines.lifecycle import lifecycle
from pipelines.project import project
from pipelines.promote import promote
from pipelines.queue import queue
from pipelines.release import rollback
from pipelines.take_labels import take_labels
from pipelines.train import train
from pipelines.version_data import version_data

NAME = "served"
"""Not the name in prefect.yaml: Prefect would change half of a worker's deployment into one served from here."""


def schedules() -> dict[str, str]:
    """Cron lines of params.yaml, for the templates of prefect.yaml."""
    return project()[1].schedules.model_dump()


def main() -> None:
    """Serve every flow until interrupted: the scheduled ones by the clock, all of them on request.

    Raises:
        SettingsError: no Prefect server is named, so nobody would keep the time.
    """
    if get_current_settings().api.url is None:
        raise SettingsError(
            "PREFECT_API_URL is not set: schedules are kept by a Prefect server. Start one (`prefect server start`) "
            "and set PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    cron = schedules()
    serve(
        RunnerDeployment.from_flow(check_drift, NAME, cron=cron["check_drift"]),
        RunnerDeployment.from_flow(train, NAME, cron=cron["train"]),
        RunnerDeployment.from_flow(queue, NAME, cron=cron["queue"]),
        RunnerDeployment.from_flow(take_labels, NAME),
        RunnerDeployment.from_flow(version_data, NAME),
        RunnerDeployment.from_flow(promote, NAME),
        RunnerDeployment.from_flow(rollback, NAME),
        RunnerDeployment.from_flow(lifecycle, NAME),
    )


if __name__ == "__main__":
    main()
