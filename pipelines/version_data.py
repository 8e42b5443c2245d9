"""``version-data``: images in, and a data version for them."""

from prefect import flow

from bloodyspy.adapters import versioning
from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.sources import SYNTHETIC
from bloodyspy.dataset.version import DatasetInfo, data_version, read_dataset
from bloodyspy.errors import VersioningError
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import DataVersioned
from pipelines import shown
from pipelines.project import project, step

bring_in = step(import_images, "import images")
pull = step(versioning.pull_data, "pull the data set", retries=2)
record = step(versioning.add_data, "record the data version")
push = step(versioning.push, "push to the remote", retries=2)
tell = step(trail.record_change, "tell the audit log")


@flow(name="version-data")
def version_data(source: str | None = None, checksum: str | None = None) -> str:
    """Import a source where one is given, else see that what data.dvc names is here; record and push it.

    On a fresh clone whose remote is empty, a synthetic data set is drawn anew: it comes out byte-identical.

    Args:
        source: a folder per class, a zip of one, its http(s) URL, `synthetic` or `pbc`.
        checksum: SHA-256 of the archive, required for a URL.

    Returns:
        The data version.
    """
    s, p = project()
    expected = None
    if source is None and not versioning.is_complete(s) and not pull(s):
        if not versioning.is_synthetic(s):
            raise VersioningError(
                "data/ is not here, and the remote does not hold what data.dvc names. Name the remote that does "
                "(`dvc remote modify --local local url PLACE`), or import images: `bloodyspy data import SOURCE`."
            )
        source, expected = SYNTHETIC, data_version(s.root)
    if source is not None:
        shown.import_report(bring_in(source, s, p, checksum=checksum))
    version = record(s, expected)
    push(s, "data.dvc")
    tell(versioned(version, read_dataset(s.data)), s)
    shown.data_version(version, s)
    return version


def versioned(version: str, info: DatasetInfo) -> DataVersioned:
    """The entry about a data version."""
    return DataVersioned(
        data_version=version,
        sources=tuple(source.name for source in info.sources),
        images=sum(source.taken for source in info.sources),
        synthetic=info.synthetic,
    )
