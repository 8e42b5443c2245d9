"""``upkeep``: each night the store of observations is made small, and what is too old is removed."""

from prefect import flow

from monitoring import upkeep as store
from pipelines.project import project, ran, step

tidy = step(store.tidy, "compact the store and remove what is too old")


@flow(name="upkeep")
def upkeep() -> None:
    """Collect, compact and expire. Each night does what is due since the last one that came to its end."""
    s, p = project()
    tidy(s, p.monitoring)
    ran("upkeep", s)
