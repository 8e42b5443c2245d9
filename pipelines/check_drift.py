"""``check-drift``: are the pictures of these days like those the champion was measured on?"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from bloodyspy.adapters import registry
from bloodyspy.errors import RegistryError
from bloodyspy.model.artifact import Artefact
from monitoring import check
from monitoring.drift import Overall
from monitoring.history import Check
from pipelines import alarms, shown
from pipelines.project import project, ran, step

fetch = step(registry.artefact_of, "fetch the champion's artefact")
judge = step(check.check_drift, "collect and judge the newest observations")


@flow(name="check-drift")
def check_drift(rehearsal: Path | None = None) -> Check:
    """Judge the newest observations of the champion against its own reference, and keep the report.

    A window that was not judged before and is drifted is told as the event `bloodyspy.drift`; `retrain` starts on it.

    Args:
        rehearsal: a folder with observations of its own, which keeps its own reports; the service's log and history are
            then left alone.
    """
    s, p = project()
    started = datetime.now(UTC)
    if rehearsal is not None:
        places = {"observations": rehearsal / "observations", "observation_store": str(rehearsal / "observation-store")}
        s = s.model_copy(update={"state": rehearsal, **places})
    champion = registry.champion(s)
    if champion is None:
        raise RegistryError(
            "There is no champion to judge observations of. Promote one: `python -m pipelines promote`."
        )
    found = judge(Artefact.open(fetch(champion.number, s)), s, p)
    shown.drift(found)
    if rehearsal is None:
        verdict = found.verdict
        if verdict.overall is Overall.DRIFTED and verdict.checked >= started:
            cause = str(verdict.cause)
            alarms.tell(alarms.DRIFT, s, cause=cause, reason=verdict.reason, page=found.page.resolve().as_uri())
        ran("check-drift", s)
    return found
