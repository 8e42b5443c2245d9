"""How unlike the training pictures a picture is, in two respects that do not ask which answer the network gives.

*Foreignness* is of the picture: its statistics (light, colours, sharpness, noise) hang together as the stain, the
microscope and the camera at home make them, and a picture from elsewhere, or of something else, breaks that.
*Novelty* is of what the network sees in it: the training cells fill few of the directions of its feature space, and
what is no cell points out of them, however sure the network's head is of its answer.

Where among these directions a picture lies, in the few in which the training cells differ most, is its *embedding*:
small enough to stand in every observation, so that live pictures can be compared with the reference's.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import ArtefactInvalid
from bloodyspy.images.statistics import STATISTICS, ImageStatistics
from bloodyspy.observation import EMBEDDING

FAMILIARITY = "familiarity.npz"

COMPARED: tuple[str, ...] = tuple(name for name in STATISTICS if name not in ("width", "height"))
"""Statistics that foreignness is made of: whoever cuts a picture out decides its size."""


def pooled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Feature maps (n, rows, columns, channels) to what the network's head sees of them, (n, channels)."""
    return np.asarray(features.mean(axis=(1, 2)), np.float32)


def compared(statistics: ImageStatistics) -> NDArray[np.float64]:
    """The values of :data:`COMPARED`, (16,)."""
    return np.array([getattr(statistics, name) for name in COMPARED], np.float64)


@dataclass(frozen=True, slots=True)
class Familiarity:
    """What the training pictures are like; ``familiarity.npz`` of an artefact."""

    seen: NDArray[np.float32]
    """Mean of what the head sees of them, (channels,)."""
    directions: NDArray[np.float32]
    """In which they lie from there, the widest last: orthonormal columns, (channels, directions)."""
    spread: NDArray[np.float64]
    """Standard deviation of the training pictures in each of them, (directions,)."""
    ordinary: NDArray[np.float64]
    """Mean of their statistics, (16,)."""
    axes: NDArray[np.float64]
    """To a space in which their statistics are spread alike in every direction, (16, 16)."""

    def novelty(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sine of the angle between what the head sees of a picture and the directions of the training cells.

        The residual of a principal subspace, as in ViM (Wang et al. 2022), relative to its whole length.

        Args:
            features: maps of n pictures, (n, rows, columns, channels).

        Returns:
            (n,), 0 (inside) to 1 (all of it outside).
        """
        apart = (pooled(features) - self.seen).astype(np.float64)
        whole = np.linalg.norm(apart, axis=1)
        inside = np.linalg.norm(apart @ self.directions, axis=1)
        share = np.divide(inside, whole, out=np.ones_like(whole), where=whole > 0)
        return np.asarray(np.sqrt(np.clip(1 - share**2, 0, 1)))

    def embedding(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Place of pictures in the widest of the directions of the training cells, in standard deviations of theirs.

        Args:
            features: maps of n pictures, (n, rows, columns, channels).

        Returns:
            (n, 16), the widest first; 0 where the network has fewer directions.
        """
        wanted = min(len(EMBEDDING), self.directions.shape[1])
        place = np.zeros((len(features), len(EMBEDDING)))
        inside = (pooled(features) - self.seen).astype(np.float64) @ self.directions[:, -wanted:]
        place[:, :wanted] = (inside / self.spread[-wanted:])[:, ::-1]
        return place

    def foreignness(self, statistics: ImageStatistics) -> float:
        """Mahalanobis' distance of a picture's statistics from those of the training pictures, in deviations."""
        return float(np.linalg.norm((compared(statistics) - self.ordinary) @ self.axes) / len(COMPARED) ** 0.5)

    def write(self, folder: Path) -> None:
        """Into an artefact that is being assembled."""
        np.savez(
            folder / FAMILIARITY,
            seen=self.seen,
            directions=self.directions,
            spread=self.spread,
            ordinary=self.ordinary,
            axes=self.axes,
        )

    @classmethod
    def read(cls, folder: Path) -> "Familiarity":
        """Of an artefact.

        Raises:
            ArtefactInvalid: ``familiarity.npz`` is of another format.
        """
        try:
            with np.load(folder / FAMILIARITY, allow_pickle=False) as held:
                return cls(*(held[name] for name in ("seen", "directions", "spread", "ordinary", "axes")))
        except (ValueError, KeyError, BadZipFile, EOFError) as exc:
            raise ArtefactInvalid(folder, f"{FAMILIARITY} is of another format ({exc})") from exc
