"""What a card is made of, before it is Markdown or HTML: blocks of words, in which every number names its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from string import Formatter
from typing import Literal

Rule = Literal["", "sum", "difference"]
"""How a shown value comes from its sources: it is the one, or the sum of them all, or the first less the second."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value of the run, as it is shown."""

    text: str
    value: str
    """As it stands in the source: a number in Python's notation, or the words themselves."""
    sources: tuple[str, ...]
    """``file#/json/pointer`` in the artefact, or the dotted name of a constant of this library."""
    rule: Rule = ""
    words: bool = False
    """Whether it is no number."""


Text = tuple[str | Fact, ...]
"""Words and facts, in the order of reading. ``**`` around words makes them bold, a back-tick makes them code."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its interval drawn on a scale, all fractions of the scale from 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table."""

    text: Text
    below: Text = ()
    """A second, smaller line."""
    shade: float = 0.0
    """How dark it stands on the page, 0 to 1."""
    drawn: Interval | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """Of a part within a section."""

    text: Text


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words."""

    text: Text
    kind: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are headings; the first cell of each is its name."""

    headings: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: Literal["words", "numbers", "notes", "matrix"] = "numbers"
    """``notes`` are numbers with words in the last column."""
    across: Text = ()
    """What the columns of a matrix are."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ValueError("a row of a table has another number of cells than its heading")


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines to be typed."""

    lines: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The few figures to see first: what, how much, and how sure."""

    tiles: tuple[tuple[Text, Text, Text], ...]


@dataclass(frozen=True, slots=True)
class Label:
    """A fact in a plot."""

    x: float
    y: float
    text: Text
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line in a plot, or its points."""

    name: str
    points: tuple[tuple[float, float], ...]
    style: Literal["line", "dots", "guide"] = "line"
    colour: Literal["first", "second", "quiet"] = "first"


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of curves; both axes run from 0 to 1 and ``y`` points up. Markdown leaves it out."""

    curves: tuple[Curve, ...]
    labels: tuple[Label, ...]
    across: str
    upwards: str
    caption: Text


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG drawn elsewhere, and what it shows. Markdown leaves it out."""

    svg: bytes
    shows: str


@dataclass(frozen=True, slots=True)
class Files:
    """Files beside the page, and what each is."""

    files: tuple[tuple[str, Text], ...]


Block = Heading | Paragraph | Items | Table | Listing | Tiles | Plot | Picture | Files


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the card."""

    name: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """The whole."""

    title: Text
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    kind: str = "Model card"


def words(template: str, **facts: Fact | Text | str) -> Text:
    """Words with facts in their places: ``words("{n} images", n=fact)``.

    Raises:
        ValueError: the template, or words put into it, hold a digit or are empty: a number must be a :class:`Fact`.
    """

    def pieces() -> Iterator[str | Fact]:
        for literal, field, _, _ in Formatter().parse(template):
            if literal:
                yield literal
            if field is not None:
                part = facts[field]
                yield from part if isinstance(part, tuple) else (part,)

    text = tuple(pieces())
    for piece in text:
        if isinstance(piece, str) and any(character.isdigit() for character in piece):
            raise ValueError(f"{piece!r} holds a number that names no source")
        if not (piece if isinstance(piece, str) else piece.text).strip() and len(text) == 1:
            raise ValueError("a field of the card is empty")
    return text
