"""Great Expectations: what a data set must be before anything is trained on it."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.core import ExpectationValidationResult, RunIdentifier
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.row_conditions import Column

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import COLUMNS
from bloodyspy.dataset.split import Part
from bloodyspy.dataset.validation import LABELS_OF_CONTENT, NEAREST_IN_OTHER_PART, Findings
from bloodyspy.images.decode import FORMATS
from bloodyspy.params import Params

_SITE = "report"
_NAME = "data set"
_SHOWN = 3  # examples in a sentence; the report has more

# Ranges that the definitions in images/statistics.py imply; a value outside means that something is broken.
_BYTE_SCALE = (
    *("brightness", "contrast", "darkest", "lightest", "red", "green", "blue", "green_red", "blue_yellow"),
    *("stain_spread", "saturation", "background"),
)


def check(frame: pd.DataFrame, params: Params, report: Path) -> Findings:
    """Check a data set and write Data Docs.

    Args:
        frame: the manifest with the columns that :mod:`bloodyspy.dataset.validation` adds.
        params: the minimums, the allowed sides, and how near a near-duplicate is.
        report: folder of the Data Docs; ``index.html`` is their door.
    """
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(report)},
    }
    # Stores in memory, and no other site: by default the pages would go to a temporary folder that nobody would find.
    config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), data_docs_sites={_SITE: site})
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("data").add_dataframe_asset("manifest")
    suite = context.suites.add(gx.ExpectationSuite(name=_NAME, expectations=list(_expectations(params))))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=_NAME, data=asset.add_batch_definition_whole_dataframe("all"), suite=suite)
    )
    checkpoint = gx.Checkpoint(
        name=_NAME,
        validation_definitions=[definition],
        actions=[gx.checkpoint.UpdateDataDocsAction(name="report", site_names=[_SITE])],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["path"],
            "partial_unexpected_count": 20,
        },
    )
    result = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": frame},
        run_id=RunIdentifier(run_name="validate", run_time=datetime.datetime.now(datetime.UTC)),
    )
    order = [expectation.description for expectation in suite.expectations]
    results = [one for run in result.run_results.values() for one in run.results]
    results.sort(key=lambda one: order.index(one.expectation_config.description))
    return Findings(len(results), tuple(_in_words(one) for one in results if not one.success))


def _expectations(params: Params) -> Iterator[Expectation]:
    """The suite. Each description is the sentence a person reads when it fails."""
    limits = params.validation
    cells = [cell.value for cell in CELL_TYPES]
    yield gxe.ExpectTableColumnsToMatchOrderedList(
        column_list=[*COLUMNS, LABELS_OF_CONTENT, NEAREST_IN_OTHER_PART],
        description="The columns are those of a manifest",
    )
    for column in (name for name in COLUMNS if name != "subtype"):
        yield gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"Every image has a value in {column}")
    yield gxe.ExpectColumnValuesToBeInSet(
        column="cell_type", value_set=cells, description="Every image is of one of the eight cell types"
    )
    for cell in cells:
        yield gxe.ExpectTableRowCountToBeBetween(
            min_value=limits.minimum_per_class,
            row_condition=Column("cell_type") == cell,
            description=f"There are at least {limits.minimum_per_class} images of the cell type {cell}",
        )
    yield gxe.ExpectColumnValuesToBeInSet(
        column="part", value_set=[part.value for part in Part], description="Every image is in a known part"
    )
    for part in Part:
        if part is not Part.WITHHELD:
            yield gxe.ExpectColumnDistinctValuesToContainSet(
                column="cell_type",
                value_set=cells,
                row_condition=Column("part") == part.value,
                description=f"Every cell type is in the {part} part",
            )
    yield gxe.ExpectColumnValuesToBeUnique(column="path", description="No path is listed twice")
    yield gxe.ExpectColumnValuesToBeUnique(column="sha256", description="No image is held twice")
    yield gxe.ExpectColumnValuesToBeBetween(
        column=LABELS_OF_CONTENT, min_value=1, max_value=1, description="No image is held under two labels"
    )
    bits = params.split.near_duplicate_bits
    yield gxe.ExpectColumnValuesToBeBetween(
        column=NEAREST_IN_OTHER_PART,
        min_value=bits,
        strict_min=True,
        description=f"No image is within {bits} bits of an image in another part (a leak between parts)",
    )
    yield gxe.ExpectColumnValuesToMatchRegex(
        column="path", regex=rf"^(?:{'|'.join(cells)})/[^/]+$", description="Every path is a cell type and a file name"
    )
    for column in ("sha256", "phash"):
        yield gxe.ExpectColumnValuesToMatchRegex(
            column=column, regex="^[0-9a-f]{64}$", description=f"Every {column} is 64 hex digits"
        )
    yield gxe.ExpectColumnValuesToBeInSet(
        column="format", value_set=list(FORMATS), description=f"Every image is a {', '.join(FORMATS)}"
    )
    yield from _measures(params)


def _measures(params: Params) -> Iterator[Expectation]:
    limits = params.validation
    for column in ("width", "height"):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=limits.minimum_side,
            max_value=limits.maximum_side,
            description=f"Every {column} is from {limits.minimum_side} to {limits.maximum_side} pixels",
        )
    for column in _BYTE_SCALE:
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=0, max_value=255, description=f"Every {column} is from 0 to 255"
        )
    yield gxe.ExpectColumnValuesToBeBetween(
        column="nucleus_share", min_value=0, max_value=1, description="Every nucleus_share is from 0 to 1"
    )
    for column in ("sharpness", "noise", "edges"):
        yield gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, description=f"Every {column} is at least 0")
    yield gxe.ExpectColumnValuesToBeBetween(
        column="contrast", min_value=0, strict_min=True, description="No image is of one single shade"
    )
    # A delivery scanned with the lamp off or the shutter open; a few such pictures are no reason to stop.
    yield gxe.ExpectColumnQuantileValuesToBeBetween(
        column="brightness",
        quantile_ranges={"quantiles": [0.05, 0.5, 0.95], "value_ranges": [[20, 245], [60, 245], [60, 250]]},
        allow_relative_error=False,
        description="The brightness of most images is that of a smear in transmitted light",
    )


def _in_words(result: ExpectationValidationResult) -> str:
    sentence, seen = result.expectation_config.description, result.result
    count = seen.get("unexpected_count")
    if count:
        examples = [_example(entry) for entry in (seen.get("unexpected_index_list") or [])[:_SHOWN]]
        more = f" and {count - len(examples)} more" if count > len(examples) else ""
        return f"{sentence}: not so for {count} of {seen['element_count']}: {', '.join(examples)}{more}."
    if "partial_missing_list" in seen:
        return f"{sentence}: missing are {', '.join(sorted(seen['partial_missing_list']))}."
    if seen.get("observed_value") is not None:
        return f"{sentence}: found {_plain(seen['observed_value'])}."
    faults = {fault["exception_message"] for fault in _faults(result.exception_info)}
    return f"{sentence}: it could not be checked ({'; '.join(sorted(faults)) or 'no reason given'})."


def _example(entry: dict[str, Any]) -> str:
    value = next((value for key, value in entry.items() if key != "path"), None)
    return f"{entry['path']} ({_plain(value)})" if value is not None else str(entry["path"])


def _plain(value: Any) -> str:
    if isinstance(value, dict) and "values" in value:
        return ", ".join(_plain(part) for part in value["values"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _faults(info: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not info:
        return []
    return [info] if "exception_message" in info else [fault for fault in info.values() if isinstance(fault, dict)]
