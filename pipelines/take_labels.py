"""``take-labels`` (a stand-in, to be replaced)."""

from prefect import flow

from bloodyspy.adapters import versioning
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.promotion import trail
from pipelines.project import project
from pipelines.version_data import versioned


@flow(name="take-labels")
def take_labels() -> str | None:
    """Take the settled labels into data/; the new data version, or None."""
    s, _ = project()
    waiting = s.state / "stand-in" / "waiting"
    if not waiting.is_file():
        return None
    (s.data / "labels.txt").write_text(waiting.read_text())
    before = data_version(s.root)
    version = versioning.add_data(s)
    trail.record_change(versioned(version, read_dataset(s.data)), s)
    waiting.unlink()
    return version if version != before else None
