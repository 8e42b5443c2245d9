"""What `bloodyspy` gains from here: commands that need more than its own package, joined by an entry point."""

import typer

app = typer.Typer()
