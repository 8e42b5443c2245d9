"""Writes a dossier: a folder that appears whole or not at all."""

import json
import shutil
from pathlib import Path

from bloodyspy.adapters import registry
from bloodyspy.adapters.bill_of_materials import Subject, bill
from bloodyspy.custody import picture
from bloodyspy.custody.dossier.content import DOSSIER, Dossier, gather
from bloodyspy.custody.dossier.page import DECIDED, FILES, INDEX, SBOM, TRAIL, WAY, index
from bloodyspy.errors import DossierError
from bloodyspy.model.artifact import CARD, CARD_HTML, DIGESTS, sha256
from bloodyspy.settings import Settings


def write(number: int, folder: Path, s: Settings, *, replace: bool = False) -> Path:
    """Write the dossier of a version; the folder appears whole or not at all.

    Args:
        number: of the version.
        folder: that becomes the dossier.
        s: where everything is.
        replace: whether a dossier that is there may go.

    Returns:
        The page to open.

    Raises:
        DossierError: something is there already, or the folder cannot be written.
        BloodySpyError: as :func:`gather`.
    """
    folder = folder.resolve()
    _refuse(folder, replace=replace)
    dossier = gather(number, s)
    building, old = folder.with_name(f".{folder.name}.building"), folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(building, ignore_errors=True)  # of a killed run
        building.mkdir(parents=True)
        _fill(building, dossier, registry.artefact_of(number, s))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        building.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as exc:
        raise DossierError(f"The dossier cannot be written to {folder}: {exc}.") from exc
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder / INDEX


def _fill(folder: Path, dossier: Dossier, artefact: Path) -> None:
    _write(folder / DOSSIER, dossier.model_dump_json(indent=2) + "\n")
    for name in (CARD_HTML, CARD):
        shutil.copyfile(artefact / name, folder / name)
    if dossier.decision is not None:
        _write(folder / DECIDED, dossier.decision.model_dump_json(indent=2) + "\n")
    _write(folder / TRAIL, "".join(f"{line.line}\n" for line in dossier.trail))
    if dossier.dependencies.packages:
        spec = dossier.spec
        subject = Subject(
            name=dossier.registered_model,
            version=dossier.version,
            digest=dossier.artefact_digest,
            properties={
                "run_id": spec.run_id,
                "git_commit": spec.git_commit,
                "data_version": spec.data_version,
                "manifest_digest": spec.manifest_digest,
            },
        )
        _write(folder / SBOM, bill(subject, dossier.dependencies.packages, dossier.made))
    picture.save(dossier.way, folder / WAY)
    _write(folder / INDEX, index(folder, dossier))
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    _write(folder / DIGESTS, json.dumps(digests, indent=2) + "\n")


def _refuse(folder: Path, *, replace: bool) -> None:
    try:
        there = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as exc:
        raise DossierError(f"{folder} is no folder that a dossier could be written to: {exc}.") from exc
    if there - FILES.keys():
        raise DossierError(f"{folder} is there and no dossier: it is left alone. Name another folder with --to.")
    if there and not replace:
        raise DossierError(
            f"There is a dossier in {folder} already. Replace it with --replace, or name another folder."
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
