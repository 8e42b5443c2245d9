"""What `bloodyspy` gains from here: commands that need more than its own package, joined by an entry point."""

from pathlib import Path
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


@app.command("drift-drill")
def drift_drill(
    window: Annotated[int | None, typer.Option(min=10, help="rows of a window  [default: monitoring.window]")] = None,
    windows: Annotated[int, typer.Option(min=4, help="judged of each fault and severity")] = 40,
    pictures: Annotated[int, typer.Option(min=10, help="held-out ones that are put under each fault")] = 200,
    elsewhere: Annotated[
        list[Path] | None, typer.Option(help="a folder of another laboratory's pictures; may be given several times")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="a file for the numbers, as JSON")] = None,
) -> None:
    """Try the drift check with known faults of stain, light, focus and camera on the champion's held-out pictures."""
    from bloodyspy.adapters import registry
    from bloodyspy.cli.terminal import console, context
    from bloodyspy.errors import RegistryError
    from bloodyspy.model.classifier import Classifier
    from monitoring.check import rule_of
    from monitoring.drill import drill, table

    settings, params = context()
    champion = registry.champion(settings)
    if champion is None:
        raise RegistryError("There is no champion to try. Promote one: `python -m pipelines promote`.")
    classifier = Classifier.load(registry.artefact_of(champion.number, settings))
    folders = elsewhere or [settings.root / folder for folder in params.evaluation.external.values()]
    done = drill(
        classifier,
        settings,
        window or params.monitoring.window,
        rule_of(params).rate,
        windows=windows,
        pictures=pictures,
        elsewhere=folders,
    )
    if to is not None:
        to.write_text(done.model_dump_json(indent=2) + "\n", encoding="utf-8")
    console.print(table(done))
