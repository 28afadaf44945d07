"""How far each step of the rail is."""

from __future__ import annotations

from studio.ui.desk import Desk
from studio.ui.widgets.rail import StepState


def state_of(step: str, desk: Desk) -> StepState:
    """The state shown under a step's word."""
    if step in desk.problems:
        return "attention"
    passed = len(desk.candidates())
    match step:
        case "model":
            return "running" if desk.opening else ("done" if desk.card is not None else "empty")
        case "device":
            if desk.asking_devices:
                return "running"
            if not desk.targets:
                return "empty"
            return "done" if desk.target is not None and desk.target.state == "ready" else "attention"
        case "evolve":
            phase = desk.run.phase
            if phase == "running":
                return "running"
            if phase in {"paused", "interrupted"}:
                return "attention"
            if phase == "empty":
                return "ready" if desk.card is not None else "empty"
            return "attention" if phase == "failed" else "done"
        case "compare" | "cascade":
            return "ready" if passed > 1 else "empty"
        case "export":
            if desk.exported:
                return "done"
            return "ready" if passed > 1 else "empty"
    return "empty"
