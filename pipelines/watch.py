"""``watch``: is the new champion as good live as the gate saw it? One that is shown to be worse is taken back."""

from prefect import flow

from bloodyspy.adapters import registry
from bloodyspy.custody import looping
from bloodyspy.model.artifact import Artefact
from bloodyspy.promotion import trail
from bloodyspy.promotion.loop import watched
from bloodyspy.promotion.watch import Finding, Standing, look
from monitoring import loop
from pipelines import events, shown
from pipelines.project import project, ran, step
from pipelines.release import rollback

fetch = step(registry.artefact_of, "fetch the champion's artefact")
gather = step(loop.evidence, "gather what is known of the new champion")
judge = step(look, "judge it")
end = step(looping.end_watch, "end the watch")


@flow(name="watch")
def watch() -> Finding | None:
    """Look at the new champion once. Worse, it is taken back; long enough as good, its watch ends.

    Returns:
        What was found; None where nobody is watched.
    """
    s, p = project()
    found = watched(trail.entries(s))
    if found is None:
        ran("watch", s)
        return None
    entry, release = found
    known = gather(entry, release, Artefact.open(fetch(release.version, s)), s, p)
    finding = judge(known, p.loop)
    if finding.standing in (Standing.WORSE, Standing.WORRYING):
        events.tell(events.WATCH, s, version=release.version, standing=str(finding.standing), reason=finding.words)
    if finding.standing is Standing.WORSE:
        rollback(f"the watch took it back: {finding.words}", known.previous, of=release.version)
    elif finding.standing in (Standing.KEPT, Standing.UNPROVEN):
        end(release.version, finding, s)
    shown.watch(finding)
    shown.loop(s)
    ran("watch", s)
    return finding
