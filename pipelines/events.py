"""Prefect events, so that automations can act on what the loop finds: start a flow, send a mail."""

from prefect.events import emit_event

from bloodyspy.settings import Settings

DRIFT = "bloodyspy.drift"
"""A new window was drifted. Payload: cause, reason, page."""
LABELS = "bloodyspy.labels-wanted"
"""Drift stands, and there is nothing to learn of it. Payload: labels, reason."""
WATCH = "bloodyspy.watch"
"""A watched champion is worse than the gate saw it. Payload: version, standing, reason."""


def tell(event: str, s: Settings, **payload: str | int) -> None:
    """Emit an event of the registered model; nothing happens where no Prefect server listens."""
    resource = {"prefect.resource.id": f"bloodyspy.model.{s.registered_model}"}
    emit_event(event, resource=resource, payload=dict(payload))
