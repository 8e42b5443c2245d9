"""``take-labels``: what people agree on, into data/, and a data version for it."""

from prefect import flow

from bloodyspy.adapters import versioning
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import VersioningError
from bloodyspy.labelling import acceptance
from pipelines import shown
from pipelines.project import project, step
from pipelines.version_data import pull, push, record, tell, versioned

bring_in = step(acceptance.bring_in, "bring labelled images in")
tell_taken = step(acceptance.record_taken, "tell the audit log what came in")


@flow(name="take-labels")
def take_labels() -> str | None:
    """Take the images that people agree on into data/, with who said what; record and push the new data version.

    Returns:
        The data version; None where nothing waited.
    """
    s, p = project()
    if not versioning.is_complete(s) and not pull(s):
        raise VersioningError(
            "data/ is not here, and the remote does not hold what data.dvc names. Bring it first: "
            "`python -m pipelines version-data`."
        )
    with acceptance.taking(s, p) as found:
        if found is None:
            return None
        if found:
            for report in bring_in(found, s, p):
                shown.import_report(report)
        version = record(s)
        push(s, "data.dvc")
        tell(versioned(version, read_dataset(s.data)), s)
        tell_taken(version, s)
        shown.data_version(version, s)
    return version
