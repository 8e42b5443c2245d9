"""Labels that wait to be taken in (a stand-in, to be replaced)."""

from bloodyspy.params import Params
from bloodyspy.settings import Settings


def waiting(s: Settings, p: Params) -> int:
    """Settled labels that wait to be taken into data/."""
    del p
    place = s.state / "stand-in" / "waiting"
    return int(place.read_text()) if place.is_file() else 0
