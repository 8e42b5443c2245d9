"""The ledger of looks: the only door to the sealed part, and who went through it.

Whoever chooses by what they saw there spoils it a little: of many challengers that are no better, one looks better by
luck. So each opening is an entry of the audit log. What counts is how many *different* networks were scored on the same
images: the same network tells the same again.
"""

import pandas as pd

from bloodyspy.cells import CellType
from bloodyspy.evaluation.scoring import digest_of, sealed_part
from bloodyspy.model.artifact import NETWORK, Artefact, read_digests, sha256
from bloodyspy.model.fits import Fit, network_of
from bloodyspy.promotion import trail
from bloodyspy.promotion.decision import Looks
from bloodyspy.promotion.events import Decided, Looked, Why
from bloodyspy.settings import Settings


def for_fit(s: Settings, fit: Fit, network: str) -> pd.DataFrame:
    """Open the sealed part to measure a fit.

    Args:
        s: where things are.
        fit: what was trained.
        network: SHA-256 of its network's file.

    Returns:
        The manifest's rows of the sealed part.

    Raises:
        DataMissing, DataError: there is no manifest, or no sealed image.
        AuditError: the look cannot be recorded; then nothing is opened.
    """
    others = [sha256(network_of(s.fit(fit.candidate), one.seed)) for one in fit.seeds] if len(fit.seeds) > 1 else []
    for one in dict.fromkeys([*others, network]):  # the networks of all seeds are scored
        rows = _open(s, Why.EVALUATION, one, fit.candidate, fit.run_id, None)
    return rows


def for_version(s: Settings, why: Why, artefact: Artefact, version: int) -> pd.DataFrame:
    """Open the sealed part to put a registered version to it; as :func:`for_fit`."""
    spec = artefact.spec
    return _open(s, why, read_digests(artefact.path)[NETWORK], spec.candidate, spec.run_id, version)


def sizes(s: Settings) -> dict[CellType, int]:
    """Sealed images of each type that has some. Counting them is no look: no network is scored.

    Raises:
        DataMissing, DataError: there is no manifest, or no sealed image.
    """
    counted = sealed_part(s)["cell_type"].value_counts()
    return {cell: int(counted[cell]) for cell in CellType if cell in counted}


def looks(s: Settings, test_digest: str, challenger: str) -> Looks:
    """What was scored on these sealed images so far.

    Args:
        s: where things are.
        test_digest: identity of the images.
        challenger: digest of the artefact that is about to be decided on.

    Raises:
        AuditError: the log cannot be read, or was altered.
    """
    events = [entry.event for entry in trail.entries(s)]
    networks = {e.network for e in events if isinstance(e, Looked) and e.test_digest == test_digest}
    decided = {e.artefact_digest for e in events if isinstance(e, Decided) and e.test_digest == test_digest}
    return Looks(networks=len(networks), challengers=len(decided | {challenger}))


def _open(s: Settings, why: Why, network: str, candidate: str, run_id: str, version: int | None) -> pd.DataFrame:
    rows = sealed_part(s)
    look = Looked(
        why=why,
        network=network,
        candidate=candidate,
        run_id=run_id,
        version=version,
        test_digest=digest_of(rows),
        images=len(rows),
    )
    trail.record(look, s)  # first: what is not counted is not seen
    return rows
