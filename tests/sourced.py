"""Reads a card's page as a stranger would: every number must name its place, and the place must hold that number.

Written apart from the code that writes the page, so that a fault there is not repeated here.
"""

import importlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_UNITS = {"%": 0.01, "points": 0.01, "minutes": 60.0, "ms": 1.0, "MB": 1.0, "": 1.0}
_VOID = {"meta", "link", "img"}
_FILLED = {"data", "th", "td", "dd", "dt", "p", "li", "h1", "h2", "h3", "pre", "tspan", "text"}
_SHOWN = re.compile(r"([+\N{MINUS SIGN}-]?[\d,]+(?:\.(\d+))?(?:e[+-]\d+)?)\s*(\D*)")


@dataclass
class Shown:
    """An element that carries a source."""

    source: str
    value: str
    rule: str
    text: str = ""


@dataclass
class Page:
    """What is read: sourced elements, and all other words with where they stand."""

    shown: list[Shown] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    """Addresses that the page would load something from."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[tuple[str, Shown | None, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        for name in ("src", "href", "srcset", "action"):
            if name in told and not told[name].startswith(("#", "data:")):
                self.page.outside.append(told[name])
        if tag in _VOID:
            return
        shown = None
        if "data-source" in told:
            shown = Shown(told["data-source"], told.get("value") or told["data-value"], told.get("data-rule", ""))
            self.page.shown.append(shown)
        self._open.append((tag, shown, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return None

    def handle_endtag(self, tag: str) -> None:
        opened, _, texts = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"
        text = "".join(texts)
        inside = [name for name, _, _ in self._open]
        # a <td> in the heading is the corner of the table, which has nothing to say
        if tag in _FILLED and not text.strip() and not (tag == "td" and "thead" in inside):
            self.page.empty.append(f"<{tag}> in {'/'.join(inside)}")
        if self._open:
            self._open[-1][2].append(text)

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] == "style":
            return
        self._open[-1][2].append(data)
        for _, shown, _ in reversed(self._open):
            if shown is not None:
                shown.text += data
                return
        # the title repeats the heading, which carries the source
        if self._open[-1][0] != "title":
            self.page.words.append(data)


def read(html: str) -> Page:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page


def faults(folder: Path, html: str) -> list[str]:
    """What is wrong with a page of the artefact in ``folder``; nothing is well."""
    page = read(html)
    found = [f"a number without a source: {text.strip()!r}" for text in page.words if re.search(r"\d", text)]
    found += [f"nothing where something should be: {place}" for place in page.empty]
    found += [f"loaded from elsewhere: {address}" for address in page.outside]
    found += [f"an empty word: {text.strip()!r}" for text in page.words if re.search(r"\b(nan|None|null)\b|[{}]", text)]
    files = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")}
    return found + [fault for shown in page.shown for fault in _wrong(files, shown)]


def _wrong(files: dict[str, object], shown: Shown) -> Iterator[str]:
    values = [_resolve(files, source) for source in shown.source.split()]
    if not shown.text.strip():
        yield f"{shown.source} shows nothing"
    elif isinstance(values[0], str | bool):
        told = {True: "yes", False: "no"}[values[0]] if isinstance(values[0], bool) else values[0]
        if shown.value != (json.dumps(values[0]) if isinstance(values[0], bool) else told):
            yield f"{shown.source} holds {values[0]!r}, the page's value is {shown.value!r}"
        if shown.text != told and not (len(shown.text) >= 12 and told.startswith(shown.text)):
            yield f"{shown.source} holds {told!r}, the page shows {shown.text!r}"
    else:
        numbers = [float(value) for value in values]
        right = {"": numbers[0], "sum": sum(numbers), "difference": numbers[0] - sum(numbers[1:])}[shown.rule]
        if not math.isclose(float(shown.value), right, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{shown.source} gives {right}, the page's value is {shown.value}"
        digits = _SHOWN.fullmatch(shown.text)
        if digits is None:
            yield f"{shown.source} shows {shown.text!r}, which is no number"
            return
        number, decimals, unit = digits.groups()
        read_back = float(number.replace(",", "").replace("\N{MINUS SIGN}", "-")) * _UNITS[unit.strip()]
        rounding = 0.5000001 * 10.0 ** -len(decimals or "") * _UNITS[unit.strip()]
        if "e" in number or (not unit and decimals):  # a setting in full
            rounding = max(rounding, abs(right) * 1e-5)
        if abs(read_back - right) > rounding + 1e-12:
            yield f"{shown.source} gives {right}, the page shows {shown.text!r}"


def _resolve(files: dict[str, object], source: str) -> object:
    place, _, pointer = source.partition("#")
    value: object
    if place.endswith(".json"):
        value = files[place]
    else:
        module, _, name = place.rpartition(".")
        assert module.startswith("bloodyspy."), f"{source} is neither a file of the artefact nor a name of the library"
        value = getattr(importlib.import_module(module), name)
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]  # type: ignore[index]
    return value
