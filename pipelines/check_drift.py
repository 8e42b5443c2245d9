"""``check-drift``: are the pictures of these days like those the champion was measured on?"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from bloodyspy.adapters import registry
from bloodyspy.errors import RegistryError
from bloodyspy.model.artifact import Artefact
from monitoring import check, telling
from monitoring.history import Check
from monitoring.verdict import Overall
from pipelines import events, shown
from pipelines.project import project, ran, step

fetch = step(registry.artefact_of, "fetch the champion's artefact")
judge = step(check.check_drift, "collect and judge the newest observations")
tell = step(telling.tell_of_checks, "tell people and Prometheus")


@flow(name="check-drift")
def check_drift(rehearsal: Path | None = None) -> Check:
    """Judge the champion's newest observations against its own reference, keep the report and tell of it.

    A window that was not judged before and is drifted is told as the event `bloodyspy.drift`; `retrain` starts on it.

    Args:
        rehearsal: a folder with observations of its own, which keeps its own reports; the service's log and history are
            then left alone, and nobody is told of an alarm.
    """
    s, p = project()
    started = datetime.now(UTC)
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
    if rehearsal is None:
        verdict = found.verdict
        if verdict.overall is Overall.DRIFTED and verdict.checked >= started:
            cause = str(verdict.cause)
            events.tell(events.DRIFT, s, cause=cause, reason=verdict.reason, page=found.page.resolve().as_uri())
        ran("check-drift", s)
    return found
