"""Where pictures wait: the requests take turns, one picture each, and a thread takes several pictures at a time."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bloodyspy.errors import ImageError
from bloodyspy.model.inference import FEW
from bloodyspy.observation import NOWHERE, Observation, Origin
from bloodyspy.serving.served import Served

AT_ONCE = FEW
"""Pictures that a thread takes at most: with more the graph is hardly quicker, and whoever comes next waits longer."""

Outcome = Observation | ImageError
Answer = asyncio.Future[list[Outcome]]
"""What a request waits for, in the order of its pictures; for its event loop alone."""


@dataclass(eq=False, slots=True)
class Asked:
    """The pictures of one request."""

    served: Served
    """The model that answers all of them."""
    payloads: Sequence[bytes]
    request_id: str
    answer: Answer
    origin: Origin = NOWHERE
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """That it was asked in: the trace of the request."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By the picture's place."""
    taken: int = 0
    """Pictures that wait no longer."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One picture that is not waiting any more."""

    asked: Asked
    place: int

    @property
    def payload(self) -> bytes:
        """The encoded picture."""
        return self.asked.payloads[self.place]


class Line:
    """The waiting pictures of one process. Safe to use from several threads."""

    def __init__(self, threads: int) -> None:
        """Nobody waits. ``threads`` is how many there are to take pictures."""
        self._lock = threading.Lock()
        self._turns: deque[Asked] = deque()
        self._threads, self._busy = threads, 0
        self.waiting = 0
        """Pictures."""

    def join(self, asked: Asked) -> None:
        """All pictures of a request wait from now on."""
        with self._lock:
            self._turns.append(asked)
            self.waiting += len(asked.payloads)

    def leave(self, asked: Asked) -> None:
        """What still waits of a request is wanted no longer."""
        with self._lock:
            if asked in self._turns:
                self._turns.remove(asked)
                self.waiting -= len(asked.payloads) - asked.taken

    def take(self) -> list[Taken]:
        """The next pictures, all for one model; none where nobody waits. Else call :meth:`done` when they are settled.

        It is no more than a thread's share of what waits: where two threads are idle, two pictures are done side by
        side.
        """
        with self._lock:
            idle = max(1, self._threads - self._busy)  # the caller among them
            share = min(AT_ONCE, -(-self.waiting // idle))
            taken: list[Taken] = []
            while len(taken) < share and (not taken or self._turns[0].served is taken[0].asked.served):
                asked = self._turns.popleft()
                taken.append(Taken(asked, asked.taken))
                asked.taken += 1
                if asked.taken < len(asked.payloads):
                    self._turns.append(asked)
            self.waiting -= len(taken)
            self._busy += bool(taken)
            return taken

    def done(self) -> None:
        """The thread is idle again."""
        with self._lock:
            self._busy -= 1

    def settle(self, taken: Sequence[Taken], outcomes: Sequence[Outcome]) -> list[Asked]:
        """Enter outcomes.

        Returns:
            The requests that are complete by it, each to exactly one caller.
        """
        with self._lock:
            complete = []
            for one, outcome in zip(taken, outcomes, strict=True):
                one.asked.outcomes[one.place] = outcome
                if len(one.asked.outcomes) == len(one.asked.payloads):
                    complete.append(one.asked)
            return complete
