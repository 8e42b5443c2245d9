"""A small project with all the evidence: git, DVC, registry, store, audit log, and two versions released in turn."""

import shutil
import subprocess
import sys
from pathlib import Path

import coloured

from bloodyspy.adapters import packaging, registry, versioning
from bloodyspy.custody import releasing
from bloodyspy.model.artifact import NETWORK, Artefact, read_digests
from bloodyspy.model.provenance import git_commit
from bloodyspy.params import load_params
from bloodyspy.promotion import approval, trail
from bloodyspy.promotion.events import Cause, DataVersioned, Trained
from bloodyspy.promotion.evidence import contend, newest
from bloodyspy.promotion.gate import decide
from bloodyspy.promotion.release import annotation, description
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[1]


def make_project(root: Path) -> Settings:
    """Version 1 takes a few basophils for platelets, version 2 knows them and answers."""
    settings = Settings(root=root, actor="anna")
    shutil.copy(ROOT / "params.yaml", settings.root)
    coloured.lay_out(settings)
    _git(settings, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=settings.root, check=True)
    for name in (".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, settings.root / name)
    # the graph, as small as one can be: what it writes is what dvc.lock is asked about
    manifest = settings.manifest.read_bytes()
    settings.manifest.unlink()
    (settings.root / "manifest").write_bytes(manifest)
    command = "mkdir -p build/list && cp manifest build/manifest.parquet && cp manifest build/list/again"
    (settings.root / "dvc.yaml").write_text(
        f"stages:\n  validate:\n    cmd: {command}\n    deps: [data]\n    outs: [build/manifest.parquet, build/list]\n"
    )
    version = versioning.add_data(settings)
    trail.record(DataVersioned(data_version=version, sources=("colours",), images=192, synthetic=True), settings)
    versioning.reproduce(settings)
    (settings.root / ".gitignore").write_text("/var\n/build\n/data\n")
    _git(settings, "add", ".")
    _git(settings, "commit", "--quiet", "-m", "a project")
    for quality in ("middling", "good"):
        made = coloured.candidate(settings, quality, git_commit=git_commit(settings.root), data_version=version)
        trail.record(_trained(made), settings)
        release_best(settings)
    return settings


def _trained(made: Artefact) -> Trained:
    spec = made.spec
    return Trained(
        candidate=spec.candidate,
        run_id=spec.run_id,
        network=read_digests(made.path)[NETWORK],
        git_commit=spec.git_commit,
        data_version=spec.data_version,
        manifest_digest=spec.manifest_digest,
    )


def _git(s: Settings, *words: str) -> None:
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    subprocess.run(["git", *who, *words], cwd=s.root, check=True, capture_output=True)


def release_best(s: Settings) -> None:
    """What the flow ``promote`` does, without its server."""
    p, best = load_params(s.root / "params.yaml"), newest("small_cnn", s)
    number, champion = registry.register(best, s), registry.champion(s)
    against = contend(champion.number, registry.artefact_of(champion.number, s), s, p) if champion else None
    decision = decide(contend(number, registry.artefact_of(number, s), s, p), against, p.promotion)
    assert decision.promoted
    registry.annotate(number, s, tags=annotation(decision), description=description(decision))
    trail.record(approval.decided(decision, best.digest), s)
    packaging.store(best.path, number, s)
    packaging.build(number, s)
    begun = releasing.begin(number, Cause.PROMOTION, decision.summary, s)
    registry.set_champion(number, s)
    packaging.tell(number, s)
    releasing.finish(begun, s)
