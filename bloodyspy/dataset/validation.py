"""The ``validate`` stage: list every image, check the list, and let nothing pass that fails."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.duplicates import nearest_elsewhere
from bloodyspy.dataset.holdings import read_quarantine
from bloodyspy.dataset.manifest import build_manifest, write_manifest
from bloodyspy.dataset.split import Part
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import ValidationFailed
from bloodyspy.params import Params
from bloodyspy.settings import Settings

# Columns that the check sees beside those of the manifest.
LABELS_OF_CONTENT = "labels_of_content"  # under how many cell types the very same bytes are held
NEAREST_IN_OTHER_PART = "nearest_in_other_part"  # bits to the nearest picture of another part; withheld ones have none


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found."""

    expectations: int
    """How many were checked."""
    failures: tuple[str, ...]
    """Each failing one in words, with what was seen."""


Check = Callable[[pd.DataFrame, Params, Path], Findings]
"""Checks a frame (the manifest and the columns above) and writes a report into a folder, ``index.html`` its door."""


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What ``validate`` listed and found in order."""

    images: int
    withheld: int
    expectations: int
    report: Path
    synthetic: bool

    @property
    def summary(self) -> str:
        """One sentence."""
        kind = "synthetic images (drawn, not photographed)" if self.synthetic else "images"
        return (
            f"{self.images:,} {kind} meet all {self.expectations} expectations; "
            f"{self.withheld} near-duplicates are withheld. Report: {self.report}"
        )


def validate(s: Settings, p: Params, check: Check) -> ValidationReport:
    """Build the manifest from data/, check it, and write manifest, metrics and report below build/.

    Args:
        s: places.
        p: the split, and what is expected.
        check: the adapter that checks.

    Raises:
        DataMissing: there is no data set.
        ValidationFailed: an expectation failed; report and metrics are there, the manifest is not.
    """
    s.manifest.unlink(missing_ok=True)
    info = read_dataset(s.data)
    frame = build_manifest(s.data, p.split)
    report = s.build / "validation"
    shutil.rmtree(report, ignore_errors=True)
    facts = _with_facts(frame)
    findings = check(facts, p, report)
    withheld = int((frame["part"] == Part.WITHHELD).sum())
    metrics = {
        "synthetic": info.synthetic,
        "images": len(frame),
        "images_per_class": {cell.value: int((frame["cell_type"] == cell).sum()) for cell in CELL_TYPES},
        "images_per_part": {part.value: int((frame["part"] == part).sum()) for part in Part},
        "quarantined": len(read_quarantine(s.data)),
        "bits_to_nearest_in_other_part": int(facts[NEAREST_IN_OTHER_PART].min()) if len(facts) else 0,
        "expectations": findings.expectations,
        "expectations_failed": len(findings.failures),
    }
    summary = s.build / "validation.json"
    summary.unlink(missing_ok=True)  # it may be a hard link into DVC's cache, which writing would change
    summary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    if findings.failures:
        raise ValidationFailed(list(findings.failures), report / "index.html")
    write_manifest(frame, s.manifest)
    return ValidationReport(len(frame), withheld, findings.expectations, report / "index.html", info.synthetic)


def _with_facts(frame: pd.DataFrame) -> pd.DataFrame:
    """The manifest with what can only be said of images together, computed from the finished parts."""
    used = frame[frame["part"] != Part.WITHHELD]
    nearest = pd.Series(nearest_elsewhere(list(used["phash"]), list(used["part"])), index=used.index, dtype="Int64")
    labels = frame.groupby("sha256")["cell_type"].transform("nunique")
    return frame.assign(**{LABELS_OF_CONTENT: labels, NEAREST_IN_OTHER_PART: nearest.reindex(frame.index)})
