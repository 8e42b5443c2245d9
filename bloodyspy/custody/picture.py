"""A trace as a picture: one box a step, from top to bottom."""

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from bloodyspy.custody.tracing import Step, Trace
from bloodyspy.evaluation.figures import DPI, INK, MUTED, PURPLE, RED, TEAL

_WIDTH, _LINE, _PAD, _GAP = 9.0, 0.21, 0.16, 0.34  # inches
_COLUMNS = 92  # characters of a line


def draw(trace: Trace) -> Figure:
    """The way, its boxes as high as their words need."""
    told = [(step, _lines(step)) for step in trace.steps]
    height = sum(_height(lines) + _GAP for _, lines in told) + 0.6
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _WIDTH), ylim=(0, height))
    axes.axis("off")
    asked = f"version {trace.asked}" if trace.asked.isdecimal() else trace.asked
    axes.text(0.5, height - 0.34, f"What {asked} rests on", fontsize=12, color=INK, weight="bold", parse_math=False)
    top = height - 0.6
    for number, (step, lines) in enumerate(told):
        tall = _height(lines)
        color = RED if step.fault else PURPLE if step.joint in ("prediction", "version") else TEAL
        axes.add_patch(
            FancyBboxPatch(
                (0.5, top - tall), _WIDTH - 1, tall, boxstyle="round,pad=0,rounding_size=0.08", fc="white", ec=color
            )
        )
        axes.text(0.64, top - _PAD, step.joint, fontsize=8, color=color, weight="bold", va="top", parse_math=False)
        for place, (words, ink) in enumerate(lines):
            axes.text(2.0, top - _PAD - place * _LINE, words, fontsize=8, color=ink, va="top", parse_math=False)
        if number + 1 < len(told):
            axes.annotate(
                "",
                (_WIDTH / 2, top - tall - _GAP),
                (_WIDTH / 2, top - tall),
                arrowprops={"arrowstyle": "-|>", "color": MUTED},
            )
        top -= tall + _GAP
    return figure


def save(trace: Trace, path: Path) -> None:
    """Write the picture; its format is that of the name (PNG, SVG, PDF). The same trace gives the same bytes."""
    dated = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix.lower())
    # the names inside an SVG come from chance otherwise
    with mpl.rc_context({"svg.hashsalt": "bloodyspy"}):
        draw(trace).savefig(path, dpi=DPI, metadata={dated: None} if dated else None)


def _height(lines: list[tuple[str, str]]) -> float:
    return 2 * _PAD + _LINE * (len(lines) - 0.35)


def _lines(step: Step) -> list[tuple[str, str]]:
    lines = [(words, INK) for words in textwrap.wrap(step.name, _COLUMNS, max_lines=4, placeholder=" …")]
    for key, value in step.facts.items():
        lines += [(words, MUTED) for words in textwrap.wrap(f"{key}: {value}", _COLUMNS)]
    if step.fault:
        lines += [(words, RED) for words in textwrap.wrap(step.fault, _COLUMNS)]
    return lines
