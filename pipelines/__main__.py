"""``python -m pipelines FLOW``: each flow by hand, in this process, with no server to start first."""

from typing import Annotated

import typer
from pydantic import ValidationError

from bloodyspy.cli.terminal import console, run
from bloodyspy.errors import PromotionError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The flows, run here and now.")

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


@app.command()
def approve(
    version: Annotated[int, typer.Argument(help="of the registered model")],
    reason: Annotated[str, typer.Option(help="for the audit log")],
    reject: Annotated[bool, typer.Option("--reject", help="it shall not be promoted")] = False,
    by: Annotated[str | None, typer.Option(help="who says so  [default: this account and machine]")] = None,
) -> None:
    """Let a version be promoted that the gate lets through, and wake the flow run that waits for it."""
    from bloodyspy.settings import load_settings
    from pipelines.approval import Answer, answer

    settings = load_settings()
    try:
        given = Answer(approver=by or settings.actor_name, reason=reason, approve=not reject)
    except ValidationError as exc:
        raise PromotionError("An answer needs a name and a reason: that is what the audit log keeps.") from exc
    done, waited = answer(version, given, settings)
    console.print(f"Recorded: {done.words}", soft_wrap=True)
    if waited:
        console.print("The flow run that waits was told.")
    else:
        console.print("No flow run waits for it: `python -m pipelines promote` goes on from here.")


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="for the audit log")],
    to: Annotated[int | None, typer.Option(help="a version  [default: the one that answered before]")] = None,
) -> None:
    """Let an earlier version answer again; code, data and params stay as they are."""
    from pipelines.release import rollback as flow

    done = flow(reason, to)
    console.print(
        f"Version {done.version} answers; its golden answers are those of its assembly. {done.words}",
        soft_wrap=True,
    )


@app.command("check-drift")
def check_drift() -> None:
    """Judge the newest observations against the champion's reference."""
    from pipelines.check_drift import check_drift as flow

    check = flow()
    kind = " (synthetic: the model was trained on drawn cells)" if check.verdict.synthetic else ""
    console.print(f"{check.verdict.overall}{kind}: {check.verdict.reason}\n{check.page}", soft_wrap=True)


@app.command()
def queue() -> None:
    """Choose the answered pictures that are worth a person's look, for the service to show."""
    from pipelines.queue import queue as flow

    console.print(f"{flow():,} pictures are worth a look.")


@app.command("take-labels")
def take_labels() -> None:
    """Take pictures that people agree on into data/, and give the data set a version."""
    from pipelines.take_labels import take_labels as flow

    version = flow()
    console.print(f"Data version {version}" if version else "Nothing waits to be taken into data/.")


@app.command()
def retrain(
    reason: Annotated[
        str | None, typer.Option(help="for the audit log  [default: ask drift, labels and the calendar]")
    ] = None,
) -> None:
    """The loop: train anew where there is a reason, and promote what comes of it."""
    from pipelines.retrain import retrain as flow

    console.print(flow(reason).words, soft_wrap=True)


@app.command()
def watch() -> None:
    """Look at the new champion; one that is shown to be worse than the gate saw it is taken back."""
    from pipelines.watch import watch as flow

    found = flow()
    console.print(found.words if found else "Nobody is watched.", soft_wrap=True)


@app.command()
def upkeep() -> None:
    """Make the store of observations small, and remove what is too old."""
    from pipelines.upkeep import upkeep as flow

    flow()


@app.command()
def lifecycle(source: Source = None, checksum: Checksum = None) -> None:
    """All of it, and a rehearsal of serving and watching."""
    from pipelines import summary
    from pipelines.lifecycle import lifecycle as flow

    done = flow(source, checksum)
    console.print(summary.lifecycle(done))
    console.print(summary.commands(done), soft_wrap=True, highlight=False)


def main() -> None:
    """Entry point."""
    run(app)


if __name__ == "__main__":
    main()
