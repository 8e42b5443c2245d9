"""``make bench-promotion``: two rounds on real images: a first champion, then a better and a worse challenger.

Every step is a command of the platform, in a project of its own that begins empty. The trainings are those of ``make
bench-accuracy``: what was trained there is not trained again. ROUNDS="first better worse" in the environment names
other candidates of it.
"""

import json
import os
import shutil
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy import BASE, CANDIDATES
from benchmarks.laboratory import Changes, command, commit, laboratory, repro
from bloodyspy.adapters import registry
from bloodyspy.custody.verification import verify
from bloodyspy.model.timing import machine
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Decided, Released
from bloodyspy.promotion.release import recorded
from bloodyspy.settings import Settings

NAMES = os.environ.get("ROUNDS", f"quarter_of_the_images {BASE} without_augmentation").split()
ROUNDS = tuple(zip(("first champion", "better challenger", "worse challenger"), NAMES, strict=True))
RESULT = Path("docs/results/promotion.json")


def main() -> None:
    """Promote each in turn, then roll back and forward, then verify; keep what was decided and how long it took."""
    rounds = []
    shutil.rmtree(Path("var/benchmarks/promotion"), ignore_errors=True)  # a second telling begins without a champion
    for what, name in ROUNDS:
        changes: dict[str, Changes] = {name: {"base": BASE, **CANDIDATES[name]}}
        s = laboratory("promotion", changes, trained_in="accuracy")
        command(s, "python", "-m", "pipelines", "version-data")
        repro(s, f"train@{name}")
        # Taken from the cache of an earlier telling, an evaluation would not be on its run here.
        repro(s, "--single-item", "--force", f"evaluate@{name}")
        repro(s)
        told = command(s, "python", "-m", "pipelines", "promote")
        rounds.append({"round": what, "candidate": name, **_decided(s)})
        Console().print(told, markup=False, highlight=False)
    for words in (("rollback", "--reason", "a drill"), ("rollback", "--reason", "the drill is over", "--to", "2")):
        command(s, "bloodyspy", *words)
    events = [entry.event for entry in trail.entries(s)]
    releases = [e.model_dump(mode="json", exclude={"files"}) for e in events if isinstance(e, Released)]
    faults = [str(fault).replace(f"{s.root}/", "") for checked in verify(s) for fault in checked.faults]
    result = {
        "command": "make bench-promotion",
        "commit": commit(s.root),
        "machine": machine(),
        "rounds": rounds,
        "releases": releases,
        "verify": {"faults": faults},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print(f"{len(releases)} releases; verify names {len(faults)} faults. {RESULT} has it all.")


def _decided(s: Settings) -> dict[str, object]:
    newest = [e.event for e in trail.entries(s) if isinstance(e.event, Decided)][-1]
    decision = recorded(registry.version(s, newest.version).tags, newest.version)
    assert decision is not None  # it was just made
    return {"version": newest.version, "decision": decision.model_dump(mode="json")}
