"""The same pictures once more, for two versions: as both logged them, or from a folder.

The service keeps no picture, so what was answered long ago can only be compared where both versions answered it then:
one of them as the shadow, as a rule.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from bloodyspy.errors import DataError
from bloodyspy.images.files import find
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.prediction import predict
from bloodyspy.promotion.agreement import Agreement, Pairs, agreement, joined
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted

ROWS = 20_000
"""The newest rows of each version that are compared, unless told."""


class Version(Protocol):
    """What is needed of a version of the registered model."""

    @property
    def number(self) -> int:
        """The registry's."""

    @property
    def run_id(self) -> str:
        """Of its fit."""


def replay_logged(champion: Version, challenger: Version, s: Settings, rows: int) -> Agreement:
    """Compare what both logged, each as the released version or as the shadow.

    Args:
        champion: one version.
        challenger: the other.
        s: says where the logs are.
        rows: the newest of each version that are read, of either log.

    Raises:
        MonitoringError: a log cannot be read.
        PromotionError: there is no picture that both answered.
    """
    pairs = joined(*(_rows(version, s, rows) for version in (champion, challenger)))
    return agreement(pairs, champion.number, challenger.number)


def shadowed(champion: Version, challenger: Version, s: Settings) -> Agreement | None:
    """How far they agree on the newest :data:`ROWS` that each logged; None where no picture was answered by both.

    Raises:
        MonitoringError: a log cannot be read.
    """
    assert s.observations is not None  # Settings fills it in
    if not s.observations.is_dir() or not s.shadow_observations.is_dir():
        return None
    pairs = joined(*(_rows(version, s, ROWS) for version in (champion, challenger)))
    return agreement(pairs, champion.number, challenger.number) if len(pairs) else None


def replay_pictures(
    champion: tuple[int, Path], challenger: tuple[int, Path], paths: Sequence[Path], threads: int | None = None
) -> Agreement:
    """Let both classify pictures anew; what is no readable picture is left out.

    Args:
        champion: number and artefact of one version.
        challenger: the same of the other.
        paths: pictures, and folders of pictures.
        threads: default one for each core of this process.

    Raises:
        SourceError: a path is absent, or there is no picture at all.
        DataError: none of the files is a readable picture.
        ArtefactInvalid, PreprocessMismatch: a version cannot be used here.
    """
    files = find(paths).files
    first, second = (list(predict(Classifier.load(folder), files, threads)) for _, folder in (champion, challenger))
    read = [
        (str(one.path), one.probabilities, other.probabilities)
        for one, other in zip(first, second, strict=True)
        if one.probabilities is not None and other.probabilities is not None
    ]
    if not read:
        raise DataError(f"None of the {len(files):,} files is a readable picture. Give others.")
    ids, answers, others = zip(*read, strict=True)
    return agreement(Pairs(ids, np.array(answers), np.array(others)), champion[0], challenger[0])


def _rows(version: Version, s: Settings, rows: int) -> pd.DataFrame:
    assert s.observations is not None  # Settings fills it in
    both = [streams.live(s), streams.shadow(s)]
    logged = [stream for stream in both if stream.logs.is_dir()] or both[:1]
    frames = [stream.newest(Wanted(run_id=version.run_id), rows).frame for stream in logged]
    # One run may have been registered twice: rows are of a version, not of a run.
    return pd.concat(frame[frame["model_version"] == version.number] for frame in frames)
