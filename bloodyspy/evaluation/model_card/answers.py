"""The chapter of a card that tells which answers go out unseen, which are reviewed, and which pictures are refused."""

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.model_card.document import Block, Cell, Heading, Items, Paragraph, Section, Table, Text, words
from bloodyspy.evaluation.model_card.facts import Facts
from bloodyspy.evaluation.model_card.results import estimated
from bloodyspy.evaluation.model_card.robustness import EXTERNAL
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import METRICS
from bloodyspy.policy import POLICY, Reason

_HOME, _NOTHING = f"{METRICS}#/answers", f"{METRICS}#/no_cells"
_SHARES = {
    "auto": "go out unseen",
    "right": "of those, right",
    "review": "are reviewed first",
    "reject": "are refused",
    "harmless": "right, or not unseen",
}


def answers(facts: Facts, found: Scores) -> Section:
    """The policy, and what it does at home, elsewhere, and to pictures of nothing."""
    limits = words(
        "An answer goes out unseen (`auto`) only where nothing speaks against it. Its limits come from the {n} images "
        "of the calibration part: at most {error} of what goes out may be wrong, which takes a probability of {floor} "
        "or more; exactly one type may be plausible; neither what the network sees in a picture nor how its light, "
        "colours and sharpness go together may be as unlike the training pictures as few of these images are; and it "
        "must not be blurred, exposed or stained unlike them. What is more unlike the training pictures than all but "
        "{refused} of these images is refused (`reject`); everything else is for a person (`review`).",
        n=facts.count(f"{POLICY}#/images"),
        error=facts.percent(f"{POLICY}#/error"),
        floor=facts.percent(f"{POLICY}#/least_confidence", 2),
        refused=facts.percent(f"{POLICY}#/refused"),
    )
    lost = words(
        "**What these limits promise holds for pictures like those at home.** Under another stain, microscope or "
        "camera it is lost: the sets of plausible types then miss more cells than they may. The columns of other "
        "laboratories show by how much."
    )
    places = [(words("here, sealed"), _HOME)]
    places += [((facts.string(f"{EXTERNAL}/{i}/name"),), f"{EXTERNAL}/{i}/answers") for i in range(len(found.external))]
    return Section(
        "Answers",
        (
            Paragraph(limits),
            _shares(facts, places),
            Paragraph(lost, "note"),
            *_nothing(facts),
            Heading(words("Plausible types")),
            _coverage(facts, places),
            Heading(words("Why answers do not go out, sealed test part")),
            _reasons(facts),
        ),
    )


def _shares(facts: Facts, places: list[tuple[Text, str]]) -> Table:
    rows = [(Cell(words("pictures")), *(Cell((facts.count(f"{place}/images"),)) for _, place in places))]
    for key, name in _SHARES.items():
        rows.append((Cell(words(name)), *(_share(facts, f"{place}/{key}") for _, place in places)))
    return Table(((), *(name for name, _ in places)), tuple(rows))


def _share(facts: Facts, source: str) -> Cell:
    return estimated(facts, source) if facts.has(source) else Cell(words("-"))


def _nothing(facts: Facts) -> tuple[Block, ...]:
    text = words(
        "Of {n} drawn pictures of nothing (noise, colours, stripes, lines, shapes) {reject} were refused and {auto} "
        "named unseen.",
        n=facts.count(f"{_NOTHING}/images"),
        reject=facts.estimate(f"{_NOTHING}/reject"),
        auto=facts.estimate(f"{_NOTHING}/auto"),
    )
    kinds = tuple(
        words("{kind}: {share}", kind=words(place.rpartition("/")[2]), share=facts.percent(place, 0))
        for place in facts.keys(f"{_NOTHING}/kinds")
    )
    return Heading(words("Pictures of nothing")), Paragraph(text), Items(kinds)


def _coverage(facts: Facts, places: list[tuple[Text, str]]) -> Table:
    """How often the true type is in the set, beside how often it may be missing at home."""
    rows = tuple(
        (
            Cell(words(cell)),
            Cell((facts.percent(f"{POLICY}#/miscoverage/{cell}"),)),
            *(_share(facts, f"{place}/covered/{cell}") for _, place in places),
        )
        for cell in CELL_TYPES
    )
    sizes = (
        Cell(words("types in a set, mean")),
        Cell(words("-")),
        *(Cell((facts.decimal(f"{place}/plausible", 2),)) for _, place in places),
    )
    names = (words("{name}: has its type", name=name) for name, _ in places)
    return Table((words("cell type"), words("may miss"), *names), (*rows, sizes))


def _reasons(facts: Facts) -> Table:
    rows = tuple(
        (
            Cell(words("`{code}`", code=words(reason))),
            Cell((facts.count(f"{_HOME}/reasons/{reason}"),)),
            Cell(words(reason.sentence)),
        )
        for reason in Reason
    )
    return Table((words("reason"), words("pictures"), words("in words")), rows, "notes")
