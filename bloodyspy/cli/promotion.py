"""Who may answer: the gate, a person, and the way back."""

import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context, errors

app = typer.Typer()
gate_app = typer.Typer(no_args_is_help=True, help="The rule of promotion.")
app.add_typer(gate_app, name="gate")


@app.command()
def decision(version: Annotated[int, typer.Argument(help="of the registered model")]) -> None:
    """What the gate decided about a version, criterion by criterion."""
    from bloodyspy.adapters import registry
    from bloodyspy.promotion.release import recorded

    found = recorded(registry.version(context()[0], version).tags, version)
    if found is None:
        console.print(f"Nobody decided about version {version} here.")
        raise typer.Exit(3)
    console.print(found.summary, soft_wrap=True)
    table = Table(*found.headings)
    for row in found.table():
        table.add_row(*row)
    console.print(table)


@app.command()
def approve(
    version: Annotated[int, typer.Argument(help="of the registered model")],
    reason: Annotated[str, typer.Option(help="for the audit log")],
    reject: Annotated[bool, typer.Option("--reject", help="it shall not be promoted")] = False,
    by: Annotated[str | None, typer.Option(help="who says so  [default: this account and machine]")] = None,
) -> None:
    """Let a version be promoted that the gate lets through, and wake the flow run that waits for it."""
    named = ["--by", by] if by else []
    _flow("approve", str(version), "--reason", reason, *(["--reject"] if reject else []), *named)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="for the audit log")],
    to: Annotated[int | None, typer.Option(help="a version  [default: the one that answered before]")] = None,
) -> None:
    """Let an earlier version answer again; code, data and params stay as they are."""
    _flow("rollback", "--reason", reason, *(["--to", str(to)] if to is not None else []))


def _flow(*words: str) -> NoReturn:
    """Become ``python -m pipelines``: the flows stand above this package, so it does not import them."""
    os.execv(sys.executable, [sys.executable, "-m", "pipelines", *words])  # noqa: S606


@gate_app.command("simulate")
def gate_simulate(
    challengers: Annotated[int, typer.Option(min=10, max=100_000, help="drawn of each kind")] = 1000,
    champion: Annotated[str | None, typer.Option(help="a candidate to take for it  [default: the best]")] = None,
) -> None:
    """Which share of drawn challengers the gate lets through, at this project's test sizes."""
    from rich.progress import track

    from bloodyspy.promotion.evidence import world
    from bloodyspy.promotion.simulation import SCENARIOS, simulate

    settings, params = context()
    drawn_from = world(champion, settings)
    table = Table(title=f"Promoted by the policy `{params.promotion.policy}`, of {challengers:,} of each kind")
    headings = ("challengers", "should be", "this gate", "one position an image", "the usual rule")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in headings[:2] else "right")
    for number, scenario in enumerate(track(SCENARIOS, "Deciding", console=errors, transient=True)):
        found = simulate(drawn_from, params.promotion, scenario, challengers, seed=number)
        table.add_row(found.scenario, found.wanted, *map(str, found.shares))
    console.print(table)
    console.print(drawn_from.words, soft_wrap=True)
