"""The story of the loop, chapter by chapter, in a laboratory that begins empty.

A champion serves; the stain shifts (real pictures, recoloured); an alarm names stain; reviewers label what is asked of
them; the labels are a new data version, the model is trained anew and the gate promotes it; the same shifted traffic
is stable for the new champion, which is right more often on shifted sealed pictures; a worse challenger is refused; a
bad release is rolled back by itself. Every step is a command of the platform, and the story ends with a sentence where
it does not go as told.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.laboratory import Changes, command, declare, repro
from benchmarks.server import started
from benchmarks.traffic import Answer, Clinic, Picture, clinic, divided, shifted
from bloodyspy.adapters import registry
from bloodyspy.cells import CellType
from bloodyspy.dataset.holdings import AUDITED, LABELLED
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.split import Part
from bloodyspy.dataset.version import data_version
from bloodyspy.errors import ImageError
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.images.corruption import Shift
from bloodyspy.labelling import audit
from bloodyspy.labelling.accuracy import live_accuracy
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import load_params
from bloodyspy.promotion import ledger, trail
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Cause, DataVersioned, Decided, LabelsTaken, Released, Why
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, LoopOutcome, Trigger
from bloodyspy.promotion.paired import mcnemar
from bloodyspy.settings import Settings
from monitoring import causes
from monitoring.check import judge_now
from monitoring.history import newest_checks
from monitoring.verdict import Overall, Verdict

KIND, SEVERITY = Shift.STAIN, 3
"""At 5 the first champion rejects two thirds of the pictures: people would notice without a drift check."""
GOOD, HASTY = "efficientnet_lite0", "hasty"
WINDOW = 200
AFTER = 32
"""Pictures that are sent after the rollback."""
AUDIT_KEY = hashlib.sha256(b"the story of the loop").hexdigest()
"""Each telling draws the same answers for its audit; a laboratory's key is chosen by chance and known to nobody."""

# What differs from params.yaml, and why: a story has hours where a laboratory has weeks, and hundreds of pictures where
# it has thousands.
SECTIONS: dict[str, Changes] = {
    "validation": {"minimum_per_class": 20},
    # a few hundred images: enough of them to measure on, and for the reference of the drift check
    "split": {"test": 0.2, "validation": 0.1, "calibration": 0.15},
    "promotion": {
        # so few sealed images cannot show half a point, and one of the validation images is a whole one
        "margins": {"balanced_accuracy": 0.05, "sensitivity": {"ig": 0.15, "erythroblast": 0.25}},
        "limits": {"calibration_error": 0.10, "export": 0.06, "stress": 0.10},
        # a short training
        "floors": {"accuracy": 0.80, "balanced_accuracy": 0.75, "sensitivity": 0.40},
    },
    "monitoring": {"window": WINDOW},
    # so that a few hundred answers have labels enough, to measure by and to learn from
    "labelling": {"audit_share": 0.4, "unsure": 0.95},
    "loop": {
        "labels": 5_000,  # the story is of drift
        "alarms": 1,
        "watch": {"hours": 1, "answers": 100},
    },
}
INPUT = {"centre96": {"size": 96, "resize": 128}}
# No change of colour in training: the network knows one stain, as one that was trained on a single batch of slides
RECIPE: Changes = {
    "base": GOOD,
    "input": "centre96",
    "augmentation": "positions",
    "targets": "types",
    "batch_size": 32,
    "weight_averaging": 0.9,
}
AUTHOR = ("-c", "user.name=Anna", "-c", "user.email=anna@example.org")
# Somebody wants a version out: nothing is asked of it any more
WEAK: Changes = {
    "margins": {"balanced_accuracy": 0.99, "sensitivity": {"ig": 0.99, "erythroblast": 0.99}},
    "limits": {"calibration_error": 1.0, "export": 1.0, "stress": 1.0},
    "floors": {"accuracy": 0.0, "balanced_accuracy": 0.0, "sensitivity": 0.0},
}


Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; counts are of pictures."""

    imported: float
    """Share of the images that are data/ at first; the others are traffic."""
    usual: int
    """Answered before the stain shifts."""
    shifted: int
    """Answered by the first champion afterwards: what labels are taken of."""
    again: int
    """Answered by the second one, of the same stain."""
    bad: int
    """Answered by the bad release."""
    epochs: int
    stress_per_class: int


FULL = Size(imported=0.30, usual=400, shifted=900, again=400, bad=300, epochs=8, stress_per_class=5)
SMALL = Size(imported=0.16, usual=200, shifted=600, again=200, bad=300, epochs=8, stress_per_class=1)


@dataclass
class Chapter:
    """What one step of the story was."""

    title: str
    commands: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    """Counts, sentences of the platform, and :class:`~bloodyspy.evaluation.intervals.Estimate`."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some of the traffic, and how far it was from the reference of the version that answered."""

    what: str
    version: int
    pictures: int
    right: Estimate
    distance: float
    """The largest of the drift check's distances over its threshold: above 1 is drift."""
    verdict: str


class Story:
    """The story, chapter by chapter; each leaves what it found."""

    def __init__(self, s: Settings, images: Path, size: Size) -> None:
        """Divide the images.

        Args:
            s: of a laboratory that has nothing yet.
            images: a folder of them, with a folder for each type.
            size: how much of them.
        """
        self.s, self.size = s, size
        self.chapters: list[Chapter] = []
        self.stretches: list[Stretch] = []
        self.environment: dict[str, str] = {}
        self.first_images = 0
        self.imported, self._live = divided(images, size.imported)
        wanted = size.usual + size.shifted + size.again + size.bad + AFTER
        expect(len(self._live) >= wanted, f"{len(self._live)} pictures are too few for a traffic of {wanted}")

    def play(self) -> None:
        """All of it."""
        with orchestrated(self.s) as self.environment:
            self.first_champion()
            with clinic(self.s) as people:
                self.usual_traffic(people)
                self.the_stain_shifts(people)
                self.labels(people)
                self.retrained()
                self.stable_again(people)
                self.a_worse_challenger()
                self.a_bad_release(people)
            self.verified()

    def first_champion(self) -> None:
        """Images in, a data version, a network, a champion."""
        recipe = {**RECIPE, "epochs": self.size.epochs, "patience": self.size.epochs}
        evaluation: Changes = {"stress_per_class": self.size.stress_per_class}
        declare(self.s, {GOOD: recipe}, INPUT, evaluation=evaluation, **SECTIONS)
        delivery = self.s.root.parent / f"{self.s.root.name}-delivery"
        shutil.rmtree(delivery, ignore_errors=True)
        for path in self.imported:
            place = delivery / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        nothing_yet = audit.Epoch(since=datetime.now(UTC), share=0.0)
        begun = audit.Audit(key=AUDIT_KEY, epochs=(nothing_yet,))
        audit.replace(self.s.audit, begun.model_dump_json().encode())
        with self.chapter("A champion serves") as told:
            self.run("bloodyspy", "data", "import", f"../{delivery.name}", "--replace")
            self.run("dvc", "add", "--quiet", "data")
            for flow in ("version-data", "train", "promote", "queue"):
                self.run("python", "-m", "pipelines", flow)
            expect(self.champion() == 1, "The first candidate did not become champion.")
            self.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "The first images")
            self.first_images = self.newest(DataVersioned).images
            told.facts |= {"images": self.first_images, "sealed accuracy": self.sealed(1)}
            told.facts["shifted sealed accuracy"] = _share(self.right_when_shifted(1))
        shutil.rmtree(delivery)

    def usual_traffic(self, people: Clinic) -> None:
        """Pictures like those of data/ are no drift."""
        with self.chapter("Its traffic is like its reference") as told:
            told.facts |= self.answered(people, "usual", self.size.usual, version=1)
            verdict = self.checked()
            expect(verdict.overall is Overall.STABLE, f"Usual traffic is called {verdict.overall}: {verdict.reason}")
            told.facts["drift check"] = verdict.reason

    def the_stain_shifts(self, people: Clinic) -> None:
        """Another stain is an alarm that names it; with nothing to learn from it is no reason to train."""
        with self.chapter("The stain shifts; an alarm names it") as told:
            told.facts |= self.answered(people, "shifted", self.size.shifted, version=1, stained=True)
            verdict = self.checked()
            expect(verdict.cause is causes.Cause.STAIN, f"The cause is called {verdict.cause}: {verdict.reason}")
            told.facts["drift check"] = verdict.reason
            said = self.run("python", "-m", "pipelines", "retrain")
            expect("No reason to train anew" in said, f"Without labels it was trained anew: {said}")
            told.facts["retrain"] = _sentence(said)

    def labels(self, people: Clinic) -> None:
        """Two people label what the queue shows them."""
        with self.chapter("Reviewers label a sample") as told:
            told.facts |= self.reviewed(people, version=1)
            told.facts["labels accuracy"] = _sentence(self.run("bloodyspy", "labels", "accuracy"))

    def retrained(self) -> None:
        """Drift and labels are a reason: a data version, a training, the gate, a release."""
        before = data_version(self.s.root)
        with self.chapter("The model is trained anew; the gate promotes it") as told:
            self.run("python", "-m", "pipelines", "retrain")
            begun, ended = self.newest(LoopBegun), self.newest(LoopEnded)
            expect(begun.trigger is Trigger.DRIFT, f"It was begun by {begun.trigger}: {begun.reason}")
            expect(ended.outcome is LoopOutcome.PROMOTED, f"It ended as {ended.outcome}: {ended.summary}")
            expect(self.champion() == 2, "The new candidate did not become champion.")
            expect(data_version(self.s.root) != before, "The labels made no data version.")
            parts = {str(name): rows["part"] for name, rows in read_manifest(self.s.manifest).groupby("source")}
            held_out, learnt = parts[AUDITED], parts[LABELLED]
            expect(not held_out.isin([Part.TRAIN, Part.TEST]).any(), "An audited picture is not held out.")
            expect(learnt.isin([Part.TRAIN, Part.WITHHELD]).all(), "A label of the queue is not for training.")
            told.facts |= {
                "reason": begun.reason,
                "decision": self.newest(Decided).summary,
                "labels taken": len(self.newest(LabelsTaken).pictures),
                "for the calibration part": int((held_out == Part.CALIBRATION).sum()),
                "for training": int((learnt == Part.TRAIN).sum()),
                "images": self.newest(DataVersioned).images,
                "sealed accuracy": self.sealed(2),
            }

    def stable_again(self, people: Clinic) -> None:
        """The stain that was drift is known to the new champion, which answers it better."""
        with self.chapter("The same stain is stable for the new champion") as told:
            told.facts |= self.answered(people, "the new stain", self.size.again, version=2, stained=True)
            verdict = self.checked()
            told.facts["drift check"] = verdict.reason
            expect(verdict.overall is Overall.STABLE, f"The learnt stain is called {verdict.overall}: {verdict.reason}")
            before, after = self.right_when_shifted(1), self.right_when_shifted(2)
            gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
            told.facts |= {
                "shifted sealed accuracy before": _share(before),
                "shifted sealed accuracy after": _share(after),
                "pictures gained": gained,
                "pictures lost": lost,
                "exact McNemar p": mcnemar(gained, lost),
            }
            expect(
                mcnemar(gained, lost) < 0.05,
                f"On shifted sealed pictures {_share(after)} is not shown to be more than {_share(before)}.",
            )
            told.facts |= self.reviewed(people, version=2)
            told.facts["watch"] = _sentence(self.run("python", "-m", "pipelines", "watch"))
            expect(self.champion() == 2, "The good release was taken back.")

    def a_worse_challenger(self) -> None:
        """Somebody distrusts the labels, goes back to the first images and trains in haste: that is refused."""
        with self.chapter("A worse challenger is refused") as told:
            declare(self.s, {HASTY: {"base": GOOD, "epochs": 2}})
            self.run("git", "checkout", "--quiet", "HEAD", "data.dvc")
            self.run("dvc", "checkout", "--quiet", "data.dvc")
            self.run("python", "-m", "pipelines", "version-data")
            expect(self.newest(DataVersioned).images == self.first_images, "data/ is not what it was at first.")
            told.commands.append("dvc repro")
            repro(self.s)
            self.run("python", "-m", "pipelines", "promote")
            decided = self.newest(Decided)
            expect(decided.outcome is Outcome.REFUSED, f"The hasty challenger was {decided.outcome}.")
            expect(self.champion() == 2, "The champion changed.")
            told.facts |= {"decision": decided.summary, "sealed accuracy": self.sealed(decided.version)}

    def a_bad_release(self, people: Clinic) -> None:
        """Somebody weakens the rule for it; the labels of its live answers take it back, and nobody helps."""
        with self.chapter("A bad release is rolled back by itself") as told:
            declare(self.s, {HASTY: {"base": HASTY}}, promotion=WEAK)
            self.run("python", "-m", "pipelines", "promote")
            bad, decided = self.champion(), self.newest(Decided)
            expect(bad == decided.version, f"The weakened rule let nobody through: {decided.summary}")
            told.facts |= self.answered(people, "a bad release", self.size.bad, version=bad, stained=True)
            told.facts |= self.reviewed(people, version=bad)
            told.facts["watch"] = _sentence(self.run("python", "-m", "pipelines", "watch"))
            released = self.newest(Released)
            expect(released.cause is Cause.ROLLBACK, f"It was not taken back: {told.facts['watch']}")
            expect(self.champion() == 2, f"The rollback went to version {self.champion()}.")
            told.facts["release"] = released.words
            self.awaited(people, 2)
            answers = people.send(shifted(self._live[:AFTER], KIND, SEVERITY))
            expect({one.version for one in answers} == {2}, "The service does not answer as the version before.")

    def verified(self) -> None:
        """Everything is what was recorded."""
        with self.chapter("Everything is what was recorded") as told:
            said = self.run("bloodyspy", "audit")
            told.facts["entries"] = len(trail.entries(self.s))
            expect("rollback to version 2" in said, f"The audit log does not tell of the rollback: {said}")
            verified = self.run("bloodyspy", "verify")  # it fails where a joint does not hold
            told.facts["joints that hold"] = verified.count("holds")

    @contextmanager
    def chapter(self, title: str) -> Iterator[Chapter]:
        """One more, timed and told."""
        told, began = Chapter(title), time.perf_counter()
        self.chapters.append(told)
        yield told
        told.seconds = round(time.perf_counter() - began, 1)
        known = "; ".join(f"{name}: {value}" for name, value in told.facts.items())
        Console().print(f"{title} ({told.seconds:.0f} s): {known}", highlight=False, markup=False, soft_wrap=True)

    def run(self, *words: str) -> str:
        """A command of the platform; what it printed."""
        self.chapters[-1].commands.append(" ".join(words))
        return command(self.s, *words, COLUMNS="200", **self.environment)

    def answered(
        self, people: Clinic, what: str, count: int, version: int, *, stained: bool = False
    ) -> dict[str, object]:
        """Send the next pictures, half a window at a time, and see which version answers and how far they are."""
        pictures, self._live = self._live[:count], self._live[count:]
        if stained:
            pictures = shifted(pictures, KIND, SEVERITY)
        self.awaited(people, version)
        every: list[Answer] = []
        for start in range(0, count, WINDOW // 2):
            answers = people.send(pictures[start : start + WINDOW // 2])
            expect({one.version for one in answers} == {version}, f"It is not version {version} that answers.")
            self.stretches.append(self._stretch(what, version, answers))
            every += answers
        told: dict[str, object] = {"answers": len(every), "right answers": _right(every)}
        actions = [one.action for one in every]
        return {**told, **{action: actions.count(action) for action in ("auto", "review", "reject")}}

    def reviewed(self, people: Clinic, version: int) -> dict[str, object]:
        """Have the queue made and labelled; what the audit says of a version."""
        self.run("python", "-m", "pipelines", "queue")
        labelled = people.review()
        found = live_accuracy(self.s, load_params(self.s.root / "params.yaml"), version)
        expect(found.accuracy is not None, "No audited answer was settled.")
        return {"labelled": labelled, "audited": found.settled, "live accuracy": found.accuracy}

    def checked(self) -> Verdict:
        """What the drift check says now."""
        self.run("python", "-m", "pipelines", "check-drift")
        return newest_checks(self.s.drift_history, 1)[-1].verdict

    def awaited(self, people: Clinic, version: int) -> None:
        """The service has taken a release up."""
        until = time.monotonic() + 60
        while people.version() != version:
            expect(time.monotonic() < until, f"The service does not take version {version} up.")
            time.sleep(0.2)

    def champion(self) -> int:
        """The version that the registry, the log and the release file name."""
        return int(self.newest(Released).version)

    def newest(self, kind: type[Told]) -> Told:
        """The last entry of a kind in the audit log."""
        return next(entry.event for entry in reversed(trail.entries(self.s)) if isinstance(entry.event, kind))

    def sealed(self, version: int) -> Estimate:
        """A version's accuracy on the sealed images, as its card says."""
        return read_scores(Artefact.open(registry.artefact_of(version, self.s))).test.accuracy

    def right_when_shifted(self, version: int) -> NDArray[np.bool_]:
        """Whether it answers each sealed image rightly in the new stain, (n,); the look is counted as any."""
        artefact = Artefact.open(registry.artefact_of(version, self.s))
        rows = ledger.for_version(self.s, Why.REHEARSAL, artefact, version).sort_values("sha256")
        pictures = [
            Picture((self.s.data / path).read_bytes(), CellType(cell))
            for path, cell in zip(rows["path"], rows["cell_type"], strict=True)
        ]
        classifier = Classifier(artefact, threads=2)
        answers = classifier.observe_all([one.payload for one in shifted(pictures, KIND, SEVERITY)])
        return np.array(
            [
                not isinstance(said, ImageError) and said.predicted is one.cell_type
                for said, one in zip(answers, pictures, strict=True)
            ]
        )

    def _stretch(self, what: str, version: int, answers: Sequence[Answer]) -> Stretch:
        verdict = judge_now(self.s, load_params(self.s.root / "params.yaml"), rows=len(answers))
        return Stretch(
            what,
            version,
            len(answers),
            _right(answers),
            verdict.columns[0].ratio,
            str(verdict.cause or verdict.overall),
        )


@contextmanager
def orchestrated(s: Settings) -> Iterator[dict[str, str]]:
    """The environment of a laboratory's flows: a Prefect server, or each would start one of its own."""
    home = {"PREFECT_HOME": str(s.state / "prefect")}
    s.state.mkdir(parents=True, exist_ok=True)
    words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", "{port}"]
    with started("prefect server", words, home, s.root, s.state / "prefect.log", "/api/health") as (url, _, _):
        yield {**home, "PREFECT_API_URL": f"{url}/api"}


def expect(holds: bool, otherwise: str) -> None:
    """End the story with a sentence where it does not go as told."""
    if not holds:
        raise AssertionError(otherwise)


def _right(answers: Sequence[Answer]) -> Estimate:
    return wilson(sum(one.right for one in answers), len(answers))


def _share(right: NDArray[np.bool_]) -> Estimate:
    return wilson(int(right.sum()), len(right))


def _sentence(printed: str) -> str:
    return " ".join(printed.split())
