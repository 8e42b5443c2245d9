"""How much work a worker process takes in: what does not fit is told to come again, at once, and nothing grows."""

from collections.abc import Iterator
from contextlib import contextmanager

from bloodyspy.errors import Overloaded
from bloodyspy.serving.uploads import MAX_BODY, MAX_FILES

PICTURES = 2 * MAX_FILES
"""Of all requests together that wait for an answer: seconds of work."""

SIZE = 2 * MAX_BODY
"""Bytes of all bodies together, those that still arrive among them."""


class House:
    """Counts requests, pictures and bytes in one process. Used in the event loop only, so it needs no lock."""

    def __init__(self, requests: int, pictures: int = PICTURES, size: int = SIZE) -> None:
        """Nobody is in. ``requests`` is how many wait for an answer at most; a single waits that many turns at most."""
        self._limits = (requests, pictures, size)
        self.requests = self.pictures = self.size = 0

    @property
    def full(self) -> bool:
        """Whether nobody more is let in."""
        requests, pictures, size = self._limits
        return self.requests >= requests or self.pictures >= pictures or self.size >= size

    @contextmanager
    def visit(self) -> Iterator["Visit"]:
        """For as long as a request has a body or waits for its answer.

        Raises:
            Overloaded: the house is full. Nothing of the body was read.
        """
        if self.full:
            raise Overloaded
        visit = Visit(self)
        try:
            yield visit
        finally:
            self.take(-visit.requests, -visit.pictures, -visit.size)

    def take(self, requests: int, pictures: int, size: int) -> None:
        """Count in, or out where negative.

        Raises:
            Overloaded: it does not fit, and nothing was counted.
        """
        added = (self.requests + requests, self.pictures + pictures, self.size + size)
        grown = zip((requests, pictures, size), added, self._limits, strict=True)
        if any(more > 0 and total > limit for more, total, limit in grown):
            raise Overloaded
        self.requests, self.pictures, self.size = added


class Visit:
    """What one request has in the house."""

    requests = pictures = size = 0

    def __init__(self, house: House) -> None:
        self._house = house

    def arrived(self, size: int) -> None:
        """So many more bytes of the body are here. A slow body takes no place from those that are complete.

        Raises:
            Overloaded: all bodies together have become too large.
        """
        self._house.take(0, 0, size)
        self.size += size

    def wait(self, pictures: int) -> None:
        """The body is complete, and so many pictures wait from now on.

        Raises:
            Overloaded: too many requests or pictures wait already.
        """
        self._house.take(1, pictures, 0)
        self.requests, self.pictures = 1, pictures
