"""DuckDB over a store's parts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from bloodyspy.store.place import Place

_MEMORY = "1GB"  # of DuckDB's; more it puts on the disk
_GLOB = str.maketrans({character: f"[{character}]" for character in "[*?"})


@contextmanager
def connected(place: Place, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads the place's files and fetches no extension from anywhere.

    Args:
        place: of the store.
        spill: a folder for what does not fit into memory; nothing may be put there where it is not said.
    """
    settings = {
        **{"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
        **{"memory_limit": _MEMORY, "preserve_insertion_order": "false"},
        "temp_directory": "" if spill is None else str(spill / "spilled"),
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if place.local is None:
            connection.register_filesystem(place.files)
        yield connection


def urls(place: Place, names: Sequence[str]) -> list[str]:
    """Of parts, for ``read_parquet``, which would take some characters of a folder's name for a pattern."""
    return [place.url(name).translate(_GLOB) for name in names]
