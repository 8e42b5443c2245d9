"""A drift that lasts: what the loop takes for a reason, made of the newest checks of one model."""

from collections.abc import Sequence

from bloodyspy.promotion.loop import Alarm
from monitoring.causes import Cause
from monitoring.verdict import Overall, Verdict

MENDABLE = frozenset({Cause.STAIN, Cause.EXPOSURE, Cause.SIZE, Cause.CAMERA, Cause.OTHER, Cause.CONTENT})
"""What a network can learn. Focus and what dirt covers are lost information, and a mix of patients is no fault of the
network."""


def standing(verdicts: Sequence[Verdict], run_id: str, windows: int) -> Alarm | None:
    """The alarm of a model's newest checks, of all pictures together.

    Windows that share rows alarm together, so only those count of which none overlaps the next: two in a row are a
    false alarm at the square of the rate of one.

    None where the newest is not drifted, or too few before it were.

    Args:
        verdicts: of checks, the oldest window first.
        run_id: of the model.
        windows: in a row that have to be drifted for the same cause.
    """
    ours = [
        verdict
        for verdict in verdicts
        if verdict.run_id == run_id
        and verdict.overall is not Overall.INSUFFICIENT
        and not (verdict.site or verdict.instrument)
    ]
    if not ours or (cause := ours[-1].cause) is None:
        return None
    count, start = 1, ours[-1].start
    for verdict in reversed(ours[:-1]):
        if verdict.cause is not cause:
            break
        if start is not None and verdict.end is not None and verdict.end < start:
            count, start = count + 1, verdict.start
    if count < windows:
        return None
    words = f"Drift of {cause} in {count} window(s) in a row: {ours[-1].reason}"
    return Alarm(str(cause), count, cause in MENDABLE, words)
