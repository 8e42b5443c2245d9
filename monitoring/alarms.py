"""Alarms, read from the history of checks. There is no second state that could disagree with it.

An alarm of a cause begins with the first check that says it, in a scope of its own: a model, a site, an instrument. It
is over with the next check of that scope that judges and does not say it. A check that has too little to judge neither
begins an alarm nor ends one. So there is at most one alarm a cause and scope until it is over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from monitoring.causes import Cause
from monitoring.history import Check
from monitoring.verdict import Overall, Verdict


class Scope(NamedTuple):
    """What a check is of: checks of the same are compared."""

    run_id: str
    site: str
    """Empty for all."""
    instrument: str
    """Likewise."""

    @classmethod
    def of(cls, verdict: Verdict) -> "Scope":
        """The scope of a verdict."""
        return cls(verdict.run_id, verdict.site, verdict.instrument)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One cause in one scope, from the check that found it to the one that did not any more."""

    cause: Cause
    scope: Scope
    begun: Check
    over: Check | None
    """None while it is open."""


def alarms(checks: Iterable[Check]) -> list[Alarm]:
    """Every alarm of a history, in the order in which they began.

    Args:
        checks: the oldest window first (:func:`monitoring.history.checks`).
    """
    found: list[Alarm] = []
    open_now: dict[Scope, int] = {}  # a verdict has one cause, so a scope has at most one alarm open
    for check in checks:
        verdict, scope = check.verdict, Scope.of(check.verdict)
        if verdict.overall is Overall.INSUFFICIENT:
            continue
        if (place := open_now.get(scope)) is not None:
            if found[place].cause is verdict.cause:
                continue
            found[place] = replace(found[place], over=check)
            del open_now[scope]
        if verdict.cause is not None:
            open_now[scope] = len(found)
            found.append(Alarm(verdict.cause, scope, check, None))
    return found
