"""The checks so far: one strip of verdicts, and for each kind the worst column of each check against its threshold."""

from collections.abc import Sequence
from datetime import datetime

from monitoring.verdict import Kind, Verdict

SHOWN = 60
"""Checks, the newest ones."""

_WIDTH, _HEIGHT = 300, 118
_LEFT, _RIGHT, _TOP, _BOTTOM = 24, 8, 10, 20
_LEAST, _MOST = 1.5, 4.0
"""Ends of the axis of ratios: one beyond stands at its end."""

_KINDS = {
    Kind.OPTICS: "what is measured in the pictures",
    Kind.NETWORK: "what the network sees in the cells",
    Kind.CASE_MIX: "shares of the answered types",
}


def trend(checks: Sequence[Verdict]) -> str:
    """The section's content.

    Args:
        checks: of one model and scope, the oldest window first, the present one last.
    """
    shown = checks[-SHOWN:]
    cells = "".join(f'<i class="{one.overall}" title="{_time(_when(one))}: {one.overall}"></i>' for one in shown)
    counted = f"the last {len(shown)} checks" if len(shown) > 1 else "the first check"
    top = max([_LEAST, *(column.ratio for one in shown for column in one.columns)])
    panels = "".join(_panel(kind, shown, min(top * 1.05, _MOST)) for kind in Kind)
    return (
        f'<div class="strip" role="img" aria-label="Verdicts of {counted}">{cells}</div>'
        f'<p class="note">{counted.capitalize()} of this model, the present one last. Tall, red: drifted; half, green: '
        f'stable; low: too little to judge.</p><div class="panels">{panels}</div>'
        '<p class="note">Each point is the worst column of a check, as a multiple of its threshold (dashed): above is '
        "drift.</p>"
    )


def _panel(kind: Kind, shown: Sequence[Verdict], top: float) -> str:
    ratios = [(one, [c.ratio for c in one.columns if c.kind is kind]) for one in shown]
    points = [(_when(one).timestamp(), max(found)) for one, found in ratios if found]
    head = f'<div class="panel"><h3>{kind.capitalize()}<small>{_KINDS[kind]}</small></h3>'
    if not points:
        return f'{head}<p class="note">Not judged yet.</p></div>'
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    first, last = points[0][0], points[-1][0]

    def x(time: float) -> float:
        return _LEFT + wide * ((time - first) / (last - first) if last > first else 1.0)

    def y(ratio: float) -> float:
        return _TOP + high * (1 - min(ratio, top) / top)

    line = " ".join(f"{x(time):.1f},{y(ratio):.1f}" for time, ratio in points)
    dots = "".join(
        f'<circle class="{"over" if ratio > 1 else "under"}" cx="{x(time):.1f}" cy="{y(ratio):.1f}" '
        f'r="{4.5 if place == len(points) - 1 else 2.4}"/>'
        for place, (time, ratio) in enumerate(points)
    )
    begin, end = (datetime.fromtimestamp(time, _when(shown[-1]).tzinfo) for time in (first, last))
    dates = f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{_time(end)}</text>'
    if last > first:
        dates += f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{begin:%Y-%m-%d}</text>'
    return (
        f'{head}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{kind}: worst ratio of each check; '
        f'now {points[-1][1]:.2f}">'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(1):.1f}" y2="{y(1):.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{y(1) + 4:.1f}" text-anchor="end">1</text>'
        f'<text x="{_LEFT - 5}" y="{y(0) + 3:.1f}" text-anchor="end">0</text>'
        f'<polyline class="line" points="{line}"/>{dots}{dates}</svg></div>'
    )


def _when(verdict: Verdict) -> datetime:
    return verdict.end or verdict.checked


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
