"""The facts of a card: values of the artefact's files, each with the place it was read from."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

from bloodyspy.errors import ArtefactInvalid
from bloodyspy.evaluation.intervals import LEVEL, RESAMPLES
from bloodyspy.evaluation.model_card.document import Fact, Rule, Text, words
from bloodyspy.model.calibration import ECE_BINS

# Names and citations with a figure in them. They are words, but they too say where they stand.
WORDS: dict[str, str] = {
    "macro_f1": "macro F1",
    "full_precision": "float32",
    "wilson": "Wilson 1927",
    "bootstrap": "Efron 1979",
    "calibration_error": "Guo et al. 2017",
    "risk_coverage": "Geifman and El-Yaniv 2017",
}

_CONSTANTS: dict[str, float] = {
    "bloodyspy.evaluation.intervals.LEVEL": LEVEL,
    "bloodyspy.evaluation.intervals.RESAMPLES": RESAMPLES,
    "bloodyspy.model.calibration.ECE_BINS": ECE_BINS,
}


class Facts:
    """Reads the JSON files of one artefact. A source is ``file#/pointer`` (RFC 6901), as ``metrics.json#/test/n``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, JsonValue] = {}

    def value(self, source: str) -> JsonValue:
        """What stands at a source.

        Raises:
            ArtefactInvalid: the file or the place in it is absent.
        """
        file, _, pointer = source.partition("#")
        try:
            if file not in self._files:
                self._files[file] = json.loads((self._folder / file).read_bytes())
            found = self._files[file]
            for step in pointer.split("/")[1:]:
                key = step.replace("~1", "/").replace("~0", "~")
                found = found[int(key)] if isinstance(found, list) else found[key]  # type: ignore[index]
        except (FileNotFoundError, KeyError, IndexError, TypeError, ValueError) as exc:
            raise ArtefactInvalid(self._folder, f"the model card needs {source}, which is not there") from exc
        return found

    def has(self, source: str) -> bool:
        """Whether something stands there that is not null."""
        try:
            return self.value(source) is not None
        except ArtefactInvalid:
            return False

    def number(self, source: str) -> float:
        """The number at a source.

        Raises:
            ArtefactInvalid: there is none.
        """
        found = self.value(source)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise ArtefactInvalid(self._folder, f"the model card needs a number at {source}, where {found!r} stands")
        return found

    def keys(self, source: str) -> tuple[str, ...]:
        """The sources of all members of an object or a list."""
        found = self.value(source)
        steps = range(len(found)) if isinstance(found, list) else found
        if not isinstance(found, list | dict):
            raise ArtefactInvalid(self._folder, f"the model card needs a table at {source}")
        return tuple(f"{source}/{step}" for step in steps)  # type: ignore[union-attr]

    def string(self, source: str, without: str = "") -> Fact:
        """Words; an ending ``without`` is left out.

        Raises:
            ArtefactInvalid: there are none.
        """
        found = self.value(source)
        if isinstance(found, bool):
            return Fact("yes" if found else "no", json.dumps(found), (source,), words=True)
        if not isinstance(found, str) or not found.strip():
            raise ArtefactInvalid(self._folder, f"the model card needs words at {source}, where {found!r} stands")
        return Fact(found.removesuffix(without), found, (source,), words=True)

    def count(self, source: str) -> Fact:
        """A whole number."""
        return _fact(self.number(source), "{:,.0f}", (source,))

    def percent(self, source: str, digits: int = 1) -> Fact:
        """A fraction in percent."""
        return _percent(self.number(source), digits, (source,))

    def decimal(self, source: str, digits: int, unit: str = "") -> Fact:
        """A number with a fixed count of digits behind the point."""
        return _fact(self.number(source), f"{{:,.{digits}f}}{unit and ' ' + unit}", (source,))

    def setting(self, source: str) -> Text:
        """Whatever stands there, as it is written; the members of a list side by side."""
        found = self.value(source)
        if found is None or found in ([], {}):
            return words("none")
        if isinstance(found, list):
            first, *rest = (self.setting(member) for member in self.keys(source))
            return first + tuple(piece for text in rest for piece in (", ", *text))
        if isinstance(found, str | bool):
            return (self.string(source),)
        return (Fact(f"{self.number(source):g}", repr(found), (source,)),)

    def leaves(self, source: str) -> tuple[str, ...]:
        """The sources of all settings below an object, however deep."""
        below: list[str] = []
        for member in self.keys(source):
            below += self.leaves(member) if isinstance(self.value(member), dict) else [member]
        return tuple(below)

    def minutes(self, source: str) -> Fact:
        """Seconds, told in minutes."""
        seconds = self.number(source)
        return Fact(f"{seconds / 60:,.1f} minutes", repr(seconds), (source,))

    def estimate(self, source: str) -> Text:
        """A proportion and its interval."""
        return words("{value} ({low} to {high})", value=self.percent(f"{source}/value"), **self.ends(source))

    def ends(self, source: str) -> dict[str, Fact]:
        """``low`` and ``high`` of a proportion's interval."""
        return {end: self.percent(f"{source}/{end}") for end in ("low", "high")}

    def total(self, sources: Iterable[str]) -> Fact:
        """The sum of counts."""
        named = tuple(sources)
        return _fact(sum(self.number(source) for source in named), "{:,.0f}", named, "sum")

    def points(self, minuend: str, subtrahend: str, digits: int = 1) -> Fact:
        """The difference of two fractions, in points of a hundred."""
        difference = self.number(minuend) - self.number(subtrahend)
        text = f"{difference * 100:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
        return Fact(f"{text} points", repr(difference), (minuend, subtrahend), "difference")


def constant(name: str, *, percent: bool = False) -> Fact:
    """A number that the code fixes, by its dotted name."""
    value = _CONSTANTS[name]
    return _percent(value, 0, (name,)) if percent else _fact(value, "{:,.0f}", (name,))


def word(name: str) -> Fact:
    """One of :data:`WORDS`."""
    return Fact(WORDS[name], WORDS[name], (f"{__name__}.WORDS#/{name}",), words=True)


def _percent(value: float, digits: int, sources: tuple[str, ...], rule: Rule = "") -> Fact:
    return Fact(f"{value * 100:.{digits}f} %", repr(value), sources, rule)


def _fact(value: float, shape: str, sources: tuple[str, ...], rule: Rule = "") -> Fact:
    return Fact(shape.format(value), repr(value), sources, rule)
