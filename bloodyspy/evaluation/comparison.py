"""The candidates side by side, ranked on the validation part."""

import csv
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.cells import CellType
from bloodyspy.errors import DataError, DataMissing
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import METRICS, Artefact
from bloodyspy.model.inference import Precision, Runtime
from bloodyspy.params import Params
from bloodyspy.settings import Settings


class Spread(BaseModel):
    """One score over several seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    standard_deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.2%} ± {self.standard_deviation:.2%}"


class Row(BaseModel):
    """One candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    run_id: str
    digest: str
    """Of its artefact."""
    validation_accuracy: Estimate
    validation_balanced_accuracy: Estimate
    validation_macro_f1: Estimate
    validation_ece: float
    test_accuracy: Estimate
    test_balanced_accuracy: Estimate
    test_macro_f1: Estimate
    test_lowest_sensitivity: Estimate
    test_lowest_type: CellType
    """The type of that sensitivity."""
    test_ece: float
    test_ece_before: float
    """Before the temperature."""
    temperature: float
    stress_mean_balanced_error: Estimate
    external: dict[str, Estimate]
    """Balanced accuracy on each other laboratory's pictures."""
    seeds: int = Field(ge=1)
    """How often the candidate was trained."""
    seeds_test_accuracy: Spread | None
    seeds_test_balanced_accuracy: Spread | None
    parameters: int
    runtime: Runtime
    precision: Precision
    megabytes: float
    """Of the inference graph, 10^6 bytes: what the service loads."""
    memory_mb: float
    milliseconds_1: float
    milliseconds_32: float
    milliseconds_picture: float

    def flat(self) -> dict[str, str | float]:
        """Cells for a table that programs read: ``x``, ``x_low`` and ``x_high`` for each estimate."""
        cells: dict[str, str | float] = {}
        for name in Row.model_fields:
            value = getattr(self, name)
            if isinstance(value, Estimate):
                cells |= value.flat(name)
            elif name == "external":
                for other, estimate in self.external.items():
                    cells |= estimate.flat(f"external_{other}_balanced_accuracy")
            elif isinstance(value, Spread):
                cells |= {f"{name}_mean": value.mean, f"{name}_sd": value.standard_deviation}
            elif value is not None:
                cells[name] = value
        return cells


class Comparison(BaseModel):
    """Candidates, best first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """What they are ranked by, on the validation part."""
    synthetic: bool
    """Whether the numbers come from drawn cells."""
    candidates: dict[str, Row] = Field(min_length=1)
    """By name, best first: a table of names, because ``dvc metrics diff`` looks into no list."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The candidates, best first."""
        return tuple(self.candidates.values())

    @property
    def best(self) -> str:
        """Name of the first candidate."""
        return self.rows[0].candidate

    @property
    def headings(self) -> tuple[str, ...]:
        """Of :meth:`table`."""
        return ("candidate", *(heading for heading, _ in self._shown()))

    def table(self) -> list[tuple[str, ...]]:
        """A row of words for each candidate, best first."""
        return [(row.candidate, *(told(row) for _, told in self._shown())) for row in self.rows]

    def _shown(self) -> list[tuple[str, Callable[[Row], str]]]:
        """Headings and what stands under them; what no candidate has is left out."""

        def elsewhere(name: str) -> Callable[[Row], str]:
            return lambda row: str(row.external[name]) if name in row.external else "-"

        others = dict.fromkeys(name for row in self.rows for name in row.external)
        repeated = any(row.seeds > 1 for row in self.rows)
        seeds: list[tuple[str, Callable[[Row], str]]] = [
            ("seeds", lambda row: str(row.seeds)),
            ("test accuracy, seeds", lambda row: str(row.seeds_test_accuracy or "-")),
            ("test balanced accuracy, seeds", lambda row: str(row.seeds_test_balanced_accuracy or "-")),
        ]
        return [
            ("validation accuracy", lambda row: str(row.validation_accuracy)),
            ("validation balanced accuracy", lambda row: str(row.validation_balanced_accuracy)),
            ("validation macro F1", lambda row: str(row.validation_macro_f1)),
            ("test accuracy", lambda row: str(row.test_accuracy)),
            ("test balanced accuracy", lambda row: str(row.test_balanced_accuracy)),
            ("test macro F1", lambda row: str(row.test_macro_f1)),
            ("test lowest sensitivity", lambda row: str(row.test_lowest_sensitivity)),
            ("  of", lambda row: str(row.test_lowest_type)),
            ("test calibration error", lambda row: f"{row.test_ece:.2%} (untempered {row.test_ece_before:.2%})"),
            ("mean balanced error, stress", lambda row: str(row.stress_mean_balanced_error)),
            *((f"balanced accuracy, {name}", elsewhere(name)) for name in others),
            *(seeds if repeated else ()),
            ("weights", lambda row: f"{row.parameters:,}"),
            ("served by", lambda row: f"{row.runtime} {row.precision}"),
            ("graph", lambda row: f"{row.megabytes:.1f} MB"),
            ("resident memory", lambda row: f"{row.memory_mb:.0f} MB"),
            ("a picture, bytes to answer", lambda row: f"{row.milliseconds_picture:.2f} ms"),
            ("the graph, one picture", lambda row: f"{row.milliseconds_1:.2f} ms"),
            ("the graph, each of a batch of 32", lambda row: f"{row.milliseconds_32:.2f} ms"),
        ]

    def columns(self) -> list[tuple[str, ...]]:
        """The table turned by a quarter, heading first: a row of so many figures does not fit a terminal."""
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
        candidates={row.candidate: row for row in sorted(rows, key=rank)},
    )
    s.comparison.parent.mkdir(parents=True, exist_ok=True)
    for file in (s.comparison, s.comparison.with_suffix(".csv")):
        file.unlink(missing_ok=True)  # it may be a hard link into DVC's cache, which writing would change
    s.comparison.write_text(comparison.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with s.comparison.with_suffix(".csv").open("w", encoding="utf-8", newline="") as stream:
        flat = [row.flat() for row in comparison.rows]
        writer = csv.DictWriter(
            stream, list(dict.fromkeys(name for cells in flat for name in cells)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(flat)
    return comparison


def read_comparison(s: Settings) -> Comparison:
    """What :func:`compare` wrote.

    Raises:
        DataMissing: it did not run yet.
        DataError: another release of BloodySpy wrote it.
    """
    try:
        return Comparison.model_validate_json(s.comparison.read_bytes())
    except FileNotFoundError as exc:
        raise DataMissing(s.comparison, "dvc repro") from exc
    except ValidationError as exc:
        raise DataError(f"{s.comparison} is of another release of BloodySpy. Run `dvc repro` first.") from exc


def read_scores(artefact: Artefact) -> Scores:
    """The scores inside an artefact."""
    return Scores.model_validate_json((artefact.path / METRICS).read_bytes())


def _open(s: Settings, name: str) -> tuple[Artefact, Scores]:
    if not s.artefact(name).is_dir():
        raise DataMissing(s.artefact(name), "dvc repro")
    artefact = Artefact.open(s.artefact(name))
    return artefact, read_scores(artefact)


def _row(artefact: Artefact, scores: Scores) -> Row:
    spec, validation, test, cost, seeds = artefact.spec, scores.validation, scores.test, scores.cost, scores.seeds
    lowest = min(test.sensitivity, key=lambda cell: test.sensitivity[cell].value)

    def spread(score: str) -> Spread | None:
        if seeds is None:
            return None
        return Spread(mean=getattr(seeds.mean, score), standard_deviation=getattr(seeds.standard_deviation, score))

    return Row(
        candidate=spec.candidate,
        run_id=spec.run_id,
        digest=artefact.digest,
        validation_accuracy=validation.accuracy,
        validation_balanced_accuracy=validation.balanced_accuracy,
        validation_macro_f1=validation.macro_f1,
        validation_ece=validation.ece,
        test_accuracy=test.accuracy,
        test_balanced_accuracy=test.balanced_accuracy,
        test_macro_f1=test.macro_f1,
        test_lowest_sensitivity=test.sensitivity[lowest],
        test_lowest_type=lowest,
        test_ece=test.ece,
        test_ece_before=scores.calibration.test_before.ece,
        temperature=spec.temperature,
        stress_mean_balanced_error=scores.stress.mean_balanced_error,
        external={other.name: other.metrics.balanced_accuracy for other in scores.external},
        seeds=len(seeds.runs) if seeds else 1,
        seeds_test_accuracy=spread("test_accuracy"),
        seeds_test_balanced_accuracy=spread("test_balanced_accuracy"),
        parameters=spec.parameters,
        runtime=spec.runtime,
        precision=spec.precision,
        megabytes=cost.megabytes_graph,
        memory_mb=cost.memory_mb,
        milliseconds_1=cost.milliseconds_1,
        milliseconds_32=cost.milliseconds_32,
        milliseconds_picture=cost.milliseconds_picture,
    )
