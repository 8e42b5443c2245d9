"""The chapters of a card that tell scores: of the held-out parts, by type and sub-type, and how sure answers are."""

import math
from collections import Counter

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.calibration import Reliability
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.model_card.document import (
    Block,
    Cell,
    Curve,
    Heading,
    Interval,
    Label,
    Paragraph,
    Plot,
    Section,
    Table,
    Text,
    words,
)
from bloodyspy.evaluation.model_card.facts import Facts, constant, word
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import METRICS

TEST, VALIDATION = f"{METRICS}#/test", f"{METRICS}#/validation"

# The shortest names that a haematologist reads without a key; the columns of a matrix must fit a phone.
_SHORT = ("ba", "eo", "erb", "ig", "ly", "mo", "neu", "plt")

_COVERAGES = (0.5, 0.8, 0.9, 0.95, 1.0)  # whose nearest points of the risk-coverage curve the table tells


def scores(facts: Facts, found: Scores) -> Section:
    """Scores of both parts, and the sealed one by type."""
    rows = [
        _estimates(facts, "accuracy", words("accuracy")),
        _estimates(facts, "balanced_accuracy", words("balanced accuracy")),
    ]
    rows.append(_estimates(facts, "macro_f1", (word("macro_f1"),)))
    rows.append(_row(words("calibration error"), *((facts.percent(f"{part}/ece", 2),) for part in (TEST, VALIDATION))))
    rows.append(_row(words("log loss"), *((facts.decimal(f"{part}/log_loss", 3),) for part in (TEST, VALIDATION))))
    headings = (
        (),
        words("sealed test part, {n} images", n=facts.count(f"{TEST}/n")),
        words("validation part, {n} images", n=facts.count(f"{VALIDATION}/n")),
    )
    note = words(
        "The smaller figures are the {level} interval: Wilson's for proportions ({wilson}), the percentile "
        "bootstrap over images ({bootstrap}; {resamples} resamples) for balanced accuracy, {macro}, and errors under "
        "stress. The calibration error is the expected one over {bins} bins ({cited}).",
        level=constant("bloodyspy.evaluation.intervals.LEVEL", percent=True),
        wilson=word("wilson"),
        bootstrap=word("bootstrap"),
        resamples=constant("bloodyspy.evaluation.intervals.RESAMPLES"),
        macro=word("macro_f1"),
        bins=constant("bloodyspy.model.calibration.ECE_BINS"),
        cited=word("calibration_error"),
    )
    blocks: list[Block] = [Table(headings, tuple(rows)), Paragraph(note, "note")]
    blocks += [Heading(words("By cell type, sealed test part")), *_by_type(facts, found)]
    blocks.append(_confusion(facts, found))
    blocks += _by_subtype(facts, found)
    worst = words(
        "The worst errors are drawn on the run, as the figure `errors_test`; pictures do not travel in a card."
    )
    return Section("Scores", (*blocks, Paragraph(worst, "note")))


def reliability(facts: Facts, found: Scores) -> Section:
    """The temperature and what it mended."""
    source = f"{METRICS}#/calibration"
    rows = []
    for part, name in (("test", "sealed test part"), ("calibration", "calibration part")):
        for score, label, shown in (("ece", "calibration error", 2), ("log_loss", "log loss", 3)):
            places = [f"{source}/{part}_{when}/{score}" for when in ("before", "after")]
            cells = [facts.percent(p, shown) if score == "ece" else facts.decimal(p, shown) for p in places]
            rows.append(_row(words("{label}, {name}", label=words(label), name=words(name)), *((c,) for c in cells)))
    text = words(
        "A temperature of {temperature} was fitted on the {n} images of the calibration part, which the network "
        "never learned from. It divides the logits whenever the model is loaded; it changes how sure an answer is, "
        "never which one it is.",
        temperature=facts.decimal(f"{source}/temperature", 3),
        n=facts.count(f"{source}/images"),
    )
    table = Table(((), words("before"), words("after")), tuple(rows))
    bins = tuple(
        (
            Cell((facts.percent(f"{place}/confidence"),)),
            Cell((facts.count(f"{place}/images"),)),
            estimated(facts, f"{place}/accuracy"),
        )
        for place in facts.keys(f"{source}/test_after/bins")
    )
    headings = tuple(map(words, ("mean confidence", "images", "accuracy")))
    heading = Heading(words("Reliability after tempering, sealed test part"))
    return Section("Calibration", (Paragraph(text), table, heading, Table(headings, bins), _diagram(facts, found)))


def refusing(facts: Facts, found: Scores) -> Section:
    """Risk and coverage."""
    source = f"{TEST}/risk_coverage"
    rows = tuple(
        _row(
            words("at most {risk} of the answers wrong", risk=facts.percent(f"{point}/risk")),
            (facts.percent(f"{point}/coverage"),),
        )
        for point in facts.keys(f"{source}/coverage_at_risk")
    )
    text = words(
        "Whoever leaves the least sure answers to a person makes fewer errors. The area under the risk-coverage curve "
        "({cited}) is {area} on the sealed test part; smaller is better.",
        cited=word("risk_coverage"),
        area=facts.percent(f"{source}/aurc", 2),
    )
    points = found.test.risk_coverage.points
    nearest = (min(range(len(points)), key=lambda i: abs(points[i].coverage - share)) for share in _COVERAGES)
    shown = tuple(
        _row(*((facts.percent(f"{source}/points/{i}/{number}"),) for number in ("coverage", "risk")))
        for i in dict.fromkeys(nearest)
    )
    headings = tuple(map(words, ("of the images answered, the surest first", "of those answers wrong")))
    highest = max(point.risk for point in points)
    top = next(i for i, point in enumerate(points) if point.risk == highest)
    last = len(points) - 1
    curve = tuple((point.coverage, point.risk / highest if highest else 0.0) for point in points)
    labels = [
        Label(0.99, curve[last][1] + 0.03, (facts.percent(f"{source}/points/{last}/risk"),), "end"),
        Label(1.0, -0.07, (facts.percent(f"{source}/points/{last}/coverage", 0),), "end"),
        Label(curve[0][0], -0.07, (facts.percent(f"{source}/points/0/coverage", 0),), "start"),
    ]
    if top != last and highest > points[last].risk * 1.1:
        labels.append(Label(curve[top][0] + 0.02, 0.96, (facts.percent(f"{source}/points/{top}/risk"),), "start"))
    plot = Plot(
        (Curve("risk", curve),),
        tuple(labels),
        "share of the images that is answered, the surest first",
        "share of those answers that is wrong",
        words("Risk by coverage, sealed test part."),
    )
    return Section(
        "Leaving out the unsure",
        (
            Paragraph(text),
            Table((words("with"), words("of the images can be answered")), rows),
            Table(headings, shown),
            plot,
        ),
    )


def confused(facts: Facts, place: str, counts: tuple[int, ...], actual: int) -> Text:
    """Which other type images were taken for most often; ``place`` is the row of counts."""
    wrong = {position: n for position, n in enumerate(counts) if position != actual}
    worst = max(wrong, key=lambda position: wrong[position])
    if not wrong[worst]:
        return words("none")
    return words("{cell} ({n})", cell=words(CELL_TYPES[worst]), n=facts.count(f"{place}/{worst}"))


def _estimates(facts: Facts, score: str, name: Text) -> tuple[Cell, ...]:
    return (Cell(name), *(estimated(facts, f"{part}/{score}") for part in (TEST, VALIDATION)))


def _row(name: Text, *cells: Text) -> tuple[Cell, ...]:
    return (Cell(name), *(Cell(text) for text in cells))


def _by_type(facts: Facts, found: Scores) -> list[Block]:
    test = found.test
    worst = min(test.sensitivity, key=lambda cell: test.sensitivity[cell].low)
    best = max(test.sensitivity, key=lambda cell: test.sensitivity[cell].high)
    floor, ceiling = test.sensitivity[worst].low, test.sensitivity[best].high
    rows = []
    for cell in CELL_TYPES:
        sensitivity, specificity, taken_for = (Cell(words("no image")),) * 3
        if cell in test.sensitivity:
            drawn = _on_scale(test.sensitivity[cell], floor, ceiling)
            sensitivity = estimated(facts, f"{TEST}/sensitivity/{cell}", drawn)
            counts = f"{TEST}/confusion/{cell.position}"
            taken_for = Cell(confused(facts, counts, test.confusion[cell.position], cell.position))
        if cell in test.specificity:
            specificity = estimated(facts, f"{TEST}/specificity/{cell}")
        rows.append(
            (Cell(words(cell)), Cell((facts.count(f"{TEST}/support/{cell}"),)), sensitivity, specificity, taken_for)
        )
    headings = ("cell type", "images", "sensitivity", "specificity", "most often taken for")
    scale = words(
        "The bars of the sensitivity run from {low} to {high}.",
        low=facts.percent(f"{TEST}/sensitivity/{worst}/low"),
        high=facts.percent(f"{TEST}/sensitivity/{best}/high"),
    )
    return [Table(tuple(map(words, headings)), tuple(rows), "notes"), Paragraph(scale, "note")]


def estimated(facts: Facts, source: str, drawn: Interval | None = None) -> Cell:
    """A proportion, and below it its interval."""
    return Cell((facts.percent(f"{source}/value"),), words("{low} to {high}", **facts.ends(source)), drawn=drawn)


def _on_scale(estimate: Estimate, floor: float, ceiling: float) -> Interval:
    span = max(ceiling - floor, 1e-9)
    return Interval(*((end - floor) / span for end in (estimate.value, estimate.low, estimate.high)))


def _confusion(facts: Facts, found: Scores) -> Table:
    rows = []
    for cell, counts in zip(CELL_TYPES, found.test.confusion, strict=True):
        rows.append(_matrix_row(facts, words(cell), counts, f"{TEST}/confusion/{cell.position}"))
    return _matrix(words("actual"), rows)


def _by_subtype(facts: Facts, found: Scores) -> list[Block]:
    """Of the types whose images have several sub-types; of the others the tables by type say the same."""
    several = Counter(subtype.cell_type for subtype in found.test.subtypes)
    rows, counts = [], []
    for i, subtype in enumerate(found.test.subtypes):
        if several[subtype.cell_type] == 1:
            continue
        source = f"{TEST}/subtypes/{i}"
        name = Cell((facts.string(f"{source}/name"),), (facts.string(f"{source}/cell_type"),))
        taken_for = confused(facts, f"{source}/predicted", subtype.predicted, subtype.cell_type.position)
        sensitivity = estimated(facts, f"{source}/sensitivity")
        rows.append((name, Cell((facts.count(f"{source}/n"),)), sensitivity, Cell(taken_for)))
        counts.append(_matrix_row(facts, name.text, subtype.predicted, f"{source}/predicted"))
    if not rows:
        return [Paragraph(words("The file names of these images tell no sub-type, so none is scored."), "note")]
    headings = tuple(map(words, ("sub-type", "images", "sensitivity", "most often taken for")))
    text = words(
        "The model answers with the eight types only. The file names of the sources tell more, so its answers can be "
        "counted by sub-type; the sensitivity is the share answered with the type that the sub-type belongs to."
    )
    heading = Heading(words("By sub-type, sealed test part"))
    return [heading, Paragraph(text), Table(headings, tuple(rows), "notes"), _matrix(words("actual"), counts)]


def _matrix(corner: Text, rows: list[tuple[Cell, ...]]) -> Table:
    return Table((corner, *map(words, _SHORT)), tuple(rows), "matrix", words("predicted"))


def _matrix_row(facts: Facts, name: Text, counts: tuple[int, ...], source: str) -> tuple[Cell, ...]:
    total = max(sum(counts), 1)
    return (
        Cell(name),
        *(Cell((facts.count(f"{source}/{i}"),), shade=math.sqrt(n / total)) for i, n in enumerate(counts)),
    )


def _diagram(facts: Facts, found: Scores) -> Plot:
    def points(part: Reliability) -> tuple[tuple[float, float], ...]:
        return tuple((bin_.confidence, bin_.accuracy.value) for bin_ in part.bins)

    curves = (
        Curve("as confident as right", ((0, 0), (1, 1)), "guide", "quiet"),
        Curve("before", points(found.calibration.test_before), "dots", "quiet"),
        Curve("after", points(found.calibration.test_after), "dots", "first"),
    )
    source = f"{METRICS}#/calibration/test_after/bins"
    last = len(found.calibration.test_after.bins) - 1
    text = words(
        "Reliability on the sealed test part: above the dotted line the model is righter than it says, below it is "
        "surer than it should be. The bin at the top right holds {n} of the {all} images.",
        n=facts.count(f"{source}/{last}/images"),
        all=facts.count(f"{TEST}/n"),
    )
    return Plot(curves, (), "confidence, none to full", "accuracy, none to full", text)
