"""The DVC stages."""

from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context

app = typer.Typer()


@app.command()
def validate() -> None:
    """List every image with its facts and its part, and check the list (DVC stage)."""
    from bloodyspy.adapters import expectations
    from bloodyspy.dataset.validation import validate as validate_data

    settings, params = context()
    report = validate_data(settings, params, expectations.check)
    console.print(report.summary)


@app.command()
def prepare(input_name: Annotated[str, typer.Argument(metavar="INPUT", help="a name under `inputs`")]) -> None:
    """Decode every picture once for one network input (DVC stage)."""
    from bloodyspy.dataset.preparation import prepare as prepare_pictures

    settings, params = context()
    console.print(f"Prepared {prepare_pictures(settings, params, input_name)}")


@app.command()
def train(candidate: Annotated[str, typer.Argument(help="a name under `candidates`")]) -> None:
    """Fit one candidate as one MLflow run; goes on where a killed fit stopped (DVC stage)."""
    from bloodyspy.adapters.tracking import recording
    from bloodyspy.model.artifact import NETWORK, sha256
    from bloodyspy.model.fits import fit, read_fit
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import Trained

    settings, params = context()
    with recording(candidate, settings, params) as recorder:
        fit(candidate, settings, params, recorder)
    done = read_fit(settings.fit(candidate))
    trained = Trained(
        candidate=candidate,
        run_id=done.run_id,
        network=sha256(settings.fit(candidate) / NETWORK),
        git_commit=done.git_commit,
        data_version=done.data_version,
        manifest_digest=done.manifest_digest,
    )
    trail.record_once(trained, settings)


@app.command()
def evaluate(candidate: Annotated[str, typer.Argument(help="a name under `candidates`")]) -> None:
    """Measure one fit on held-out pictures and assemble the model directory (DVC stage)."""
    from bloodyspy.adapters.evaluation_log import log_evaluation
    from bloodyspy.evaluation.assembly import assemble
    from bloodyspy.promotion import ledger

    settings, params = context()
    log_evaluation(assemble(candidate, settings, params, partial(ledger.for_fit, settings)), settings, params)


@app.command()
def compare() -> None:
    """Rank the candidates on the validation part (DVC stage)."""
    from bloodyspy.evaluation.comparison import compare as compare_candidates

    settings, params = context()
    comparison = compare_candidates(settings, params)
    kind = " (synthetic: drawn cells)" if comparison.synthetic else ""
    table = Table(title=f"Candidates{kind}, best first by {params.promotion.metric} on the validation part")
    head, *body = comparison.columns()
    for number, heading in enumerate(head):
        table.add_column(heading, justify="right" if number else "left")
    for row in body:
        table.add_row(*row)
    console.print(table)
