"""The chapter of a card that tells what changed since the version that was released before."""

from dataclasses import dataclass

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.model_card.document import Cell, Fact, Paragraph, Section, Table, Text, words
from bloodyspy.evaluation.model_card.facts import Facts, word
from bloodyspy.evaluation.model_card.previous import PREVIOUS
from bloodyspy.evaluation.model_card.results import estimated
from bloodyspy.model.artifact import METRICS, SPEC

_TITLE = "Since the version before"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the facts of the two stand."""

    spec: str = f"{SPEC}#"
    scores: str = f"{METRICS}#"
    before: str = f"{PREVIOUS}#"
    """A :class:`.previous.Previous`."""


def changes(facts: Facts) -> Section:
    """This model beside the one that was released when it was evaluated."""
    if not facts.has(f"{PREVIOUS}#"):
        none = words("No other version that this one could be compared with was released when this card was written.")
        return Section(_TITLE, (Paragraph(none),))
    return Section(_TITLE, beside(facts, Places()))


def beside(facts: Facts, at: Places) -> tuple[Paragraph, Table]:
    """Two versions: whether they can be compared, and their identity, scores and cost side by side."""
    same = _alike(facts, at, "test_digest", f"{at.scores}/test_digest")
    version = facts.count(f"{at.before}/version")
    headings = ((), words("this model"), words("version {n}", n=version), words("difference"))
    table = Table(headings, (*_identity(facts, at), *_scores(facts, at, same), *_cost(facts, at)))
    return Paragraph(_comparable(facts, at, version, same)), table


def _comparable(facts: Facts, at: Places, version: Fact, same: bool) -> Text:
    if same:
        sealed = "Both were scored on the same sealed images."
    else:
        sealed = "**They were scored on different images**, because the data changed: these scores do not rank them."
    alike = _alike(facts, at, "data_version", f"{at.spec}/data_version")
    data = "Both come from the same data version." if alike else "They come from different data versions."
    return words(
        "The version before is {n}, run `{run}`. {sealed} {data}",
        n=version,
        run=facts.string(f"{at.before}/run_id"),
        sealed=words(sealed),
        data=words(data),
    )


def _alike(facts: Facts, at: Places, key: str, this: str) -> bool:
    return facts.value(f"{at.before}/{key}") == facts.value(this)


def _identity(facts: Facts, at: Places) -> list[tuple[Cell, ...]]:
    named = ((words("candidate"), "candidate"), (words("network"), "network"))
    rows = [_row(name, *((facts.string(f"{place}/{key}"),) for place in (at.spec, at.before))) for name, key in named]
    rows.append(_row(words("weights"), *((facts.count(f"{place}/parameters"),) for place in (at.spec, at.before))))
    return rows


def _scores(facts: Facts, at: Places, same: bool) -> list[tuple[Cell, ...]]:
    """With their differences where both are of the same images; a type that one of them has not seen is left out."""
    test, stress = f"{at.scores}/test", f"{at.scores}/stress"
    stressed = words("mean balanced error under stress"), f"{stress}/mean_balanced_error", "stress_mean_balanced_error"
    compared: list[tuple[Text, str, str, bool]] = [
        (words("accuracy"), f"{test}/accuracy", "accuracy", same),
        (words("balanced accuracy"), f"{test}/balanced_accuracy", "balanced_accuracy", same),
        ((word("macro_f1"),), f"{test}/macro_f1", "macro_f1", same),
        *(
            (words("sensitivity, {c}", c=words(cell)), f"{test}/sensitivity/{cell}", f"sensitivity/{cell}", same)
            for cell in CELL_TYPES
        ),
        (*stressed, _alike(facts, at, "stress_digest", f"{stress}/digest")),
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, this, key, same_images in compared:
        before = f"{at.before}/{key}"
        if facts.has(this) and facts.has(before):
            change = (facts.points(f"{this}/value", f"{before}/value"),) if same_images else words("-")
            rows.append((Cell(name), estimated(facts, this), estimated(facts, before), Cell(change)))
    errors = f"{test}/ece", f"{at.before}/ece"
    change = (facts.points(*errors, digits=2),) if same else words("-")
    rows.append(_row(words("calibration error"), *((facts.percent(place, 2),) for place in errors), change))
    return rows


def _cost(facts: Facts, at: Places) -> list[tuple[Cell, ...]]:
    shown = (("the graph on disk", "megabytes_graph", 1, "MB"), ("a picture takes", "milliseconds_picture", 2, "ms"))
    return [
        _row(
            words(name),
            *((facts.decimal(f"{place}/{key}", digits, unit),) for place in (f"{at.scores}/cost", at.before)),
        )
        for name, key, digits, unit in shown
    ]


def _row(name: Text, *texts: Text) -> tuple[Cell, ...]:
    """Name, this model, the version before, and the difference where one can be told."""
    return tuple(map(Cell, (name, *texts, *(() if len(texts) > 2 else (words("-"),)))))
