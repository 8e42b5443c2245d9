"""When the model is trained anew, how a new champion is watched, and when the clock asks: keys of params.yaml."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

OFF = "off"
"""In the place of a cron line: the clock does not ask."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _cron(line: str) -> str:
    if line != OFF and not re.fullmatch(r"\S+( +\S+){4}", line):
        raise ValueError(f"{line!r} is neither a cron line of five fields (minute hour day month weekday) nor `off`")
    return line


# YAML reads an unquoted off as false
Cron = Annotated[str, BeforeValidator(lambda given: OFF if given is False else given), AfterValidator(_cron)]


class Schedules(_Strict):
    """Cron lines, UTC, or ``off``."""

    check_drift: Cron
    queue: Cron
    upkeep: Cron
    retrain: Cron
    watch: Cron

    def crons(self) -> dict[str, str]:
        """Those that the clock keeps, by the name of their flow."""
        return {name.replace("_", "-"): line for name, line in self.model_dump().items() if line != OFF}


class Watch(_Strict):
    """How long a new champion is watched, and what takes it back."""

    hours: float = Field(gt=0, description="at least; four times as long where labels are missing")
    answers: int = Field(ge=100, description="without which it is not over, and unsure ones are not judged")
    loss: float = Field(gt=0, lt=0.5, description="of accuracy, below the sealed one, that has to be found")
    level: float = Field(gt=0, lt=0.5, description="of a whole watch: chance that a good champion is taken back")
    missed: float = Field(gt=0, lt=0.5, description="of a whole watch: chance that one with that loss is kept")
    unsure: float = Field(gt=0, lt=1, description="rise in the share of answers that do not go out unseen")


class Loop(_Strict):
    """What is a reason to train anew."""

    labels: int = Field(ge=1, description="settled labels that are a reason by themselves")
    drift_labels: int = Field(ge=1, description="settled labels that make drift a reason")
    alarms: int = Field(ge=1, description="windows in a row, none overlapping the next, that have to be drifted")
    days: float = Field(gt=0, description="since the last training, after which the calendar is a reason")
    tries: int = Field(ge=1, description="without getting further, after which a reason is given up")
    tolerance: float = Field(ge=0, lt=0.5, description="of accuracy below the sealed one that is no loss")
    watch: Watch
