"""What a laboratory does about each cause of drift: the page, the alarm and docs/runbook.md say the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.causes import Cause


@dataclass(frozen=True, slots=True)
class Remedy:
    """What one cause looks like, and what to do."""

    means: str
    """One sentence."""
    steps: tuple[str, ...]
    """In this order."""


REMEDIES: Mapping[Cause, Remedy] = {
    Cause.STAIN: Remedy(
        "The colours of the pictures have moved: the stain, its buffer, or the camera's white balance.",
        (
            "Compare the pictures on the page: a tinted background points to the camera, tinted cells to the stain.",
            "Note lot and day of opening of May-Grünwald, Giemsa and buffer; measure the buffer's pH (6.8 to 7.2).",
            "Stain a control smear with the lot before and the present one, and look at both at the same microscope.",
            "Set the camera's white balance anew on an empty field, with the lamp warm.",
            "Until it is mended let a person review. If it stays so, import labelled pictures of it and train again.",
        ),
    ),
    Cause.EXPOSURE: Remedy(
        "The pictures are brighter, darker or flatter than before: lamp, condenser, aperture or exposure time.",
        (
            "Look whether somebody changed the lamp, its voltage, the condenser, a filter or the camera's exposure.",
            "Set Köhler illumination; exposure so that an empty field is just below white.",
            "Switch automatic exposure and gain off: they follow the cells.",
            "Take ten pictures of a control smear and classify them; the next check judges the window by itself.",
        ),
    ),
    Cause.FOCUS: Remedy(
        "The pictures are softer or sharper than before: focus, a moving stage, or a dirty objective.",
        (
            "Clean objective, cover glass and camera window; look for dried immersion oil.",
            "Check the autofocus on a control smear, and the stage for play.",
            "Take the blurred smears again: the answers to blurred pictures are the least reliable ones.",
        ),
    ),
    Cause.SIZE: Remedy(
        "The pictures have another size than before: another export, another crop, another objective.",
        (
            "Compare width and height on the page with what the export was set to.",
            "Check objective and camera binning: a cell must fill as much of its picture as before.",
            "Set the export back, or cut pictures as before: the one cell in the middle.",
            "If the new size stays, import labelled pictures of it and train again.",
        ),
    ),
    Cause.CAMERA: Remedy(
        "The pictures are noisier, or otherwise compressed, than before: gain and exposure time, or the export.",
        (
            "Look whether the export now compresses, scales or sharpens the pictures; send what the camera gives.",
            "Check the camera's gain and temperature: a dark lamp makes automatic gain amplify noise.",
            "Look for a new driver, cable or program between camera and service.",
            "Take ten pictures of a control smear as before and as now, and compare them at full size.",
        ),
    ),
    Cause.DIRT: Remedy(
        "Something lies on the cells or beside them: deposit of the stain, air bubbles, dried oil.",
        (
            "Look at the slides: fine purple grains are precipitated stain, bright rings air under the cover glass.",
            "Filter the stain or open a new bottle; rinse longer; let slides dry before they are covered.",
            "Clean objective and cover glass, and use fresh immersion oil.",
            "Stain and take the smears of this window again: their counts are not to be trusted.",
        ),
    ),
    Cause.OTHER: Remedy(
        "The pictures measure otherwise, as by no known fault: another laboratory's, or several faults at once.",
        (
            "Ask whether pictures of another site, scanner, stain or species came in (`X-Site`, `X-Instrument`).",
            "Compare the pictures on the page, side by side with the reference's.",
            "Do not believe the answers meanwhile: outside of its own preparation a network errs and is sure.",
            "Let a person label fifty of them; import them and train again, or keep that source out.",
        ),
    ),
    Cause.CONTENT: Remedy(
        "The pictures measure as before, but the cells look otherwise to the network.",
        (
            "Look at the strangest cells on the page: are they cells, one in each picture, of the eight types?",
            "Ask for new wards or treatments, and for blasts, atypical lymphocytes, smudge cells or animals' blood.",
            "Look whether the way cells are found and cut out has changed.",
            "Let a person label fifty of these pictures on the page of the bench; what they say measures the loss.",
            "If the cells are what they are, import the labelled pictures and train again.",
        ),
    ),
    Cause.CASE_MIX: Remedy(
        "Other types are answered than before; within each type the pictures look as they did.",
        (
            "Ask first whether the patients have changed: another ward, a season of infections, a study.",
            "If they have, nothing is broken: the answers stand, and the check goes on against the same reference.",
            "If they have not, take the two types that gained and lost most, and let a person label thirty of each.",
            "Where labels say that one type is taken for another, take the champion back (rollback) or train again.",
        ),
    ),
}


def heading(cause: Cause) -> str:
    """Of the cause's entry in docs/runbook.md."""
    return f"Drift: {cause}"
