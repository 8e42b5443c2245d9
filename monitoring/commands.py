"""What `bloodyspy` gains from here: commands that need more than its own package, joined by an entry point."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def status(
    check: Annotated[bool, typer.Option("--check", help="exit code 3 where somebody should look")] = False,
) -> None:
    """Where the loop stands, in ten lines, and what to do next."""
    from bloodyspy.cli.terminal import console, context
    from monitoring.status import status as ask

    lines = ask(*context())
    width = max(len(line.name) for line in lines)
    for line in lines:
        mark = "!" if line.trouble else " "
        console.print(f"{mark} {line.name:<{width}}  {line.words}", soft_wrap=True, highlight=False)
    if check and any(line.trouble for line in lines):
        raise typer.Exit(3)
