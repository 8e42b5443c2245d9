"""``lifecycle``: the whole loop once, and a rehearsal of what comes after: the champion serves, and is watched."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from pydantic import BaseModel, ConfigDict

from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import MonitoringError, PromotionError
from bloodyspy.evaluation.comparison import Comparison
from bloodyspy.images.corruption import Shift
from bloodyspy.promotion.decision import Decision
from bloodyspy.settings import Settings
from monitoring.history import Check
from monitoring.verdict import Overall, Verdict
from pipelines import service_run
from pipelines.check_drift import check_drift
from pipelines.project import project, step
from pipelines.promote import promote
from pipelines.service_run import Answered
from pipelines.train import train
from pipelines.version_data import version_data

SHIFT, SEVERITY = Shift.STAIN, 3

pick = step(service_run.held_out, "pick held-out pictures")
ask = step(service_run.Service.ask, "ask about one picture")
send = step(service_run.Service.send, "send a batch")
shift = step(service_run.shifted, "shift the stain")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Watched(_Frozen):
    """One batch that the service classified, and what the drift check made of it."""

    pictures: int
    accuracy: float
    """Share that was classified as what it is, 0 to 1."""
    verdict: Verdict
    page: Path
    """The check's page for people."""


class Command(_Frozen):
    """Something to open or to start, as it can be pasted into a shell."""

    what: str
    line: str


class LifecycleSummary(_Frozen):
    """What a lifecycle did; its closing table."""

    data_version: str
    synthetic: bool
    """Whether the data set is drawn: no number here then says anything about real cells."""
    sources: tuple[str, ...]
    comparison: Comparison
    decision: Decision | None
    was_champion: bool
    """The best candidate was champion before; the decision is the one of then."""
    champion: int
    bento: str
    answered: Answered
    normal: Watched
    shifted: Watched
    commands: tuple[Command, ...]


@flow(name="lifecycle")
def lifecycle(source: str | None = None, checksum: str | None = None) -> LifecycleSummary:
    """Import, version, train, compare, promote, serve, watch.

    Args:
        source: images to import first; without one, the data that data.dvc names.
        checksum: SHA-256 of the archive, required for a URL.

    Raises:
        BloodySpyError: a step failed; no model may serve; the service did not answer; or the drift check of a champion
            made of these data did not tell a batch of held-out pictures from the same batch in another stain.
    """
    s, p = project()
    version = version_data(source, checksum)
    comparison = train()
    promotion = promote()
    if promotion.champion is None or promotion.bento is None:
        reason = promotion.decision.summary if promotion.decision else ""
        raise PromotionError(f"No model may serve, so the lifecycle ends here. {reason}")
    folder = s.state / "lifecycle" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    pictures = pick(s, p.monitoring.window, promotion.champion)
    with service_run.running(promotion.bento, s, folder) as service:
        answered = ask(service, pictures[0])
        normal_accuracy = send(service, pictures, "Classifying held-out pictures")
        normal = check_drift(folder)
        stained = shift(pictures, SHIFT, SEVERITY)
        shifted_accuracy = send(service, stained, "Classifying them in another stain")
        shifted = check_drift(folder)
    if promotion.champion == promotion.challenger:
        # The champion was made of these very data. One that stayed because the challenger was refused may rightly find
        # them strange, and too small a data set is judged `insufficient`: both are results, not faults.
        _refuse(normal, Overall.DRIFTED, "a batch of held-out pictures")
        _refuse(shifted, Overall.STABLE, f"the same pictures in another stain (severity {SEVERITY})")
    info = read_dataset(s.data)
    return LifecycleSummary(
        data_version=version,
        synthetic=info.synthetic,
        sources=tuple(entry.name for entry in info.sources),
        comparison=comparison,
        decision=promotion.decision,
        was_champion=promotion.was_champion,
        champion=promotion.champion,
        bento=promotion.bento,
        answered=answered,
        normal=_watched(normal, len(pictures), normal_accuracy),
        shifted=_watched(shifted, len(pictures), shifted_accuracy),
        commands=commands(s, normal, shifted),
    )


def commands(s: Settings, normal: Check, shifted: Check) -> tuple[Command, ...]:
    """How a person opens what the lifecycle made."""
    at, tools = f"cd {shlex.quote(str(s.root))} && ", Path(sys.executable).parent
    users = shlex.quote(str(s.users_file or s.state / "users.json"))
    bento = f"BENTOML_HOME={shlex.quote(str(s.bentoml_home))}"
    home = f"PREFECT_HOME={shlex.quote(os.environ['PREFECT_HOME'])}"
    return (
        Command(
            what="compare the runs in MLflow (http://127.0.0.1:5000)",
            line=s.mlflow_place
            if s.mlflow_place.startswith("http")
            else f"{tools}/mlflow ui --backend-store-uri {shlex.quote(s.mlflow_place)}",
        ),
        Command(
            what="make a user of the service",
            line=f"{at}BLOODYSPY_USERS_FILE={users} {tools}/bloodyspy users add {os.environ.get('USER') or 'anna'}",
        ),
        Command(
            what="serve the champion (http://127.0.0.1:3000/docs)",
            line=f"{at}{bento} BLOODYSPY_USERS_FILE={users} {tools}/bentoml serve --host 127.0.0.1",
        ),
        Command(
            what="look at the flow runs in Prefect (http://127.0.0.1:4200)", line=f"{home} {tools}/prefect server start"
        ),
        Command(what="read the drift report of the normal batch", line=f"xdg-open {normal.page}"),
        Command(what="read the drift report of the shifted batch", line=f"xdg-open {shifted.page}"),
        Command(what="read what Great Expectations found", line=f"xdg-open {shlex.quote(str(_validated(s)))}"),
    )


def _validated(s: Settings) -> Path:
    """The page of the last validation; the door of the Data Docs lists it only."""
    docs = s.build / "validation"
    return max(docs.glob("validations/**/*.html"), default=docs / "index.html")  # a folder's name is a time


def _watched(check: Check, pictures: int, accuracy: float) -> Watched:
    return Watched(pictures=pictures, accuracy=accuracy, verdict=check.verdict, page=check.page)


def _refuse(check: Check, wrong: Overall, of: str) -> None:
    if check.verdict.overall is wrong:
        raise MonitoringError(f"The drift check calls {of} {wrong}: {check.verdict.reason} Look at {check.page}.")
