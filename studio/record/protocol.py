"""The lines between a front end and the worker: requests in, events out."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.errors import ProtocolError
from studio.record.events import Event

_Model = TypeVar("_Model", bound=BaseModel)

PROTOCOL: Final = 1
LONGEST: Final = 1 << 22
"""Characters in a line; more is no request of ours."""


class Request(BaseModel):
    """What a front end wants done; its answers carry the same `job`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Annotated[int, Field(ge=1)]
    command: str
    arguments: dict[str, Any] = {}


def encode(item: Request | Event) -> str:
    """One line, with its line end; never contains another one."""
    return item.model_dump_json() + "\n"


def decode_request(line: str) -> Request:
    """Raises `ProtocolError` for anything but a request."""
    return _decode(Request, line)


def decode_event(line: str) -> Event:
    """Raises `ProtocolError` for anything but an event."""
    return _decode(Event, line)


def _decode(model: type[_Model], line: str) -> _Model:
    if len(line) > LONGEST:
        raise ProtocolError(f"A line of {len(line)} characters is too long to be a {model.__name__.lower()}.")
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(
            f"This line is no {model.__name__.lower()} ({where + ': ' if where else ''}{first['msg']}): "
            f"{line.strip()[:80]}"
        ) from error
