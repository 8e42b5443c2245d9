"""Images in, and what is held."""

from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context
from bloodyspy.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Images in, and what is held.")


@app.command("import")
def data_import(
    source: Annotated[str, typer.Argument(help="a folder per class, a zip of one, its URL, `synthetic` or `pbc`")],
    checksum: Annotated[str | None, typer.Option(help="SHA-256 of the archive; required for a URL")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="start from nothing instead of adding")] = False,
) -> None:
    """Bring images into data/, all or nothing; what is not taken is listed with its reason."""
    from bloodyspy.dataset.importing import import_images

    settings, params = context()
    report = import_images(source, settings, params, checksum=checksum, replace=replace)
    table = Table(title=report.title, title_justify="left")
    for heading in report.headings:
        table.add_column(heading, justify="left" if heading == report.headings[0] else "right")
    for row in report.rows():
        table.add_row(*row)
    console.print(table)
    if report.quarantined:
        console.print(f"{report.quarantined} files were not taken: each is in {settings.data / 'quarantine.csv'}.")
    console.print("Version it with `dvc add data`, or let `make lifecycle` do so.")


@app.command("status")
def data_status() -> None:
    """What data/ holds: version, images per class, where they came from."""
    from bloodyspy.dataset.version import data_version, read_dataset

    settings = load_settings()
    info = read_dataset(settings.data)
    kind = "synthetic (drawn, not photographed)" if info.synthetic else "photographs"
    console.print(f"data/ holds {kind}; version {data_version(settings.root)}.")
    for source in info.sources:
        console.print(f"  {source.name}: {source.taken} taken, {source.quarantined} quarantined")
