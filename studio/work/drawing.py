"""Pictures of a run's candidates, drawn by their own scripts in processes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.candidate import Candidate
from agent.coder import title
from agent.errors import AgentError
from agent.evaluate import allowances, given
from agent.evaluate.bench import Bench
from agent.evaluate.static import declared
from agent.sandbox import Answer, CandidateFailure, Limits, Process, walls
from engines.backends.serves import TORCH
from engines.hostloop import pictures
from engines.models.load import open_model
from engines.workload import Workload
from studio.errors import RunError
from studio.record.state import RunState
from studio.work.convert import read_candidate

BASELINE: Final = "c000"
_PATIENCE: Final = 80
"""A request may take so many times what the baseline takes for a picture: sixteen, five times as slow."""


class Drawing:
    """Processes of a run's candidates, started when first asked for and kept until closed.

    Raises:
        RunError: the run has not begun, or lacks a candidate.
        WallsError: nothing limits candidates here, and the user has not agreed to that.
        EngineError: its model is no longer there.
    """

    def __init__(self, folder: Path, state: RunState) -> None:
        if state.started is None:
            raise RunError(f"The run {folder.name} holds nothing yet; wait until its baseline is measured.")
        walls.ask_first()
        self.folder = folder
        self._state = state
        begun = state.started
        self.model = open_model(begun.model.source)
        workload = Workload.model_validate(begun.workload)
        self._stack = ExitStack()
        self._bench = Bench(
            begun.model.source,
            begun.target,
            workload,
            self._candidate(BASELINE).script,
            self._limits(),
            [self.model.place, *pictures.files(workload.prompts)],
            allowances.builders(begun.model.memory),
        )
        self._stack.callback(self._bench.close)
        self._processes: dict[str, Process] = {}

    def _limits(self) -> Limits:
        """As while it was judged: by the model's weights and the time that the baseline takes."""
        assert self._state.started is not None
        limits = allowances.candidates(self._state.started.model.memory)
        verdict = self._state.candidate(BASELINE).verdict
        slow = 0.0 if verdict is None or verdict.latency is None else verdict.latency.value
        return replace(limits, generate_seconds=max(limits.generate_seconds, _PATIENCE * slow))

    def draw(self, name: str, prompts: Sequence[str], seeds: Sequence[int]) -> Answer:
        """Pictures by a candidate's script, and their time.

        Raises:
            RunError: the script fails; the text says how.
        """
        try:
            if name not in self._processes or not self._processes[name].alive:
                self._processes[name] = self._start(self._candidate(name))
            return given.check(self._candidate(name), self._processes[name].generate(prompts, seeds))
        except CandidateFailure as failure:
            said = given.explained(self._candidate(name), failure)
            raise RunError(f"{name} cannot draw: {said}") from failure
        except AgentError as failure:
            raise RunError(f"{name} cannot draw: {failure}") from failure

    def refresh(self, state: RunState) -> None:
        """Take in what a run has found since."""
        self._state = state

    def title(self, name: str) -> str:
        return self._state.candidate(name).proposal.title or title(self._candidate(name).proposal.recipe)

    def close(self) -> None:
        """End every process."""
        self._stack.close()

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _candidate(self, name: str) -> Candidate:
        return read_candidate(self.folder, self._state.candidate(name).proposal)

    def _start(self, candidate: Candidate) -> Process:
        own = candidate.proposal.origin == "given"
        recipe = (declared(candidate.script) or ()) if own else candidate.proposal.recipe
        bare = given.without_walls(candidate)
        process = self._stack.enter_context(self._bench.process(candidate.script, trusted=bare))
        try:
            self._bench.load(process)
        except CandidateFailure:
            if not recipe and self._bench.device in TORCH:
                raise
            # Its engines may have been cleared from the cache since it was judged.
            self._bench.build(tuple((step.technique, dict(step.parameters)) for step in recipe))
            process = self._stack.enter_context(self._bench.process(candidate.script, trusted=bare))
            self._bench.load(process)
        return process
