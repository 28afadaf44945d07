"""The two functions that the model answers with, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.llm.service import Answer, Tool

PLANS: Final = "propose_plans"
SCRIPT: Final = "submit_script"
_LONGEST_SCRIPT: Final = 200_000
_FENCE: Final = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)

Text = Annotated[str, Field(max_length=20_000)]


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedStep(_Given):
    technique: str
    parameters: dict[str, bool | int | float | str] = {}


class Plan(_Given):
    """One plan as the model gave it; nothing in it is believed yet."""

    kind: Literal["new", "refine", "recombine"] = "new"
    parents: tuple[str, ...] = ()
    recipe: tuple[PlannedStep, ...] = ()
    code: Text = ""
    speedup: float | None = None
    """Expected, over the unchanged model."""
    loss: float | None = None
    """Expected, in the run's metric."""
    why: Text = ""


class Submitted(_Given):
    """A script as the model gave it."""

    script: Annotated[str, Field(min_length=1, max_length=_LONGEST_SCRIPT)]
    cause: Text = ""
    change: Text = ""


def plans_tool(techniques: Sequence[str]) -> Tool:
    """The schema of plans over the techniques that apply."""
    step = {
        "type": "object",
        "properties": {
            "technique": {"type": "string", "enum": list(techniques)},
            "parameters": {
                "type": "object",
                "description": "Values of its parameters by name; left out: the default.",
            },
        },
        "required": ["technique", "parameters"],
    }
    plan = {
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": ["new", "refine", "recombine"]},
            "parents": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Ids of the candidates it comes from, for example c004; none for a new one.",
            },
            "recipe": {"type": "array", "items": step, "description": "Each technique at most once."},
            "code": {
                "type": "string",
                "description": "What the script does beyond the techniques; empty: nothing.",
            },
            "speedup": {"type": "number", "description": "Expected speed-up over the unchanged model."},
            "loss": {
                "type": "number",
                "description": "Expected quality loss in the run's metric, 0.02 is 2 points.",
            },
            "why": {
                "type": "string",
                "description": "Two sentences: which time it goes for, and what it costs.",
            },
        },
        "required": ["kind", "parents", "recipe", "code", "speedup", "loss", "why"],
    }
    return Tool(
        PLANS,
        "Hand in the plans of a generation.",
        {
            "type": "object",
            "properties": {"plans": {"type": "array", "items": plan}},
            "required": ["plans"],
        },
    )


SCRIPT_TOOL: Final = Tool(
    SCRIPT,
    "Hand in a candidate's script, written or repaired.",
    {
        "type": "object",
        "properties": {
            "cause": {"type": "string", "description": "For a repair: why it failed, one sentence."},
            "change": {
                "type": "string",
                "description": "What the script does, or what was changed; one sentence.",
            },
            "script": {"type": "string", "description": "The whole Python file."},
        },
        "required": ["change", "script"],
    },
)


def read_plans(answer: Answer) -> tuple[list[Plan], list[str]]:
    """The plans of an answer, and a sentence for each thing in it that is none."""
    block = answer.tool(PLANS)
    if block is None:
        return [], [f"The answer did not call the tool {PLANS}."]
    if block.input is None:
        if answer.stop == "max_tokens":
            return [], ["The answer was too long and was cut off; give shorter reasons."]
        return [], ["The tool's input was no valid JSON."]
    given = block.input.get("plans")
    if not isinstance(given, list):
        return [], ["The tool's input has no list `plans`."]
    plans, problems = [], []
    for number, one in enumerate(given[:64], 1):
        try:
            plans.append(Plan.model_validate(one))
        except ValidationError as error:
            problems.append(f"Plan {number} cannot be read ({_first(error)}).")
    return plans, problems


def read_script(answer: Answer) -> tuple[Submitted | None, str]:
    """The script of an answer, from the tool or else from the longest fenced block; or what is wrong."""
    block = answer.tool(SCRIPT)
    if block is not None and block.input is not None:
        try:
            return Submitted.model_validate(block.input), ""
        except ValidationError as error:
            return None, f"The tool's input cannot be read ({_first(error)})."
    if answer.stop == "max_tokens":
        return None, "The answer was too long and was cut off; write a shorter script."
    if block is not None:
        return None, "The tool's input was no valid JSON."
    fenced = max(_FENCE.findall(answer.text), key=len, default="")
    if "def generate" in fenced and len(fenced) <= _LONGEST_SCRIPT:
        return Submitted(script=fenced, change=_before(answer.text)), ""
    return None, f"The answer did not call the tool {SCRIPT}."


def _before(text: str) -> str:
    return " ".join(text.split("```", 1)[0].split())[:400]


def _first(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
