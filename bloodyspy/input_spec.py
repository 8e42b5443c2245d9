"""Geometry of a network's input: declared in params.yaml, kept in the artefact, followed by the one road."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class InputSpec(BaseModel):
    """Geometry of a network's input.

    The largest centred square of a picture is resized with Pillow's antialiasing bilinear filter; of the result, the
    *field*, the input is the centre. The cell sits in the middle: the margin costs time and says little, but a picture
    that is turned or moved for training takes it in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=32, le=512, description="side of the input, pixels")
    resize: int | None = Field(default=None, ge=32, le=1024, description="side of the field, pixels; default: the size")

    @model_validator(mode="after")
    def _the_field_holds_the_input(self) -> Self:
        if self.field < self.size or (self.field - self.size) % 2:
            raise ValueError(f"`resize` must be `size` ({self.size}) or more by an even number of pixels")
        return self

    @property
    def field(self) -> int:
        """Side of the field, pixels."""
        return self.resize or self.size
