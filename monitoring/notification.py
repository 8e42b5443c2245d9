"""Tells people that an alarm has begun or is over, by whatever Apprise can reach: a webhook, e-mail, a messenger.

What was told stands beside the check it is about: ``told-<what>-<address>``, an empty file that appears once the
receiver has taken the message. A receiver that is down is tried again at the next check, for a week. Nothing here fails
a check. A message has the verdict's sentence and no picture, no request and no specimen.
"""

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from monitoring.alarms import Alarm, alarms
from monitoring.history import Check
from monitoring.remedies import REMEDIES

logger = logging.getLogger(__name__)

RETRIED = timedelta(days=7)
"""An alarm that is over for longer than this is told to nobody any more."""

_TOLD, _TELLING, _LOCK = "told-", ".telling-", ".notify.lock"


@dataclass(frozen=True, slots=True)
class Message:
    """What is said of an alarm, and the check that it is about."""

    name: str
    """``begun`` or ``over``."""
    check: Check
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    sent: int
    failed: int


def tell(history: Path, checks: Sequence[Check], addresses: SecretStr | None, now: datetime) -> Told:
    """Send what has not been told yet, to each address once.

    An alarm's end is told only where its beginning was.

    Args:
        history: the folder of checks.
        checks: all of them, the oldest window first.
        addresses: Apprise's, by commas; None for nobody.
        now: the time.
    """
    if addresses is None or not addresses.get_secret_value().strip():
        return Told(0, 0)
    recent = [alarm for alarm in alarms(checks) if alarm.over is None or now - alarm.over.verdict.checked < RETRIED]
    sent = failed = 0
    try:
        with FileLock(history / _LOCK, blocking=False), _silent():
            for number, address in enumerate(_each(addresses), start=1):
                for alarm in recent:
                    for message in _messages(alarm):
                        outcome = _send_once(message, address, number)
                        sent += outcome is True
                        failed += outcome is False
                        if outcome is False:
                            break  # the end of an alarm is not told before its beginning
    except Timeout:
        logger.info("Another check is telling of alarms.")
    except OSError as exc:
        logger.warning("Nobody can be told of alarms, because what was told cannot be kept in %s: %s", history, exc)
    return Told(sent, failed)


def _each(addresses: SecretStr) -> list[str]:
    from apprise.utils.parse import parse_urls

    parsed: list[str] = parse_urls(addresses.get_secret_value())  # type: ignore[no-untyped-call]
    return list(dict.fromkeys(parsed))


def _messages(alarm: Alarm) -> Iterator[Message]:
    name = f"{alarm.cause}{_where(alarm)}"
    begun = alarm.begun.verdict
    steps = "\n".join(f"{place}. {step}" for place, step in enumerate(REMEDIES[alarm.cause].steps, start=1))
    yield Message(
        "begun",
        alarm.begun,
        f"Drift alarm: {name}",
        f"{begun.reason}\n\nProbable cause: {alarm.cause}\n{_facts(alarm.begun)}\n\nWhat to do:\n{steps}",
    )
    if alarm.over is not None:
        over = alarm.over.verdict
        cause = f"\nProbable cause now: {over.cause}" if over.cause else ""
        yield Message("over", alarm.over, f"Drift alarm over: {name}", f"{over.reason}{cause}\n\n{_facts(alarm.over)}")


def _where(alarm: Alarm) -> str:
    places = [place for place in (alarm.scope.site, alarm.scope.instrument) if place]
    return f" ({', '.join(places)})" if places else ""


def _facts(check: Check) -> str:
    verdict = check.verdict
    version = "" if verdict.model_version is None else f"version {verdict.model_version}, "
    window = f"{verdict.rows} pictures" + (f", until {verdict.end:%Y-%m-%d %H:%M} UTC" if verdict.end else "")
    drawn = "\nSynthetic: the model was trained on drawn cells." if verdict.synthetic else ""
    return f"Model: {version}run {verdict.run_id[:8]}\nWindow: {window}\nPage: {check.page.resolve()}{drawn}"


def _send_once(message: Message, address: str, number: int) -> bool | None:
    """True where it was sent now, False where the receiver did not take it, None where it was told before."""
    marked = f"{message.name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    told, telling = message.check.folder / f"{_TOLD}{marked}", message.check.folder / f"{_TELLING}{marked}"
    if told.exists():
        return None
    telling.touch()  # first: on a full disk nothing is sent, rather than the same thing every hour
    if not _sent(message, address):
        telling.unlink()
        logger.warning(
            "Address %d of BLOODYSPY_NOTIFY did not take %r; the next check tries again.", number, message.title
        )
        return False
    telling.rename(told)
    return True


def _sent(message: Message, address: str) -> bool:
    # Half a second that only they wait for who have something to tell.
    from apprise import Apprise, NotifyFormat, NotifyType

    receiver = Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it loads all it knows, and some of that uses modules of an outdated name
        if not receiver.add(address):
            return False
    kind = NotifyType.WARNING if message.name == "begun" else NotifyType.SUCCESS
    return bool(
        receiver.notify(body=message.body, title=message.title, notify_type=kind, body_format=NotifyFormat.TEXT)
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Apprise logs addresses, and an address has a password or a token in it."""
    theirs = logging.getLogger("apprise")
    before, theirs.disabled = theirs.disabled, True
    try:
        yield
    finally:
        theirs.disabled = before
