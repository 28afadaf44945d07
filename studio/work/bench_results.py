"""Scores of a benchmark as they come: a file that is only added to, so that a stopped one goes on."""

from __future__ import annotations

import json
from pathlib import Path

from agent.bench.score import Scored
from agent.bench.verdicts import kept_lines
from studio.errors import RunError


class Results:
    """Scores of one agent in `path`, one JSON line each; a damaged line is a task that is done again.

    The first line says whose they are: `{"agent": "built-in-no-genetic"}`.  Files of before have none.

    Raises:
        RunError: the file holds another agent's.
    """

    def __init__(self, path: Path, agent: str) -> None:
        self._path, self._agent = path, agent
        self.scored: list[Scored] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in kept_lines(path):
            try:
                found = json.loads(line)
                whose = found.get("agent", agent)
                if whose == agent and "agent" not in found:
                    self.scored.append(Scored(**found))
            except (AttributeError, ValueError, TypeError):
                continue
            if whose != agent:
                raise RunError(
                    f"{path.parent} holds the results of {whose}, and these would be {agent}'s; give --out "
                    "another folder, or leave it out: then each agent has its own."
                )

    @property
    def done(self) -> set[str]:
        """Tasks that need not be done again."""
        return {one.task for one in self.scored}

    def add(self, scored: Scored) -> None:
        """One more, on disk before it is told."""
        self.scored.append(scored)
        lines = [] if self._path.exists() else [{"agent": self._agent}]
        with self._path.open("a", encoding="utf-8") as file:
            for one in (*lines, scored.to_json()):
                file.write(json.dumps(one, ensure_ascii=False) + "\n")
