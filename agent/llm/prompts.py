"""The prompts: versioned files in `assets/prompts`, filled with what a run knows."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from agent.errors import KnowledgeError

NAMES: Final = ("system", "plan", "code", "repair", "bench")
_HEAD: Final = re.compile(r"^<!-- prompt (?P<name>[a-z]+), version (?P<version>\d+) -->\n")


def folder() -> Path:
    """`assets/prompts` of a checkout, or the same folder in a wheel.

    Raises:
        KnowledgeError: neither is there.
    """
    root = Path(__file__).resolve().parents[2]
    for assets in (root / "assets", root / "engines" / "_assets"):
        if (assets / "prompts" / "system.md").is_file():
            return assets / "prompts"
    raise KnowledgeError(
        "The agent's prompts are not part of this installation; install Pareto Studio again."
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """One file: `${name}` stands for what is filled in."""

    name: str
    version: int
    text: str

    @property
    def title(self) -> str:
        """As recorded with every call: `plan/1`."""
        return f"{self.name}/{self.version}"

    def fill(self, **values: str) -> str:
        """The text with every place filled.

        Raises:
            KnowledgeError: a place for which there is no value, or a value without a place.
        """
        template = Template(self.text)
        places = set(template.get_identifiers())
        if places != set(values) or not template.is_valid():
            raise KnowledgeError(
                f"The prompt {self.title} has places {sorted(places)} and is given {sorted(values)}; "
                "install Pareto Studio again."
            )
        return template.substitute(values)


def parse(text: str) -> Prompt:
    """Raises `KnowledgeError` for a text without the head that says its name and version."""
    head = _HEAD.match(text)
    if head is None:
        raise KnowledgeError("A prompt must begin with <!-- prompt NAME, version N -->; restore the file.")
    return Prompt(head["name"], int(head["version"]), text[head.end() :].strip() + "\n")


@functools.cache
def prompt(name: str) -> Prompt:
    """One of `NAMES`.

    Raises:
        KnowledgeError: the file is gone or damaged.
    """
    path = folder() / f"{name}.md"
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"The prompt {path.name} cannot be read ({error}).") from error
    if found.name != name:
        raise KnowledgeError(f"The prompt {path.name} says it is {found.name}; restore the file.")
    return found
