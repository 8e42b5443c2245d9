"""The candidates side by side, ranked on the validation part."""

import csv
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bloodyspy.errors import DataMissing
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import GRAPH, METRICS, Artefact
from bloodyspy.params import Params
from bloodyspy.settings import Settings


class Row(BaseModel):
    """One candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    run_id: str
    digest: str
    """Of its artefact."""
    parameters: int
    megabytes: float
    """Of the inference graph, 10^6 bytes: what the service loads."""
    validation_accuracy: Estimate
    validation_balanced_accuracy: Estimate
    validation_macro_f1: Estimate
    validation_ece: float
    test_accuracy: Estimate
    test_balanced_accuracy: Estimate
    test_macro_f1: Estimate
    test_ece: float

    def flat(self) -> dict[str, str | float]:
        """Numbers for a table that programs read: ``x``, ``x_low`` and ``x_high`` for each estimate."""
        cells: dict[str, str | float] = {}
        for name in Row.model_fields:
            value = getattr(self, name)
            if isinstance(value, Estimate):
                cells |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                cells[name] = value
        return cells


class Comparison(BaseModel):
    """Candidates, best first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """What they are ranked by, on the validation part."""
    synthetic: bool
    """Whether the numbers come from drawn cells."""
    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({row.candidate for row in self.rows}) != len(self.rows):
            raise ValueError("a candidate is listed twice")
        return self

    @property
    def best(self) -> str:
        """Name of the first candidate."""
        return self.rows[0].candidate

    @property
    def headings(self) -> tuple[str, ...]:
        """Of :meth:`table`."""
        scores = ("accuracy", "macro F1", "calibration error")
        return ("candidate", *(f"{part} {name}" for part in ("validation", "test") for name in scores), "weights", "MB")

    def table(self) -> list[tuple[str, ...]]:
        """A row of words for each candidate, best first."""
        return [
            (
                row.candidate,
                *(str(row.validation_accuracy), str(row.validation_macro_f1), f"{row.validation_ece:.1%}"),
                *(str(row.test_accuracy), str(row.test_macro_f1), f"{row.test_ece:.1%}"),
                *(f"{row.parameters:,}", f"{row.megabytes:.1f}"),
            )
            for row in self.rows
        ]

    def columns(self) -> list[tuple[str, ...]]:
        """The table turned by a quarter, heading first: a row of nine figures does not fit a terminal."""
        return list(zip(self.headings, *self.table(), strict=True))


def compare(s: Settings, p: Params) -> Comparison:
    """Rank the candidates of params.yaml and write ``build/comparison.json`` and ``.csv``.

    The sealed test part is shown, never ranked by. Of two equal candidates the one with fewer weights is better.

    Raises:
        DataMissing: a candidate was not evaluated.
        ArtefactInvalid: a candidate's directory is damaged.
    """
    opened = [_open(s, name) for name in p.candidates]
    rows = [_row(artefact, scores) for artefact, scores in opened]
    metric = p.promotion.metric

    def rank(row: Row) -> tuple[float, int, str]:
        estimate: Estimate = getattr(row, f"validation_{metric}")
        return -estimate.value, row.parameters, row.candidate

    comparison = Comparison(
        metric=metric,
        synthetic=any(artefact.spec.synthetic for artefact, _ in opened),
        rows=tuple(sorted(rows, key=rank)),
    )
    s.comparison.parent.mkdir(parents=True, exist_ok=True)
    for file in (s.comparison, s.comparison.with_suffix(".csv")):
        file.unlink(missing_ok=True)  # it may be a hard link into DVC's cache, which writing would change
    s.comparison.write_text(comparison.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with s.comparison.with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0].flat()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.flat() for row in comparison.rows)
    return comparison


def read_comparison(s: Settings) -> Comparison:
    """What :func:`compare` wrote.

    Raises:
        DataMissing: it did not run yet.
    """
    try:
        return Comparison.model_validate_json(s.comparison.read_bytes())
    except FileNotFoundError as exc:
        raise DataMissing(s.comparison, "dvc repro") from exc


def read_scores(artefact: Artefact) -> Scores:
    """The scores inside an artefact."""
    return Scores.model_validate_json((artefact.path / METRICS).read_bytes())


def _open(s: Settings, name: str) -> tuple[Artefact, Scores]:
    if not s.artefact(name).is_dir():
        raise DataMissing(s.artefact(name), "dvc repro")
    artefact = Artefact.open(s.artefact(name))
    return artefact, read_scores(artefact)


def _row(artefact: Artefact, scores: Scores) -> Row:
    spec, validation, test = artefact.spec, scores.validation, scores.test
    return Row(
        candidate=spec.candidate,
        run_id=spec.run_id,
        digest=artefact.digest,
        parameters=spec.parameters,
        megabytes=round((artefact.path / GRAPH).stat().st_size / 1e6, 3),
        validation_accuracy=validation.accuracy,
        validation_balanced_accuracy=validation.balanced_accuracy,
        validation_macro_f1=validation.macro_f1,
        validation_ece=validation.ece,
        test_accuracy=test.accuracy,
        test_balanced_accuracy=test.balanced_accuracy,
        test_macro_f1=test.macro_f1,
        test_ece=test.ece,
    )
