"""The base of every schema of a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen data from or for a file, where unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
