"""What a person sees while pictures go through a network."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:  # who only classifies needs no training
    from bloodyspy.model.checkpoint import Epoch


class Rate(ProgressColumn):
    """Pictures per second: rich's own column shows them only where the total is unknown."""

    def render(self, task: Task) -> Text:
        """The rate of late, or of the whole when it is over."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class TrainingProgress:
    """A bar on a terminal; one line an epoch with the time left anywhere else."""

    def __init__(self, name: str, epochs: int, images: int, done: int) -> None:
        self._name, self._epochs, self._done = name, epochs, done
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(f"training {name}", total=images * epochs, completed=images * done)

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def advance(self, images: int) -> None:
        """So many pictures more were trained on."""
        self._progress.advance(self._task, images)

    def tell(self, row: "Epoch") -> None:
        """An epoch is over."""
        left = (self._epochs - row.epoch) * row.seconds
        self._console.print(
            f"{self._name}: epoch {row.epoch} of {self._epochs}, loss {row.loss:.3f}, "
            f"validation loss {row.val_loss:.3f}, validation accuracy {row.val_accuracy:.1%}, "
            f"{row.images_per_second:.0f} images/s, about {left // 60:.0f} min {left % 60:02.0f} s left",
            highlight=False,
            soft_wrap=True,
        )
