"""The differential of one smear."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, errors
from bloodyspy.settings import load_settings

if TYPE_CHECKING:
    from bloodyspy.smear.report import SmearReport

app = typer.Typer()


@app.command()
def smear(
    folder: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="the pictures of one smear's cells")],
    specimen: Annotated[str | None, typer.Option(help="a pseudonym, for the report")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="the report as a record")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="the differential, a row a type")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="the report as a page to print")] = None,
    cells: Annotated[Path | None, typer.Option("--cells", help="every picture's answer, a row each")] = None,
    model: Annotated[str | None, typer.Option(help="a candidate, or a model's folder  [default: the released]")] = None,
    ig_limit: Annotated[float, typer.Option(min=0.01, max=99, help="percent of ig that is flagged above")] = 2.0,
    precision: Annotated[float, typer.Option(min=0.1, max=50, help="points, wanted to either side of a share")] = 5.0,
) -> None:
    """The leukocyte differential of one smear; exit code 3 where some pictures could not be read."""
    from rich.progress import track

    from bloodyspy.images.files import find
    from bloodyspy.model.prediction import open_model
    from bloodyspy.model.release import read_release
    from bloodyspy.smear.differential import Question
    from bloodyspy.smear.reading import gallery, read_cells
    from bloodyspy.smear.reading import table as table_of_cells
    from bloodyspy.smear.report import SmearReport, page, write
    from bloodyspy.specimen import check

    if specimen:
        check(specimen)  # before the work
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = load_settings()
    classifier = open_model(settings, model)
    version = read_release(settings.release).version if model is None else None
    found = find(folder)
    files = [(path, str(path)) for path in found.files]
    read = list(
        track(
            read_cells(classifier, files),
            "Classifying",
            len(files),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
    )
    question = Question(ig_limit=ig_limit, half_width=precision)
    report = SmearReport.of(read, classifier.artefact, specimen, version, question)
    if json is not None:
        write(json, report.model_dump_json(indent=2) + "\n")
    if table is not None:
        write(table, report.table())
    if cells is not None:
        write(cells, table_of_cells(read, report.run_id))
    if html is not None:
        write(html, page(report, gallery(read)))
    _show(report)
    if found.left_out:
        console.print(f"{found.left_out:,} files of the folders were left out: hidden, or not named like pictures.")
    if report.unreadable:
        errors.print(f"{report.unreadable:,} files could not be read:")
        for file in report.unreadable_files[:20]:
            errors.print(f"  {file.name}: {file.error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(3)


def _show(report: "SmearReport") -> None:
    found = report.differential
    level = f"{100 * found.question.level:g} %"
    table = Table(title=f"{found.white:,} white cells, by {report.model}; percent ({level} interval)")
    for heading in ("type", "counted", "as counted", "corrected", "more to count"):
        table.add_column(heading, justify="left" if heading == "type" else "right")
    for cell in found.classes:
        more = "not by counting" if cell.more is None else f"{cell.more:,}"
        table.add_row(cell.cell_type, f"{cell.counted:,}", str(cell.raw), str(cell.corrected), more)
    console.print(table)
    red = found.erythroblasts
    console.print(
        f"{red.counted:,} erythroblasts: {red.corrected} for each 100 white cells. {found.platelets:,} platelets."
    )
    console.print(
        f"ig above {found.ig.limit:g} %: {found.ig.above}. In review {found.in_review:,}, rejected {found.rejected:,}."
    )
    if report.synthetic:
        console.print("Synthetic: the model was trained on drawn cells.")
    console.print("Research use only: this is not a medical device.")
