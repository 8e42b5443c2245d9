"""The page of one check: what a person reads before any figure. One file, no scripts, no other host."""

from html import escape

from monitoring.drift import ColumnVerdict, Overall, Verdict
from monitoring.thresholds import CASE_MIX

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; background: #f6f7f9; margin: 0 auto; max-width: 60rem;
       padding: 2rem 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
header { background: #fff; border-left: .6rem solid var(--tone); border-radius: .4rem; padding: 1.2rem 1.5rem; }
header b { color: var(--tone); }
.stable { --tone: #18794e; } .drifted { --tone: #b42318; } .insufficient { --tone: #7a5a00; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1.5rem 0; font-size: .92rem; }
dt { color: #5b6472; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; background: #fff; border-radius: .4rem; font-size: .92rem; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #e6e8ec; white-space: nowrap; }
th { color: #5b6472; font-weight: 600; } th:first-child, td:first-child { text-align: left; }
tr.over td { background: #fdf1f0; } tr.over td:first-child { font-weight: 600; }
td.bar { width: 30%; padding-right: 1rem; }
.track { position: relative; height: .8rem; background: #e9ebef; border-radius: .2rem; }
.track i { position: absolute; inset: 0 auto 0 0; background: #6b7f99; border-radius: .2rem; }
.over .track i { background: #d1493c; }
.track u { position: absolute; top: -.2rem; bottom: -.2rem; left: 50%; width: 2px; background: #1d2430; }
p.note { color: #5b6472; font-size: .88rem; } a { color: #0b5cad; }
"""
_HEADLINE = {
    Overall.STABLE: "The live pictures look as they should",
    Overall.DRIFTED: "The live pictures have changed",
    Overall.INSUFFICIENT: "Too little to judge",
}


def render(verdict: Verdict, report: str | None) -> str:
    """The page of a verdict.

    Args:
        verdict: what was found.
        report: address of Evidently's report, relative to the page; None where there is none.
    """
    link = f'<p><a href="{escape(report)}">Distributions of every column (Evidently report)</a></p>' if report else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Drift check: {verdict.overall}</title><style>{_STYLE}</style></head>
<body class="{verdict.overall}">
<header><h1>{_HEADLINE[verdict.overall]}: <b>{verdict.overall}</b></h1>{escape(verdict.reason)}</header>
<dl>{_facts(verdict)}</dl>
{link}
{_table(verdict)}
</body></html>
"""


def _facts(verdict: Verdict) -> str:
    version = "" if verdict.model_version is None else f"version {verdict.model_version}, "
    facts = {"Window": f"{verdict.rows} observations"}
    if verdict.start is not None and verdict.end is not None:
        facts["Window"] += f", {verdict.start:%Y-%m-%d %H:%M:%S} to {verdict.end:%Y-%m-%d %H:%M:%S} UTC"
    drawn = ", drawn by `synthetic`: no real cells" if verdict.synthetic else ""
    facts["Reference"] = f"{verdict.reference_rows} held-out pictures of the model's own data set{drawn}"
    facts["Model"] = f"{version}run {verdict.run_id}"
    facts["Data version"] = verdict.data_version
    facts["False alarms"] = f"{verdict.false_alarm_rate:.1%} of windows without drift, over all columns together"
    if left_out := verdict.corrupt_lines + verdict.torn_lines:
        facts["Unreadable lines"] = f"{left_out} of the log, left out ({verdict.torn_lines} torn at a file's end)"
    facts["Checked"] = f"{verdict.checked:%Y-%m-%d %H:%M:%S} UTC"
    return "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())


def _table(verdict: Verdict) -> str:
    if not verdict.columns:
        return ""
    rows = "\n".join(_row(column) for column in verdict.columns)
    return f"""<table><thead><tr><th>column</th><th>reference</th><th>window</th><th>distance</th><th>threshold</th>
<th>ratio</th><th></th></tr></thead><tbody>
{rows}
</tbody></table>
<p class="note">Reference and window: means, the reference's at the window's mix of predicted types; for
<code>{CASE_MIX}</code> the type that moved most. Distance: Kolmogorov's within the predicted type; for
<code>{CASE_MIX}</code> the total variation distance of the shares; for <code>embedding</code> the maximum mean
discrepancy of what the network sees. Ratio: distance over threshold, the dark mark is 1.</p>"""


def _row(column: ColumnVerdict) -> str:
    # The threshold stands in the middle, so a bar is full at twice the threshold.
    width = min(column.ratio, 2) / 2
    bar = f'<div class=track><i style="width:{width:.0%}"></i><u></u></div>'
    cells = f"{_centre(column.reference)}</td><td>{_centre(column.current)}</td>"
    distance = f"<td>{column.statistic:.3f}</td><td>{column.threshold:.3f}</td>"
    ratio = f"<td>{column.ratio:.2f}</td>"
    over = " class=over" if column.drifted else ""
    return f"<tr{over}><td>{escape(column.name)}</td><td>{cells}{distance}{ratio}<td class=bar>{bar}</td></tr>"


def _centre(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.4g}"
