"""What every record is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Data(BaseModel):
    """Base of all event data: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Data):
    value: float
    low: float
    high: float
