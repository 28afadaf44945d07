"""A lowered program: plain values, so that it can be saved beside its weights and read without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

FORMAT: Final = 1

Kind = Literal["plain", "kernel", "quantised"]


@dataclass(frozen=True, slots=True)
class Node:
    """One call.  Arguments are JSON values; `{"ref": name}` is another node's result."""

    name: str
    operator: str
    arguments: list[Any]
    named: dict[str, Any] = field(default_factory=dict)
    dtype: str = ""
    """Of the result; empty where it is no single array."""
    place: str = ""
    """The module of the model that it comes from."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A weight: under which name it lies in the file, and in which form."""

    tensor: str
    kind: Kind = "plain"
    group: int = 0
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """A component's graph, in the order in which it is computed."""

    inputs: list[str]
    """Names; a node refers to one as `in:NAME`."""
    outputs: list[Any]
    nodes: list[Node]
    constants: dict[str, Constant]
    names: list[str] = field(default_factory=list)
    """Of the outputs, where they have any."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"format": FORMAT} | asdict(self)), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Program:
        """Raises `ValueError` where the file is no program of this format."""
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"{path.name} is no program of format {FORMAT}")
        return Program(
            data["inputs"],
            data["outputs"],
            [Node(**node) for node in data["nodes"]],
            {name: Constant(**constant) for name, constant in data["constants"].items()},
            data["names"],
        )


def references(value: Any) -> list[str]:
    """Names of the nodes that an argument refers to."""
    if isinstance(value, dict):
        if "ref" in value:
            return [value["ref"]]
        return [name for one in value.values() for name in references(one)]
    if isinstance(value, list):
        return [name for one in value for name in references(one)]
    return []
