"""A clone of this repository as a person would have it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clone:
    """A fresh clone with an environment of its own, and what its lifecycle printed."""

    folder: Path
    printed: str

    def run(self, *command: str, **extra: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=environment(self.folder) | extra, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def run_ids(self) -> dict[str, str]:
        fits = sorted((self.folder / "build" / "fits").glob("*/fit.json"))
        return {fit.parent.name: json.loads(fit.read_text())["run_id"] for fit in fits}


def environment(folder: Path) -> dict[str, str]:
    """A person's shell after ``source .venv/bin/activate``: nothing of this test run in it."""
    ours = {"BENTOML_HOME", "PREFECT_HOME", "KERAS_HOME", "MPLCONFIGDIR", "DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR"}
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("BLOODYSPY_")}
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    # a person has told git who they are; experiments of DVC are commits
    (home / ".gitconfig").write_text("[user]\n\tname = Anna\n\temail = anna@example.org\n")
    cache = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    return kept | {
        "HOME": str(home),
        "UV_CACHE_DIR": cache,  # spares the download, not the installation
        "VIRTUAL_ENV": str(folder / ".venv"),
        "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
        "COLUMNS": "160",
    }
