"""The report as one HTML page, A4: nothing is loaded, nothing runs, and it can be read in greys."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.smear.differential import Differential, Erythroblasts, Flagged, Share, WhiteCells
from bloodyspy.smear.reading import Shown
from bloodyspy.smear.report.content import SmearReport

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<div><p class="over">Research use only</p><h1>Leukocyte differential</h1></div>
<p class="about"><b>{specimen}</b><span>{made}</span></p>
</header>
{warning}
<main>
{facts}
{flag}
{table}
<h2>Cells by type</h2>
{gallery}
</main>
<footer>
{footer}
</footer>
</body>
</html>
"""

_FLAG = {
    Flagged.YES: ("yes", "ig above the limit", "The whole interval lies above it."),
    Flagged.NO: ("no", "ig not above the limit", "The whole interval lies below it."),
    Flagged.CANNOT_BE_TOLD: (
        "unclear",
        "ig: cannot be told",
        "The interval holds the limit: so many cells cannot tell.",
    ),
}


def page(report: SmearReport, gallery: Mapping[CellType, Sequence[Shown]]) -> str:
    """The report as a page.

    Args:
        report: of the smear.
        gallery: small pictures by answered type; a type without any has no row.
    """
    found = report.differential
    return _PAGE.format(
        title=escape(f"Leukocyte differential {report.specimen or ''}".strip()),
        style=files(__package__).joinpath("page.css").read_text(encoding="utf-8"),
        specimen=escape(f"Specimen {report.specimen}" if report.specimen else "Specimen not named"),
        made=f"{report.made:%Y-%m-%d %H:%M} UTC",
        warning=_warning(report),
        facts=_facts(report),
        flag=_flag(found),
        table=_table(found),
        gallery=_gallery(gallery, found),
        footer=_footer(report),
    )


def _warning(report: SmearReport) -> str:
    if not report.synthetic:
        return ""
    return '<p class="warning">Synthetic: the model was trained on drawn cells. No number here tells of real ones.</p>'


def _facts(report: SmearReport) -> str:
    found = report.differential
    white = sum(cell.in_review for cell in found.classes)
    labelled = ("Labelled", f"{found.labelled:,}", f"by {escape(report.reviewer or 'a person')}")
    tiles = (
        ("White cells counted", f"{found.white:,}", f"of {found.cells:,} classified pictures"),
        ("In review", f"{found.in_review:,}", f"{white:,} of them white; counted as answered"),
        *([labelled] if found.labelled else []),
        ("Rejected", f"{found.rejected:,}", "left out of every count"),
        ("Unreadable files", f"{report.unreadable:,}", "no picture, or a broken one"),
        ("Platelet pictures", f"{found.platelets:,}", "not a platelet count"),
    )
    shown = "".join(
        f"<div><dt>{what}</dt><dd>{number}<small>{words}</small></dd></div>" for what, number, words in tiles
    )
    return f"<dl>{shown}</dl>"


def _flag(found: Differential) -> str:
    kind, words, reason = _FLAG[found.ig.above]
    return (
        f'<div class="flag {kind}"><b>{words}</b><span>Immature granulocytes {found.ig.share.value:.1f} % '
        f"({_between(found.ig.share)}), limit {found.ig.limit:g} %. {reason}</span></div>"
    )


def _table(found: Differential) -> str:
    most = max(max(cell.corrected.high, cell.raw.value) for cell in found.classes)
    top = min(100, 10 * math.ceil(most / 10))
    question = found.question
    rows = "\n".join(_row(cell, top) for cell in found.classes)
    red = found.erythroblasts
    level = f"{100 * question.level:g} %"
    return f"""<div class="table"><table>
<thead><tr><th scope="col">Type</th><th scope="col">counted</th><th scope="col">as counted,<br>%</th>
<th scope="col">corrected, %<br>({level} interval)</th><th scope="col">{_axis(top)}</th>
<th scope="col">more to count<br>for &plusmn;{question.half_width:g} points</th></tr></thead>
<tbody>
{rows}
<tr class="beside"><th scope="row">erythroblast</th><td>{_counted(red)}</td><td>{red.raw.value:.1f}</td>
<td>{_corrected(red.corrected)}</td><td class="beside" colspan="2">for each 100 white cells</td></tr>
</tbody></table></div>
<p class="note">Dot: corrected share; bar: its {level} interval; ring: share as counted. <b>Corrected</b> is the
composition under which these answers are likeliest, given how the model answered
{sum(found.measured_on.values()):,} sealed images (its confusion matrix). The interval holds the chance of the count and
what so few images leave open of that matrix; each interval stands by itself.{_labelled(found)}</p>"""


def _labelled(found: Differential) -> str:
    if not found.labelled:
        return ""
    return (
        " A person's label is taken as it is. The matrix is of all answers: where the doubtful ones were labelled, it "
        "is somewhat too hard on the rest."
    )


def _row(cell: WhiteCells, top: float) -> str:
    more = "not by counting" if cell.more is None else f"{cell.more:,}" if cell.more else "enough"
    return (
        f'<tr><th scope="row">{cell.cell_type.spelled_out}</th><td>{_counted(cell)}</td><td>{cell.raw.value:.1f}</td>'
        f'<td>{_corrected(cell.corrected)}</td><td class="drawn">{_interval(cell, top)}</td><td>{more}</td></tr>'
    )


def _counted(cell: WhiteCells | Erythroblasts) -> str:
    told = ((cell.in_review, "in review"), (cell.labelled, "labelled"))
    small = ", ".join(f"{number:,} {words}" for number, words in told if number)
    return f"{cell.counted:,}<small>{small}</small>" if small else f"{cell.counted:,}"


def _corrected(share: Share) -> str:
    return f"<strong>{share.value:.1f}</strong> <span>({_between(share)})</span>"


def _interval(cell: WhiteCells, top: float) -> str:
    low, high, value, raw = (
        round(120 * min(x, top) / top, 1)
        for x in (cell.corrected.low, cell.corrected.high, cell.corrected.value, cell.raw.value)
    )
    label = f"{cell.corrected.value:.1f} percent, {_between(cell.corrected)}"
    return (
        f'<svg viewBox="0 0 120 9" role="img" aria-label="{label}"><path class="scale" d="M0 4.5H120"/>'
        f'<path class="reach" d="M{low} 4.5H{high}"/><path class="ends" d="M{low} 2.2V6.8M{high} 2.2V6.8"/>'
        f'<circle class="raw" cx="{raw}" cy="4.5" r="2"/><circle class="value" cx="{value}" cy="4.5" r="1.6"/></svg>'
    )


def _axis(top: float) -> str:
    marks = "".join(
        f'<text x="{120 * share:g}" y="5" text-anchor="{anchor}">{top * share:g}</text>'
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return f'<svg viewBox="0 0 120 5.5" role="img" aria-label="scale from 0 to {top:g} percent">{marks}</svg>'


def _gallery(gallery: Mapping[CellType, Sequence[Shown]], found: Differential) -> str:
    if not gallery:
        return '<p class="note">No pictures were kept.</p>'
    counted = {cell.cell_type: cell.counted for cell in found.classes}
    counted |= {CellType.ERYTHROBLAST: found.erythroblasts.counted, CellType.PLATELET: found.platelets}
    rows = "".join(
        f"<h3>{cell_type.spelled_out}<small>{counted[cell_type]:,} counted</small></h3>"
        f"<ul>{''.join(map(_picture, gallery[cell_type]))}</ul>"
        for cell_type in CELL_TYPES
        if gallery.get(cell_type)
    )
    return (
        f'<div class="cells">{rows}</div>'
        '<p class="note">Of each type the pictures in review (framed, ?) and rejected (framed, &times;) first, then '
        "those the model was least sure of, then those that a person named (&check;).</p>"
    )


def _picture(shown: Shown) -> str:
    kind = "labelled" if shown.labelled else shown.action if shown.action in ("review", "reject") else "auto"
    mark = {"review": "<span>?</span>", "reject": "<span>&times;</span>", "labelled": "<span>&check;</span>"}
    told = escape(f"{shown.name}: {shown.confidence:.1%}")
    inside = base64.b64encode(shown.jpeg).decode()
    picture = f'<img alt="{told}" title="{told}" src="data:image/jpeg;base64,{inside}">'
    return f'<li class="{kind}">{picture}{mark.get(kind, "")}</li>'


def _footer(report: SmearReport) -> str:
    model = (
        f"Model {report.model}, run {report.run_id}, artefact {report.digest[:16]}, data {report.data_version[:12]}."
    )
    return (
        f"<b>Research use only: this is not a medical device.</b> {escape(model)} The donors of the images that it was "
        "measured on are not identified, so its confusion matrix is a best case; under another stain or microscope "
        "neither correction nor interval holds. Cells in review are counted as answered."
    )


def _between(share: Share) -> str:
    return f"{share.low:.1f} to {share.high:.1f}"
