"""``inference.json``: what the parity gate measured of each runtime and precision, and which of them serves."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bloodyspy.model.inference import Precision, Runtime


class Variant(BaseModel):
    """A graph in a runtime: how fast it is, and what it answers beside Keras on the validation part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: Runtime
    precision: Precision
    file: str
    """The graph it reads."""
    megabytes: float = Field(gt=0)
    """Of that file, 10^6 bytes."""
    milliseconds_1: float = Field(gt=0)
    """Median time of one picture, alone."""
    milliseconds_32: float = Field(gt=0)
    """Median time of one picture in a batch of 32."""
    max_difference: float = Field(ge=0)
    """The largest difference of a probability, before any temperature."""
    classes_differ: int = Field(ge=0)
    """Pictures that get another class than Keras gives them."""
    temperature: float = Field(gt=0)
    """Fitted on its own answers on the calibration part."""
    balanced_accuracy: float = Field(ge=0, le=1)
    ece: float = Field(ge=0, le=1)
    """Expected calibration error, after the temperature."""
    accepted: bool
    reason: str
    """Why it was let through, or why not."""

    @property
    def name(self) -> str:
        """For people: ``openvino bfloat16``."""
        return f"{self.runtime} {self.precision}"


class InferenceReport(BaseModel):
    """All variants on one machine, and the choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    """Processor, its instructions for narrow numbers, and cores."""
    threads: int = Field(ge=1)
    """Of one inference."""
    variants: tuple[Variant, ...] = Field(min_length=1)
    served: int = Field(ge=0)
    """Index of the variant that serves."""
    memory_mb: float = Field(gt=0)
    """Resident memory of a process that does nothing but serve this graph, 10^6 bytes."""
    images_compared: int = Field(ge=1)
    """Pictures of the validation part."""

    @model_validator(mode="after")
    def _serves_what_was_accepted(self) -> Self:
        if self.served >= len(self.variants) or not self.variants[self.served].accepted:
            raise ValueError("the variant that serves is not one that was accepted")
        return self

    @property
    def choice(self) -> Variant:
        """The variant that serves."""
        return self.variants[self.served]


def fastest(variants: Sequence[Variant]) -> int:
    """Index of the accepted variant fastest in batches among those no slower than float32 on a single picture."""
    accepted = [index for index, variant in enumerate(variants) if variant.accepted]
    limit = min(variants[i].milliseconds_1 for i in accepted if variants[i].precision is Precision.FLOAT32)
    return min((i for i in accepted if variants[i].milliseconds_1 <= limit), key=lambda i: variants[i].milliseconds_32)
