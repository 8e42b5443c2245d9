"""``bloodyspy drift-drill``: known faults in windows of the champion's own held-out pictures, and what the check says.

The alarm of a fire is tried with smoke. Pictures that trained nothing are classified as they are, under every fault of
the laboratory at every severity, and those of other laboratories; windows are drawn from them and judged by the rule of
the next check. What is told: how often each fault is caught, and by its right name; how many of its pictures have to
come in until it is; and how often a window without any is called drifted.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import track
from rich.table import Table

from bloodyspy.cells import CellType
from bloodyspy.errors import ImageError, MonitoringError
from bloodyspy.evaluation.scoring import part_of
from bloodyspy.images.corruption import SEVERITIES, STRESSES, Shift, shift_payload
from bloodyspy.images.files import find as find_files
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.signatures import Signatures
from bloodyspy.observation import COLUMNS, rows
from bloodyspy.settings import Settings
from monitoring.causes import OF_FAULT, Cause, Marks
from monitoring.check import read_reference
from monitoring.comparison import CASE_MIX, Comparison
from monitoring.finding import Found, find
from monitoring.preparations import imported
from monitoring.thresholds import Thresholds
from monitoring.verdict import Kind

MIX, MIX_TIMES = CellType.LYMPHOCYTE, 3.0
"""The change of patients that is tried: so many times the share of this type."""
_BATCH = 32
_STEPS = 10  # checks while a window fills with the pictures of a fault


class Chance(BaseModel):
    """How often something came of so many windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int = Field(ge=0)
    windows: int = Field(ge=1)

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.times / self.windows


class Tried(BaseModel):
    """What the check said of windows of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str
    """A corruption, the name of another laboratory, ``case mix``, or ``none``."""
    severity: int | None
    drifted: Chance
    optics: Chance
    """Windows of which the image statistics are said to have changed."""
    named: Chance | None
    """Windows whose cause is the right one; None where there is no right one."""
    delay: float | None
    """Median number of pictures with the fault that had come in when the check first said so, where all other pictures
    of the window are as before; None where half the tries were not caught, or none was made."""


class Drill(BaseModel):
    """What came of a drill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    synthetic: bool
    window: int
    rate: float
    """Of false alarms, for one window: what the check is held to."""
    pictures: int
    """Held-out ones that windows were drawn from."""
    tried: tuple[Tried, ...]

    def of(self, fault: str, severity: int | None = None) -> Tried:
        """What was tried under that name."""
        return next(one for one in self.tried if (one.fault, one.severity) == (fault, severity))


@dataclass(frozen=True, slots=True)
class Trial:
    """The champion's check, ready to judge windows of one size by one rate."""

    comparison: Comparison
    known: Thresholds
    marks: Marks
    rate: float

    @classmethod
    def of(cls, reference: pd.DataFrame, signatures: Signatures, window: int, rate: float, kept: Path) -> "Trial":
        """As :func:`monitoring.drift.judge` would."""
        comparison = Comparison(reference)
        known = Thresholds.kept(comparison, reference, window, kept)
        return cls(comparison, known, Marks(signatures, reference), rate)

    def judge(self, window: pd.DataFrame) -> Found:
        """What the check finds."""
        return find(self.comparison, self.known, self.marks, window, self.rate)

    def repeated(self, windows: int, draw: Callable[[], pd.DataFrame]) -> list[Found]:
        """Of so many windows."""
        return [self.judge(draw()) for _ in range(windows)]


def drill(
    classifier: Classifier,
    s: Settings,
    window: int,
    rate: float,
    *,
    windows: int = 40,
    pictures: int = 200,
    elsewhere: Sequence[Path] = (),
    severities: Sequence[int] = tuple(SEVERITIES),
    seed: int = 0,
) -> Drill:
    """Try every fault.

    Args:
        classifier: the champion.
        s: where its pictures and thresholds are.
        window: rows of each window.
        rate: of false alarms, for one window.
        windows: judged of each fault and severity; five times as many without a fault.
        pictures: of the validation part that are put under each fault, at least as many as a window has rows.
        elsewhere: folders of other laboratories' pictures.
        severities: of the faults.
        seed: of all draws.

    Raises:
        DataError: the validation part is empty.
        MonitoringError: it, or a folder, has fewer pictures than a window.
    """
    random = np.random.default_rng(seed)
    reference = imported(read_reference(classifier.artefact))
    trial = Trial.of(reference, Signatures.read(classifier.artefact.path), window, rate, s.thresholds)
    payloads = [(s.data / path).read_bytes() for path in part_of(s, "validation")["path"]]
    clean = observed(classifier, payloads, s.threads)
    _refuse_few(len(clean), window, "The validation part")
    chosen = [payloads[i] for i in random.permutation(len(payloads))[: max(pictures, window)]]
    normal = trial.repeated(5 * windows, partial(_drawn, clean, window, random))
    tried = [_told("none", None, normal, None, None)]
    mixed = trial.repeated(windows, partial(_drawn, clean, window, random, of=MIX))
    tried.append(_told("case mix", None, mixed, Cause.CASE_MIX, None))
    for folder in elsewhere:
        foreign = observed(classifier, [path.read_bytes() for path in find_files([folder]).files], s.threads)
        _refuse_few(len(foreign), window, str(folder))
        found = trial.repeated(windows, partial(_drawn, foreign, window, random))
        tried.append(_told(folder.name, None, found, None, _delay(trial, clean, foreign, window, windows, random)))
    for fault, severity in track([(kind, grade) for kind in STRESSES for grade in severities], "Trying faults"):
        with ThreadPoolExecutor(s.threads) as pool:
            shifted = list(pool.map(shift_payload, chosen, [fault] * len(chosen), [severity] * len(chosen)))
        broken = observed(classifier, shifted, s.threads)
        found = trial.repeated(windows, partial(_drawn, broken, window, random))
        delay = _delay(trial, clean, broken, window, windows, random)
        tried.append(_told(fault, severity, found, OF_FAULT[Shift(fault)], delay))
    spec = classifier.spec
    return Drill(
        run_id=spec.run_id, synthetic=spec.synthetic, window=window, rate=rate, pictures=len(clean), tried=tuple(tried)
    )


def table(done: Drill) -> Table:
    """What came of it, for a terminal: a row a fault, a column a severity."""
    severities = sorted({one.severity for one in done.tried if one.severity is not None})
    normal = done.of("none")
    drawn = " (synthetic: drawn cells)" if done.synthetic else ""
    shown = Table(
        *("fault", *(f"caught at {severity}" for severity in severities), "named rightly", "pictures until caught"),
        title=f"Windows of {done.window} from {done.pictures} held-out pictures{drawn}",
        caption=f"Without any fault {normal.drifted.times} of {normal.drifted.windows} windows are called drifted; "
        f"held to {done.rate:.2%}. Named and until caught: at severity {', '.join(map(str, severities))}.",
    )
    for fault in dict.fromkeys(one.fault for one in done.tried if one.severity is not None):
        grades = [done.of(fault, severity) for severity in severities]
        shown.add_row(
            fault.replace("_", " "),
            *(f"{one.drifted.share:.0%}" for one in grades),
            _at_each([f"{one.named.share:.0%}" for one in grades if one.named]),
            _at_each(["-" if one.delay is None else f"{one.delay:.0f}" for one in grades]),
        )
    for one in done.tried:
        if one.severity is None and one is not normal:
            delay = "-" if one.delay is None else f"{one.delay:.0f}"
            name = f"{MIX_TIMES:.0f} times the {MIX}s" if one.fault == "case mix" else one.fault
            blank = [""] * (len(severities) - 1)
            shown.add_row(
                name, f"{one.drifted.share:.0%}", *blank, f"{one.named.share:.0%}" if one.named else "", delay
            )
    return shown


def _at_each(told: Sequence[str]) -> str:
    """What holds at each severity, once where it is the same at all."""
    return told[0] if len(set(told)) == 1 else " ".join(told)


def observed(classifier: Classifier, payloads: Sequence[bytes], threads: int) -> pd.DataFrame:
    """Observations of pictures as the service makes them, those that cannot be read left out; columns COLUMNS."""
    batches = [payloads[i : i + _BATCH] for i in range(0, len(payloads), _BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        answers = [one for batch in pool.map(classifier.observe_all, batches) for one in batch]
    return pd.DataFrame(rows(one for one in answers if not isinstance(one, ImageError)), columns=list(COLUMNS))


def _drawn(pool: pd.DataFrame, size: int, random: np.random.Generator, of: CellType | None = None) -> pd.DataFrame:
    """Rows without replacement; of one type as many as where its share were :data:`MIX_TIMES` what it is."""
    if of is None:
        return pool.iloc[random.choice(len(pool), size, replace=False)]
    is_type = (pool[CASE_MIX] == of).to_numpy()
    count = min(int(random.binomial(size, min(1.0, MIX_TIMES * is_type.mean()))), int(is_type.sum()))
    own, others = (random.permutation(np.flatnonzero(chosen)) for chosen in (is_type, ~is_type))
    return pool.iloc[np.concatenate([own[:count], others[: size - count]])]


def _delay(
    trial: Trial, clean: pd.DataFrame, broken: pd.DataFrame, window: int, tries: int, random: np.random.Generator
) -> float | None:
    """Median of the broken rows in a window, all others being clean, at the first of ten checks that says drifted."""
    delays = []
    for _ in range(max(1, tries // 4)):
        before, after = _drawn(clean, window, random), _drawn(broken, window, random)
        counts = [round(window * step / _STEPS) for step in range(1, _STEPS + 1)]
        said = (n for n in counts if trial.judge(pd.concat([before.iloc[n:], after.iloc[:n]])).cause is not None)
        delays.append(float(next(said, np.inf)))
    median = float(np.median(delays))
    return median if np.isfinite(median) else None


def _told(fault: str, severity: int | None, found: Sequence[Found], cause: Cause | None, delay: float | None) -> Tried:
    def chance(said: Callable[[Found], bool]) -> Chance:
        return Chance(times=sum(map(said, found)), windows=len(found))

    return Tried(
        fault=str(fault),
        severity=severity,
        drifted=chance(lambda one: one.cause is not None),
        optics=chance(lambda one: bool(one.moved(Kind.OPTICS))),
        named=None if cause is None else chance(lambda one: one.cause is cause),
        delay=delay,
    )


def _refuse_few(pictures: int, window: int, what: str) -> None:
    if pictures < window:
        raise MonitoringError(
            f"{what} has {pictures} pictures, fewer than a window of {window}. Ask for a smaller one with --window."
        )
