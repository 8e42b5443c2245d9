"""What `bloodyspy` gains from here: commands that need more than its own package, joined by an entry point."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def status(
    check: Annotated[bool, typer.Option("--check", help="exit code 3 where somebody should look")] = False,
) -> None:
    """Where the loop stands, in ten lines, and what to do next."""
    from rich.table import Table

    from bloodyspy.cli.terminal import console, context
    from monitoring.status import status as ask

    lines = ask(*context())
    table = Table.grid(padding=(0, 2))
    for line in lines:
        table.add_row("!" if line.trouble else " ", line.name, line.words)
    console.print(table)
    if check and any(line.trouble for line in lines):
        raise typer.Exit(3)
