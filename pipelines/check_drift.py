"""``check-drift``: are the pictures of these days like those the champion was measured on?"""

from pathlib import Path

from prefect import flow

from bloodyspy.adapters import registry
from bloodyspy.errors import RegistryError
from bloodyspy.model.artifact import Artefact
from monitoring import check, telling, upkeep
from monitoring.history import Check
from pipelines import shown
from pipelines.project import project, step

fetch = step(registry.artefact_of, "fetch the champion's artefact")
judge = step(check.check_drift, "collect and judge the newest observations")
tell = step(telling.tell_of_checks, "tell people and Prometheus")
tidy = step(upkeep.tidy, "compact the store and remove what is too old")


@flow(name="check-drift")
def check_drift(rehearsal: Path | None = None) -> Check:
    """Judge the champion's newest observations against its own reference, keep the report and tell of it; tidy up.

    Args:
        rehearsal: a folder with observations of its own, which keeps its own reports; the service's log and history are
            then left alone, and nobody is told of an alarm.
    """
    s, p = project()
    if rehearsal is not None:
        places = {"observations": rehearsal / "observations", "observation_store": str(rehearsal / "observation-store")}
        s = s.model_copy(update={"state": rehearsal, "notify": None, **places})
    champion = registry.champion(s)
    if champion is None:
        raise RegistryError(
            "There is no champion to judge observations of. Promote one: `python -m pipelines promote`."
        )
    found = judge(Artefact.open(fetch(champion.number, s)), s, p)
    shown.drift(found)
    tell(s)
    tidy(s, p.monitoring)
    return found
