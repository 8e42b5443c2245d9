"""Which model a benchmark runs."""

import os
from pathlib import Path

from bloodyspy.evaluation.comparison import read_comparison
from bloodyspy.settings import Settings, load_settings


def champion() -> tuple[Settings, Path]:
    """Its project and its folder.

    BLOODYSPY_BENCH_MODEL names a folder; else it is the best candidate on real images where `make bench-accuracy` has
    made one, else the best candidate of this project.
    """
    settings = load_settings()
    laboratory = Settings(root=settings.root / "var" / "benchmarks" / "accuracy")
    measured = laboratory.artefact("efficientnet_lite0")
    if measured.is_dir():
        settings = laboratory
    named = os.environ.get("BLOODYSPY_BENCH_MODEL")
    if named:
        return settings, Path(named)
    return settings, measured if measured.is_dir() else settings.artefact(read_comparison(settings).best)
