"""``queue``: which answered pictures are worth a person's look, anew."""

from prefect import flow

from bloodyspy.labelling import choosing
from pipelines.project import project, ran, step

lay_out = step(choosing.lay_out, "choose pictures for people to look at")


@flow(name="queue")
def queue() -> int:
    """Make the queue that the service shows to reviewers.

    Returns:
        How many pictures are in it.
    """
    s, p = project()
    found = lay_out(s, p)
    ran("queue", s)
    return len(found.queue.items)
