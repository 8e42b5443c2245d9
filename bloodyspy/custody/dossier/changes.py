"""The chapter of a dossier's page that tells what changed since the champion before."""

from bloodyspy.custody.dossier.content import FACTS, SCORES, Dossier, Service
from bloodyspy.custody.dossier.succession import Succession
from bloodyspy.evaluation.model_card.changes import Places, beside
from bloodyspy.evaluation.model_card.document import Block, Cell, Heading, Listing, Paragraph, Section, Table, words
from bloodyspy.evaluation.model_card.facts import Facts

_TITLE = "Since the champion before"
_LINES = 40  # of commits, and of files, on the page


def changes(facts: Facts, dossier: Dossier) -> Section:
    """The version beside the champion before it: scores, params, data, code."""
    found = dossier.since
    if found is None:
        first = "Nobody answered before this version."
        apart = "It was neither released nor held against a champion, so there is none before it."
        nobody = first if dossier.decision is not None or dossier.service is not Service.NEVER else apart
        return Section(_TITLE, (Paragraph(words(nobody)),))
    at = f"{FACTS}/since"
    gaps = tuple(Paragraph((facts.string(f"{at}/gaps/{i}"),), "warning") for i in range(len(found.gaps)))
    if found.previous is None:
        return Section(_TITLE, gaps)
    scores = beside(facts, Places(f"{FACTS}/spec", SCORES, f"{at}/previous"))
    blocks = (
        *scores,
        *_params(facts, found),
        *_data(facts, found),
        Heading(words("Code")),
        *gaps,
        *_code(facts, found),
    )
    return Section(_TITLE, blocks)


def _params(facts: Facts, found: Succession) -> tuple[Block, ...]:
    heading = Heading(words("Params of the candidate"))
    if not found.params:
        return heading, Paragraph(words("They are the same."))
    rows = tuple(
        (
            Cell((facts.string(f"{at}/name"),)),
            Cell(facts.setting(f"{at}/this")),
            Cell(facts.setting(f"{at}/before")),
        )
        for at in (f"{FACTS}/since/params/{i}" for i in range(len(found.params)))
    )
    return heading, Table((words("param"), words("this model"), words("before")), rows)


def _data(facts: Facts, found: Succession) -> tuple[Block, ...]:
    assert found.previous is not None  # the caller has looked
    blocks: list[Block] = [Heading(words("Data"))]
    ours, theirs = (facts.string(f"{FACTS}/{side}/data_version") for side in ("spec", "since/previous"))
    if ours.value != theirs.value:
        blocks.append(Paragraph(words("Data version `{this}`, before `{before}`.", this=ours, before=theirs)))
    if not found.data:
        blocks.append(Paragraph(words("Each part has as many images of each type as before.")))
        return tuple(blocks)
    rows = tuple(
        (
            Cell(words("{part}, {cell}", part=facts.string(f"{at}/part"), cell=facts.string(f"{at}/cell_type"))),
            Cell((facts.count(f"{at}/this"),)),
            Cell((facts.count(f"{at}/before"),)),
        )
        for at in (f"{FACTS}/since/data/{i}" for i in range(len(found.data)))
    )
    return (*blocks, Table((words("images: part, type"), words("this model"), words("before")), rows))


def _code(facts: Facts, found: Succession) -> tuple[Block, ...]:
    at, code = f"{FACTS}/since/code", found.code
    if code is None:
        return ()
    if not code.files:
        return (Paragraph(words("The code of both commits is the same.")),)
    last = len(code.files)  # the sum
    commits = _listing(facts, f"{at}/commits", range(min(len(code.commits), _LINES)))
    files = _listing(facts, f"{at}/files", range(max(0, last - _LINES), last))
    more = Paragraph(words("There is more than is shown here: dossier.json has it all."), "note")
    return (*commits, *files, more) if max(len(code.commits), last) > _LINES else (*commits, *files)


def _listing(facts: Facts, at: str, lines: range) -> tuple[Block, ...]:
    return (Listing(tuple((facts.string(f"{at}/{i}"),) for i in lines)),) if lines else ()
