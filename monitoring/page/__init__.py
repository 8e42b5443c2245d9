"""The page of one check: read in a minute. One file, no scripts, no other host, and it can be printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import pandas as pd

from monitoring.causes import Cause
from monitoring.page.columns import title
from monitoring.page.distributions import distribution
from monitoring.page.gallery import gallery
from monitoring.page.trend import trend
from monitoring.pictures import Pictures
from monitoring.remedies import REMEDIES, heading
from monitoring.verdict import ColumnVerdict, Overall, Verdict

DRAWN = 9
"""Columns that moved and are drawn; the others are in the table."""

_HEADLINE = {
    Overall.STABLE: "The live pictures look as they should",
    Overall.DRIFTED: "The live pictures have changed",
    Overall.INSUFFICIENT: "Too little to judge",
}
_PROBABLY = {
    Cause.STAIN: "probably the stain",
    Cause.EXPOSURE: "probably the light",
    Cause.FOCUS: "probably the focus",
    Cause.SIZE: "probably the size of the pictures",
    Cause.CAMERA: "probably the camera or the export",
    Cause.DIRT: "probably something on the slides",
    Cause.OTHER: "as by no known fault",
    Cause.CONTENT: "probably what is in the pictures",
    Cause.CASE_MIX: "probably the patients, or what is answered",
}
_NEXT = {
    Overall.STABLE: ("Nothing. The next check judges the next window.",),
    Overall.INSUFFICIENT: (
        "Wait: the next check judges again. After a promotion the count begins anew, because the pictures of another "
        "model cannot be compared with this reference.",
        "If there should be more pictures: look whether the service answers and writes its observations "
        "(docs/runbook.md, \u201cObservations are lost\u201d).",
    ),
}


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that a page tells."""

    verdict: Verdict
    reference: pd.DataFrame
    current: pd.DataFrame
    """The window."""
    past: Sequence[Verdict]
    """Checks of the same model and scope before this one, the oldest window first."""
    pictures: Pictures
    report: str | None
    """Address of Evidently's report, relative to the page; None where there is none."""


def render(content: Content) -> str:
    """The page, as HTML."""
    verdict = content.verdict
    sections = (
        ("What to do", _next(verdict)),
        ("How it went", trend([*content.past, verdict])),
        ("What moved", _moved(content)),
        ("Pictures", gallery(content.pictures)),
        ("", _table(verdict)),
        ("", _facts(verdict, content.report)),
    )
    shown = "\n".join(
        f"<section>{f'<h2>{name}</h2>' if name else ''}\n{inner}\n</section>" for name, inner in sections if inner
    )
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light"><link rel="icon" href="data:,">
<title>Drift check: {_short(verdict)}</title><style>
{style}</style></head>
<body class="{verdict.overall}">
{_warning(verdict)}{_header(verdict)}
{shown}
</body></html>
"""


def _short(verdict: Verdict) -> str:
    return f"{verdict.overall}, {verdict.cause}" if verdict.cause else str(verdict.overall)


def _warning(verdict: Verdict) -> str:
    if not verdict.synthetic:
        return ""
    words = "Drawn cells: the model was trained on synthetic pictures. No number here tells of real ones."
    return f'<p class="warning">{words}</p>\n'


def _header(verdict: Verdict) -> str:
    cause = f", {_PROBABLY[verdict.cause]}" if verdict.cause else ""
    tiles = (
        ("Right answers, estimated", *_accuracy(verdict)),
        ("Window", f"{verdict.rows:,} pictures", _span(verdict)),
        ("Where", *_where(verdict)),
        ("Model", _version(verdict), f"run {verdict.run_id[:8]}"),
    )
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}<small>{escape(words)}</small></dd></div>"
        for name, value, words in tiles
    )
    return (
        f"<header><h1>{_HEADLINE[verdict.overall]}{cause}: <b>{verdict.overall}</b></h1>"
        f'<p>{escape(verdict.reason)}</p><dl class="tiles">{shown}</dl></header>'
    )


def _accuracy(verdict: Verdict) -> tuple[str, str]:
    found = verdict.accuracy
    if found is None:
        return "withheld", verdict.accuracy_withheld
    return f"{found.value:.1%}", f"{found.low:.1%} to {found.high:.1%} (95 %), without labels"


def _span(verdict: Verdict) -> str:
    if verdict.start is None or verdict.end is None:
        return "no observation yet"
    return f"{verdict.start:%Y-%m-%d %H:%M} to {verdict.end:%Y-%m-%d %H:%M} UTC"


def _where(verdict: Verdict) -> tuple[str, str]:
    site = verdict.site or "all sites"
    return site, f"instrument {verdict.instrument}" if verdict.instrument else "all instruments"


def _version(verdict: Verdict) -> str:
    return "no answer yet" if verdict.model_version is None else f"version {verdict.model_version}"


def _next(verdict: Verdict) -> str:
    if verdict.cause is None:
        return "".join(f"<p>{escape(words)}</p>" for words in _NEXT.get(verdict.overall, ()))
    remedy = REMEDIES[verdict.cause]
    steps = "".join(f"<li>{escape(step)}</li>" for step in remedy.steps)
    return (
        f'<p>{escape(remedy.means)}</p><ol>{steps}</ol><p class="note">The same stands in docs/runbook.md, '
        f"\u201c{escape(heading(verdict.cause))}\u201d. The cause is a guess from what moved: look before you "
        "act, and do not train again on pictures of a fault.</p>"
    )


def _moved(content: Content) -> str:
    moved = [column for column in content.verdict.columns if column.drifted]
    if not moved:
        return ""
    panels = "".join(_panel(column, content) for column in moved[:DRAWN])
    more = len(moved) - DRAWN
    words = f' <p class="note">{more} more moved: see the table.</p>' if more > 0 else ""
    return (
        '<p class="key"><span><i></i>reference, at the window\u2019s mix of answered types</span>'
        f'<span><i class="w"></i>window</span></p><div class="panels">{panels}</div>{words}'
        '<p class="note">Heights are shares of the pictures. Only the answered types are compared as they came.</p>'
    )


def _panel(column: ColumnVerdict, content: Content) -> str:
    words, unit = title(column.name)
    drawn = distribution(column.name, content.reference, content.current)
    without = f'<p class="note">{escape(unit)}: it has no axis to be drawn on.</p>'
    return (
        f'<div class="panel"><h3>{escape(words)}<small>{column.ratio:.2f} times its threshold; '
        f"{_centre(column.reference)} \u2192 {_centre(column.current)}</small></h3>{drawn or without}</div>"
    )


def _table(verdict: Verdict) -> str:
    if not verdict.columns:
        return ""
    rows = "\n".join(_row(column) for column in verdict.columns)
    return f"""<details><summary>All {len(verdict.columns)} columns</summary><div class="scroll"><table>
<thead><tr><th>column</th><th>kind</th><th>reference</th><th>window</th><th>distance</th><th>threshold</th><th>ratio</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
<p class="note">Reference and window: means; for <code>predicted</code> the most frequent type. Ratio: distance over
threshold, above 1 is drift.</p></details>"""


def _row(column: ColumnVerdict) -> str:
    over = ' class="over"' if column.drifted else ""
    return (
        f"<tr{over}><td>{escape(column.name)}</td><td>{column.kind}</td><td>{_centre(column.reference)}</td>"
        f"<td>{_centre(column.current)}</td><td>{column.statistic:.3f}</td><td>{column.threshold:.3f}</td>"
        f"<td>{column.ratio:.2f}</td></tr>"
    )


def _centre(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.4g}"


def _reference(verdict: Verdict) -> str:
    if verdict.reference_answered is None:
        drawn = ", drawn by `synthetic`: no real cells" if verdict.synthetic else ""
        return f"{verdict.reference_rows:,} held-out pictures of the model's own data set{drawn}"
    first, last = (f"{time:%Y-%m-%d %H:%M}" for time in verdict.reference_answered)
    return (
        f"{verdict.reference_rows:,} pictures of the random audit, answered from {first} to {last} UTC and held out: "
        "of all preparations that the model knows, the one that the window is most like"
    )


def _facts(verdict: Verdict, report: str | None) -> str:
    facts = {
        "Reference": _reference(verdict),
        "Run": verdict.run_id,
        "Data version": verdict.data_version,
        "False alarms": f"{verdict.false_alarm_rate:.1%} of windows without drift, over all columns together",
    }
    if left_out := verdict.corrupt_lines + verdict.torn_lines:
        facts["Unreadable lines"] = f"{left_out} of the log, left out ({verdict.torn_lines} torn at a file's end)"
    facts["Checked"] = f"{verdict.checked:%Y-%m-%d %H:%M:%S} UTC"
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    link = f'<p><a href="{escape(report)}">Every column in Evidently\u2019s report</a></p>' if report else ""
    return f'<details><summary>How it was judged</summary><dl class="facts">{listed}</dl></details>{link}'
