"""``python -m pipelines FLOW``: each flow by hand, in this process, with no server to start first."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from bloodyspy.errors import BloodySpyError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The flows, run here and now.")
console = Console()

Source = Annotated[str | None, typer.Option("--data", help="a folder, zip, URL, `synthetic` or `pbc` to import first")]
Checksum = Annotated[str | None, typer.Option(help="SHA-256 of the archive; required for a URL")]


@app.command("version-data")
def version_data(source: Source = None, checksum: Checksum = None) -> None:
    """Import images where some are named, and give the data set a version."""
    from pipelines.version_data import version_data as flow

    console.print(f"Data version {flow(source, checksum)}")


@app.command()
def train() -> None:
    """Run the stages that are out of date and compare the candidates."""
    from pipelines import summary
    from pipelines.train import train as flow

    console.print(summary.comparison(flow()))


@app.command()
def promote() -> None:
    """Hold the best candidate against the champion, and release the champion."""
    from pipelines import summary
    from pipelines.promote import promote as flow

    done = flow()
    console.print(summary.promotion(done))
    console.print(f"Champion: version {done.champion}, bento {done.bento}")


@app.command("check-drift")
def check_drift() -> None:
    """Judge the newest observations against the champion's reference."""
    from pipelines.check_drift import check_drift as flow

    check = flow()
    kind = " (synthetic: the model was trained on drawn cells)" if check.verdict.synthetic else ""
    console.print(f"[bold]{check.verdict.overall}[/]{kind}: {check.verdict.reason}\n{check.page}", soft_wrap=True)


@app.command()
def lifecycle(source: Source = None, checksum: Checksum = None) -> None:
    """All of it, and a rehearsal of serving and watching."""
    from pipelines import summary
    from pipelines.lifecycle import lifecycle as flow

    done = flow(source, checksum)
    console.print(summary.lifecycle(done))
    console.print(summary.commands(done), soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    """Entry point: errors of ours are one sentence and exit code 1."""
    try:
        app()
    except BloodySpyError as exc:
        Console(stderr=True).print(f"[bold red]error[/]: {exc}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
