"""Writes the card of an artefact: ``card.md`` and ``card.html``, the same facts from one structure."""

from pathlib import Path

from bloodyspy.evaluation.model_card import answers, changes, content, results, robustness
from bloodyspy.evaluation.model_card.document import Card
from bloodyspy.evaluation.model_card.facts import Facts
from bloodyspy.evaluation.model_card.markdown import markdown
from bloodyspy.evaluation.model_card.page import page
from bloodyspy.evaluation.model_card.previous import Previous, write_previous
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import CARD, CARD_HTML, METRICS, SPEC, ModelSpec


def write_card(folder: Path, previous: Previous | None = None) -> None:
    """Write the card into an artefact that is being assembled, from the files that lie in it, just before it is sealed.

    Read are ``spec.json``, ``metrics.json``, ``policy.json``, ``inference.json``, ``training.json`` and
    ``data.json``; ``previous`` is
    written beside them as ``previous.json``.

    Raises:
        ArtefactInvalid: a fact that the card must tell is in none of the files.
    """
    write_previous(folder, previous)
    card = card_of(folder)
    (folder / CARD).write_text(markdown(card), encoding="utf-8")
    (folder / CARD_HTML).write_text(page(card), encoding="utf-8")


def card_of(folder: Path) -> Card:
    """The card of the files in a folder.

    Raises:
        ArtefactInvalid: a fact that the card must tell is in none of the files.
    """
    facts = Facts(folder)
    spec = ModelSpec.model_validate_json((folder / SPEC).read_bytes())
    found = Scores.model_validate_json((folder / METRICS).read_bytes())
    return Card(
        title=(facts.string(f"{SPEC}#/candidate"),),
        lead=content.lead(facts, spec, found),
        sections=(
            content.use(),
            content.limits(facts, found),
            results.scores(facts, found),
            results.reliability(facts, found),
            results.refusing(facts, found),
            answers.answers(facts, found),
            robustness.stress(facts, found),
            robustness.external(facts, found),
            robustness.seeds(facts, found),
            robustness.cost(facts),
            content.data(facts, spec),
            content.origin(facts, spec),
            changes.changes(facts),
        ),
    )


def headline(spec: ModelSpec, scores: Scores) -> str:
    """Two lines and a small table: what is shown on the MLflow run and version."""
    test, validation = scores.test, scores.validation
    names = (("accuracy", "accuracy"), ("balanced accuracy", "balanced_accuracy"), ("macro F1", "macro_f1"))
    rows = [(name, *(str(part.estimates()[key]) for part in (test, validation))) for name, key in names]
    rows.append(("calibration error", f"{test.ece:.2%}", f"{validation.ece:.2%}"))
    rows.append(("mean balanced error under stress", str(scores.stress.mean_balanced_error), "-"))
    rows.append(("a picture takes", f"{scores.cost.milliseconds_picture:.1f} ms", "-"))
    head = ("", f"sealed test part ({test.n:,} images)", f"validation part ({validation.n:,} images)")
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---", "---:", "---:"), *rows))
    warning = "**Synthetic: drawn cells, no real blood.**\n\n" if spec.synthetic else ""
    return (
        f"{warning}`{spec.candidate}` ({spec.network}), data `{spec.data_version[:12]}`, "
        f"commit `{spec.git_commit[:12]}`\n\n{table}\n\n"
        "95 % intervals. Donors are not identified: an upper bound. The whole card: artifacts `card.html`, `card.md`."
    )
