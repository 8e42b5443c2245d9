"""The card as Markdown."""

import re
from itertools import pairwise

from bloodyspy.evaluation.model_card.document import (
    Block,
    Card,
    Cell,
    Fact,
    Files,
    Heading,
    Items,
    Listing,
    Paragraph,
    Picture,
    Plot,
    Section,
    Table,
    Text,
    Tiles,
)


def markdown(card: Card) -> str:
    """The card as CommonMark with tables; drawings are left out: tables tell what they draw of the model."""
    blocks = [f"# {_inline(card.title)}", *map(_block, card.lead)]
    for section in card.sections:
        blocks += [f"## {section.name}", *map(_block, _drawable(section))]
    return "\n\n".join(blocks) + "\n"


def _drawable(section: Section) -> list[Block]:
    return [block for block in section.blocks if not isinstance(block, Plot | Picture)]


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"### {_inline(text)}"
        case Paragraph(text, kind):
            return f"> {_inline(text)}" if kind == "warning" else _inline(text)
        case Items(texts):
            return "\n".join(f"- {_inline(text)}" for text in texts)
        case Listing(lines):
            return "\n".join(["```", *("".join(_plain(piece) for piece in line) for line in lines), "```"])
        case Tiles(tiles):
            return _rows([("", "", ""), *((_inline(a), f"**{_inline(b)}**", _inline(c)) for a, b, c in tiles)])
        case Table(headings, rows, _, across):
            head = tuple(map(_inline, headings))
            named = (f"{head[0]} \\ {_inline(across)}" if across else head[0], *head[1:])
            return _rows([named, *(tuple(map(_cell, row)) for row in rows)])
        case Files(files):
            return "\n".join(f"- [{name}]({name}) {_inline(what)}" for name, what in files)
        case Plot() | Picture():
            return ""


def _rows(rows: list[tuple[str, ...]]) -> str:
    head, *body = rows
    lines = [head, ("---", *("---:" for _ in head[1:])), *body]
    if any(len(one) != len(other) for one, other in pairwise(lines)):
        raise ValueError("a row of a table has another number of cells than its heading")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(cell: Cell) -> str:
    return f"{_inline(cell.text)} ({_inline(cell.below)})" if cell.below else _inline(cell.text)


def _inline(text: Text) -> str:
    shown, in_code = "", False
    for piece in text:
        if isinstance(piece, str):
            shown += piece
            in_code ^= piece.count("`") % 2 == 1
        else:  # in code, where only digests and the like stand, the reader would see the escapes
            shown += piece.text if in_code else _escaped(piece.text)
    return shown


def _plain(piece: str | Fact) -> str:
    return piece if isinstance(piece, str) else piece.text


def _escaped(value: str) -> str:
    """Names of folders and candidates are other people's words: they do not become table borders, markup or HTML."""
    return re.sub(r"([\\`*\[|])", r"\\\1", " ".join(value.split())).replace("<", "&lt;")
