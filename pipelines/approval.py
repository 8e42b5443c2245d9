"""A flow run that waits for a person, and the person's answer."""

import logging
import time
from datetime import timedelta
from uuid import UUID

import httpx
from prefect.exceptions import PrefectException
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from bloodyspy.adapters import registry
from bloodyspy.errors import PromotionError
from bloodyspy.promotion import approval, trail
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import Approved
from bloodyspy.promotion.release import recorded
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

WAITING = "waiting_flow_run"
"""Tag of a version: the flow run that waits for an answer about it."""

PATIENCE = timedelta(days=7)
"""After this the flow run fails; the next promotion asks again, or goes on where an answer came meanwhile."""

WAKE_SECONDS = 5.0
"""For a flow run that has said that it waits and does not do so yet."""

LOOK_EVERY = 5  # seconds between two looks at whether somebody answered


class Answer(RunInput):
    """What Prefect asks of whoever resumes the flow run."""

    approver: str = Field(min_length=1, description="your name, as it shall stand in the audit log")
    reason: str = Field(min_length=1, description="why")
    approve: bool = Field(default=True, description="off: the version is not promoted")


def asked(decision: Decision, artefact_digest: str, s: Settings) -> Approved:
    """The answer about a decision; the flow run pauses until somebody gives one.

    Raises:
        FlowPauseTimeout: nobody answered in a week.
        AuditError: the log cannot be read or written.
    """
    version = decision.challenger
    if (known := approval.answer_to(decision, artefact_digest, trail.entries(s))) is not None:
        return known
    registry.annotate(version, s, tags={WAITING: str(flow_run.id)})
    logger.info("Waiting for approval: resume this run in Prefect, or `bloodyspy approve %d --reason ...`", version)
    answer = pause_flow_run(
        wait_for_input=Answer.with_initial_data(description=decision.markdown()),
        timeout=int(PATIENCE.total_seconds()),
        poll_interval=LOOK_EVERY,
    )
    registry.annotate(version, s, tags={WAITING: ""})
    given = _approved(decision, artefact_digest, answer)
    # `bloodyspy approve` records the answer before it resumes the run; from Prefect's UI it comes here only.
    if given not in approval.answers(decision, artefact_digest, trail.entries(s)):
        trail.record(given, s)
    return approval.answer_to(decision, artefact_digest, trail.entries(s)) or given


def answer(version: int, given: Answer, s: Settings) -> tuple[Approved, bool]:
    """Answer for a version that the gate would promote, and wake the flow run that waits for it.

    Returns:
        What was recorded, and whether a flow run was waiting.

    Raises:
        RegistryError: no such version.
        PromotionError: nothing was decided about it here, the decision was edited since, something was released since,
            or the gate refused it: nobody can approve that.
        AuditError: the log cannot be written.
    """
    found = registry.version(s, version)
    decision = recorded(found.tags, version)
    if decision is None:
        raise PromotionError(f"Nothing was decided about version {version}: `python -m pipelines promote` does that.")
    if not approval.is_recorded(decision, found.artefact_digest, trail.entries(s)):
        raise PromotionError(
            f"The decision that stands on version {version} is not the one that the audit log has: somebody edited it. "
            "`python -m pipelines promote` decides anew."
        )
    if approval.is_stale(decision, found.artefact_digest, trail.entries(s)):
        raise PromotionError(
            f"Something was released since version {version} was decided about, so no answer is waited for. "
            "`python -m pipelines promote` decides anew about a version that does not answer."
        )
    if not decision.promoted:
        raise PromotionError(f"The gate refused version {version}, and nobody can approve that. {decision.summary}")
    done = _approved(decision, found.artefact_digest, given)
    trail.record(done, s)
    return done, _wake(found.tags.get(WAITING, ""), given)


def _approved(decision: Decision, artefact_digest: str, given: Answer) -> Approved:
    return Approved(
        version=decision.challenger,
        artefact_digest=artefact_digest,
        decision_digest=approval.digest_of(decision),
        approved=given.approve,
        approver=given.approver,
        reason=given.reason,
    )


def _wake(waiting: str, given: Answer) -> bool:
    if not waiting:
        return False
    give_up = time.monotonic() + WAKE_SECONDS
    while True:
        try:
            resume_flow_run(UUID(waiting), run_input=given.model_dump())
        except (PrefectException, httpx.HTTPError, RuntimeError) as exc:
            if time.monotonic() > give_up:
                logger.info("The flow run %s does not wait any more: %s", waiting, exc)
                return False
            time.sleep(1)  # it may be about to pause
        else:
            return True
