"""Everything that can go wrong, as one tree.

Each error builds its own sentence from its facts and says what to do next::

    BloodySpyError
    ├── SettingsError            a place or a secret in the environment is missing or wrong
    ├── ParamsError              params.yaml is missing or says something it must not
    ├── DataError
    │   ├── SourceError          an import source is absent, unreachable or not what was promised
    │   ├── SealedPart           the sealed part is asked for outside the ledger of looks
    │   ├── DataMissing          a step needs data/, a manifest or a prepared array that is not there
    │   └── ValidationFailed     the data failed its expectations
    ├── ImageError
    │   ├── UnreadableImage      bytes that are no picture, or a broken one
    │   └── ImageTooLarge        more pixels than the limit
    ├── ModelError
    │   ├── WeightsUnavailable   pretrained weights cannot be had here
    │   ├── TrainingFailed       a fit ended without a usable network
    │   ├── Pruned               a trial was ended early: others did better by then; no run of it is a failure
    │   ├── ArtefactInvalid      a model directory is incomplete, altered, or of another format version
    │   ├── PreprocessMismatch   this machine prepares the golden picture differently from training
    │   ├── GoldenMismatch       this machine answers a golden picture differently from where the model was assembled
    │   ├── ExportMismatch       the exported graph disagrees with the network it came from
    │   └── GraphRefused         an engine does not take an inference graph
    ├── RegistryError            no such version, no champion, a run that the tracking store does not know
    ├── PromotionError           champion and challenger cannot be compared, or a release cannot be made
    ├── AuditError               the audit log cannot be read or written, or was altered
    ├── DossierError             a version's dossier cannot be written where it shall be, or from what is there
    ├── SmearError               the cells of a smear give no differential, or its report cannot be written
    ├── LabellingError           labels or the queue cannot be read, written, or taken into data/
    ├── VersioningError          a DVC command failed
    ├── ServiceError             the service cannot be built, started or reached
    │   ├── ModelUnavailable     the service runs, but there is no model that it could serve yet
    │   ├── Overloaded           the service has as much to do as it takes in
    │   ├── TooManySmears        as many smears as may be are in work
    │   ├── UsersUnavailable     the service runs, but it cannot tell who may use it
    │   ├── SpecimenRefused      the id of a specimen could tell who the patient is, or is none
    │   └── KeepingError         kept images cannot be read, written, or deciphered
    └── MonitoringError          observations or a reference cannot be read
"""

import errno
from pathlib import Path


class BloodySpyError(Exception):
    """Root of the tree. The command line prints its sentence and exits with 1."""


class SettingsError(BloodySpyError):
    """A place or a secret in the environment is missing or wrong."""


class ParamsError(BloodySpyError):
    """params.yaml is missing or says something it must not."""


class DataError(BloodySpyError):
    """Something about the images of the data set."""


class SourceError(DataError):
    """An import source is absent, unreachable or not what was promised."""


class SealedPart(DataError):
    """The sealed part is asked for outside the ledger of looks."""

    def __init__(self) -> None:
        super().__init__(
            "The test part is sealed: whoever looks at it to choose something spoils it. `bloodyspy evaluate` and the "
            "gate open it, and each look is counted. Choose on the validation part; fit thresholds on the calibration "
            "part."
        )


class DataMissing(DataError):
    """A step needs a file that an earlier step writes."""

    def __init__(self, path: Path, written_by: str) -> None:
        super().__init__(f"{path} is not there. Run `{written_by}` first.")
        self.path = path


class ValidationFailed(DataError):
    """The data failed its expectations; the message lists each in words."""

    def __init__(self, failures: list[str], report: Path) -> None:
        listed = "\n".join(f"  - {failure}" for failure in failures)
        super().__init__(f"The data failed {len(failures)} expectation(s):\n{listed}\nOpen {report} for the details.")
        self.failures = failures
        self.report = report


class ImageError(BloodySpyError):
    """Something about one picture."""


class UnreadableImage(ImageError):
    """Bytes that are no picture, or a broken one."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This is not a readable picture: {reason}. Send a whole JPEG, PNG, BMP or TIFF file.")
        self.reason = reason


class ImageTooLarge(ImageError):
    """More pixels than the limit, told by the header before anything is decoded."""

    def __init__(self, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"The picture has {width} x {height} = {width * height / 1e6:.1f} megapixels; "
            f"at most {limit / 1e6:.0f} are taken. Send the cut-out of a single cell."
        )
        self.width, self.height, self.limit = width, height, limit


class ModelError(BloodySpyError):
    """Something about a network or an artefact."""


class WeightsUnavailable(ModelError):
    """Pretrained weights cannot be had here."""


class TrainingFailed(ModelError):
    """A fit ended without a usable network."""


class Pruned(ModelError):
    """A trial of a study was ended early, because others did better by then."""


class ArtefactInvalid(ModelError):
    """A model directory is incomplete, altered, or of another format version."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path} is not a usable model: {fault}. Assemble it again with `dvc repro`.")
        self.path, self.fault = path, fault


class PreprocessMismatch(ModelError):
    """This machine prepares the golden picture differently from training."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"The golden picture prepares to {found[:12]} here, but the model was trained on {expected[:12]}: "
            "another version of the image libraries is installed. Install the project's lock and try again."
        )


class GoldenMismatch(ModelError):
    """This machine answers a golden picture differently from where the model was assembled."""

    def __init__(self, path: Path, picture: str, expected: str, found: str, tolerance: float) -> None:
        super().__init__(
            f"{path} answers otherwise here than where it was assembled: the drawn {picture} gives {found}, expected "
            f"was {expected}, within {tolerance:g}. Install the project's lock; if it is installed, this processor "
            "computes differently: run `dvc repro --force evaluate@NAME` on one like it, which chooses the engine anew."
        )
        self.path, self.picture, self.expected, self.found = path, picture, expected, found


class ExportMismatch(ModelError):
    """The exported graph disagrees with the network it came from."""


class GraphRefused(ModelError):
    """An engine does not take an inference graph."""

    def __init__(self, path: Path, runtime: str, reason: str) -> None:
        said = " ".join(reason.split())
        super().__init__(f"{runtime} does not take {path}: {said}. Install the project's lock and try again.")
        self.path, self.runtime, self.reason = path, runtime, said


class RegistryError(BloodySpyError):
    """No such version, no champion, or a run that the tracking store does not know."""


class PromotionError(BloodySpyError):
    """Champion and challenger cannot be compared, or a release cannot be made."""


class AuditError(BloodySpyError):
    """The audit log cannot be read or written, or was altered."""


class DossierError(BloodySpyError):
    """A version's dossier cannot be written where it shall be, or from what is there."""


class SmearError(BloodySpyError):
    """The cells of a smear give no differential, or its report cannot be written."""


class LabellingError(BloodySpyError):
    """Labels or the queue of pictures cannot be read, written, or taken into data/."""


class VersioningError(BloodySpyError):
    """A DVC command failed."""


class ServiceError(BloodySpyError):
    """The service cannot be built, started or reached."""


class ModelUnavailable(ServiceError):
    """The service runs, but there is no model that it could serve yet."""


class Overloaded(ServiceError):
    """The service has as much to do as it takes in."""

    def __init__(self) -> None:
        super().__init__(
            "The service has as many pictures to do as it takes in. Send the request again after the seconds that "
            "Retry-After names."
        )


class UsersUnavailable(ServiceError):
    """The service runs, but it cannot tell who may use it."""


class SpecimenRefused(ServiceError):
    """The id of a specimen could tell who the patient is, or is none."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The specimen's id {reason}. Take a pseudonym such as S-2024-00017, and keep who that is elsewhere."
        )
        self.reason = reason


class KeepingError(ServiceError):
    """Kept images cannot be read, written, or deciphered."""


class LabelLost(ServiceError):
    """What a person said of a picture could not be written down."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The label was not kept: {reason}. Tell whoever runs the service, and give it again then.")
        self.reason = reason


class TooManySmears(ServiceError):
    """As many smears as may be are in work."""

    def __init__(self) -> None:
        super().__init__("As many smears as may be are in work. Send this one again in a moment.")


class MonitoringError(BloodySpyError):
    """Observations or a reference cannot be read."""


def full_disk(exc: BaseException) -> OSError | None:
    """The system's refusal of more bytes, of a disk or a quota, that an exception is or came from; None if neither."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
