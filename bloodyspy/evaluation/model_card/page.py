"""The card as one HTML page: nothing is loaded from elsewhere, every number carries its source."""

import base64
import re
from html import escape
from importlib.resources import files

from bloodyspy.evaluation.model_card.document import (
    Block,
    Card,
    Cell,
    Curve,
    Fact,
    Files,
    Heading,
    Interval,
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

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{name}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<p class="over">{kind}</p>
<h1>{title}</h1>
{lead}
</header>
<nav aria-label="Sections">{links}</nav>
<main>
{sections}
</main>
</body>
</html>
"""

_PLACE = "\0"  # of a fact among words that are being marked up

_WIDTH, _HEIGHT, _MARGIN = 360, 250, 34  # of a plot, in units of its drawing


def page(card: Card) -> str:
    """The card as a page. A number is ``<data value data-source>``, in a drawing ``<text data-value data-source>``."""
    return _PAGE.format(
        kind=escape(card.kind),
        name=escape(f"{card.kind}: " + "".join(p if isinstance(p, str) else p.text for p in card.title)),
        style=files(__package__).joinpath("card.css").read_text(encoding="utf-8"),
        title=_inline(card.title),
        lead="\n".join(map(_block, card.lead)),
        links="".join(f'<a href="#{_anchor(section)}">{escape(section.name)}</a>' for section in card.sections),
        sections="\n".join(map(_section, card.sections)),
    )


def _anchor(section: Section) -> str:
    return re.sub(r"\W+", "-", section.name.lower()).strip("-")


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f'<section id="{_anchor(section)}">\n<h2>{escape(section.name)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h3>{_inline(text)}</h3>"
        case Paragraph(text, kind):
            return f'<p class="{kind}">{_inline(text)}</p>'
        case Items(texts):
            return "<ul>" + "".join(f"<li>{_inline(text)}</li>" for text in texts) + "</ul>"
        case Listing(lines):
            return "<pre><code>" + "\n".join(map(_inline, lines)) + "</code></pre>"
        case Tiles(tiles):
            shown = "".join(
                f"<div><dt>{_inline(what)}</dt><dd><b>{_inline(value)}</b><small>{_inline(sure)}</small></dd></div>"
                for what, value, sure in tiles
            )
            return f'<dl class="tiles">{shown}</dl>'
        case Table():
            return _table(block)
        case Plot():
            return _plot(block)
        case Picture(svg, shows):
            inside = base64.b64encode(svg).decode()
            return f'<img class="picture" alt="{escape(shows)}" src="data:image/svg+xml;base64,{inside}">'
        case Files(files):
            shown = "".join(
                f'<li><a href="{escape(name)}">{escape(name)}</a> {_inline(what)}</li>' for name, what in files
            )
            return f'<ul class="files">{shown}</ul>'


def _table(table: Table) -> str:
    across = ""
    if table.across:
        across = (
            f'<tr><td></td><th class="across" colspan="{len(table.headings) - 1}">{_inline(table.across)}</th></tr>'
        )
    head = "".join(_heading(text) for text in table.headings)
    rows = "".join(f"<tr>{_name(row[0])}{''.join(map(_cell, row[1:]))}</tr>\n" for row in table.rows)
    kind = "numbers notes" if table.kind == "notes" else table.kind
    # tabindex: a table wider than the screen can be moved from the keyboard too
    return (
        f'<div class="table" tabindex="0"><table class="{kind}"><thead>{across}<tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>"
    )


def _heading(text: Text) -> str:
    return f'<th scope="col">{_inline(text)}</th>' if text else "<td></td>"


def _name(cell: Cell) -> str:
    return f'<th scope="row">{_inline(cell.text)}{_below(cell)}</th>'


def _cell(cell: Cell) -> str:
    if cell.drawn is not None:
        return (
            f'<td class="drawn"><div>{_interval(cell.drawn)}<span>{_inline(cell.text)}{_below(cell)}</span></div></td>'
        )
    if not cell.shade:
        return f"<td>{_inline(cell.text)}{_below(cell)}</td>"
    dark = ' class="dark"' if cell.shade > 0.78 else ""
    return f'<td{dark} style="--shade:{cell.shade:.3f}">{_inline(cell.text)}{_below(cell)}</td>'


def _below(cell: Cell) -> str:
    return f"<small>{_inline(cell.below)}</small>" if cell.below else ""


def _interval(drawn: Interval) -> str:
    low, high, value = (round(100 * x, 1) for x in (drawn.low, drawn.high, drawn.value))
    return (
        '<svg class="interval" viewBox="-4 0 108 12" role="img" aria-label="interval">'
        f'<path class="scale" d="M0 6H100"/><path class="reach" d="M{low} 6H{high}"/>'
        f'<circle cx="{value}" cy="6" r="3.4"/></svg>'
    )


def _plot(plot: Plot) -> str:
    curves = "".join(map(_curve, plot.curves))
    labels = "".join(
        f'<text x="{_x(label.x):.1f}" y="{_y(label.y):.1f}" text-anchor="{label.anchor}">'
        f"{_inline(label.text, drawn=True)}</text>"
        for label in plot.labels
    )
    key = "".join(
        f'<li class="{curve.colour}">{escape(curve.name)}</li>' for curve in plot.curves if curve.style != "guide"
    )
    upwards, across = escape(plot.upwards), escape(plot.across)
    return f"""<figure>
<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{upwards} by {across}">
<path class="axes" d="M{_x(0):.0f} {_y(1):.0f}V{_y(0):.0f}H{_x(1):.0f}"/>{curves}{labels}
<text class="axis" x="{_x(0.5):.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{across}</text>
<text class="axis" transform="translate(10 {_y(0.5):.0f}) rotate(-90)" text-anchor="middle">{upwards}</text>
</svg>
<figcaption>{f'<ul class="key">{key}</ul>' if len(plot.curves) > 1 else ""}{_inline(plot.caption)}</figcaption>
</figure>"""


def _curve(curve: Curve) -> str:
    if curve.style == "dots":
        return "".join(
            f'<circle class="{curve.colour}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3.2"/>' for x, y in curve.points
        )
    path = "L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in curve.points)
    return f'<path class="{curve.style} {curve.colour}" d="M{path}"/>'


def _x(share: float) -> float:
    return _MARGIN + share * (_WIDTH - _MARGIN - 14)


def _y(share: float) -> float:
    return _HEIGHT - _MARGIN - share * (_HEIGHT - _MARGIN - 14)


def _inline(text: Text, *, drawn: bool = False) -> str:
    # facts are put in last: what stands in one is no markup, though markup may stand around it
    shown = escape("".join(piece if isinstance(piece, str) else _PLACE for piece in text), quote=False)
    shown = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", shown)
    shown = re.sub(r"`(.+?)`", r"<code>\1</code>", shown)
    facts = (_fact(piece, drawn) for piece in text if not isinstance(piece, str))
    return re.sub(_PLACE, lambda _: next(facts), shown)


def _fact(fact: Fact, drawn: bool) -> str:
    source = escape(" ".join(fact.sources))
    rule = f' data-rule="{fact.rule}"' if fact.rule else ""
    # one source fits a tool tip; the eight of a sum are read in the page's source
    told = f' title="{escape(fact.sources[0])}"' if len(fact.sources) == 1 and not drawn else ""
    kind = "" if drawn or not fact.words else ' class="word"'
    tag, value = ("tspan", "data-value") if drawn else ("data", "value")
    return f'<{tag}{kind} {value}="{escape(fact.value)}" data-source="{source}"{rule}{told}>{escape(fact.text)}</{tag}>'
