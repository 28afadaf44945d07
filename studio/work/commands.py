"""The commands of the worker: one table, named by module so that nothing heavy is imported early."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from studio.errors import ProtocolError
from studio.work.job import Job


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's function lives, and whether it keeps the machine busy."""

    function: str
    """`module:name`."""
    heavy: bool = False
    """Heavy commands run one after the other, and only between two candidates of a run."""

    def load(self) -> Callable[..., dict[str, Any]]:
        module, _, name = self.function.partition(":")
        found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        return found


COMMANDS: Final = {
    "devices": Command("studio.work.machine:devices"),
    "inspect": Command("studio.work.machine:inspect"),
    "hub_token": Command("studio.work.hub_token:hub_token"),
    "runs": Command("studio.work.machine:runs"),
    "metrics": Command("studio.work.metrics:metrics"),
    "metrics_use": Command("studio.work.metrics:metrics_use"),
    "metrics_get": Command("studio.work.metrics:metrics_get", heavy=True),
    "space": Command("studio.work.space:space"),
    "empty": Command("studio.work.space:empty", heavy=True),
    "memory": Command("studio.work.memory:memory"),
    "forget": Command("studio.work.memory:forget"),
    "report": Command("studio.work.report:report"),
    "start": Command("studio.work.runs:start", heavy=True),
    "resume": Command("studio.work.runs:resume", heavy=True),
    "evaluate": Command("studio.work.runs:evaluate", heavy=True),
    "compare": Command("studio.work.compare:compare", heavy=True),
    "generate": Command("studio.work.playground:generate", heavy=True),
    "discriminator": Command("studio.work.discriminator:discriminator", heavy=True),
    "reuse": Command("studio.work.cascade.reuse:reuse", heavy=True),
    "certify": Command("studio.work.certify:certify", heavy=True),
    "export": Command("studio.work.export:export", heavy=True),
    "export_cascade": Command("studio.work.export_cascade:export_cascade", heavy=True),
    "export_as": Command("studio.work.export_as:export_as", heavy=True),
    "exportable": Command("studio.work.exportable:exportable"),
    "enlarge": Command("studio.work.enlarge:enlarge"),
    "verify": Command("studio.work.trust:verify", heavy=True),
    "sign": Command("studio.work.trust:sign", heavy=True),
    "diff": Command("studio.work.difference:diff", heavy=True),
    "add_variant": Command("studio.work.add_variant:add_variant", heavy=True),
    "llm_about": Command("studio.work.llm:about"),
    "llm_models": Command("studio.work.llm:models"),
    "llm_key": Command("studio.work.llm:store_key"),
    "llm_prompts": Command("studio.work.llm:prompts"),
    "llm_estimate": Command("studio.work.llm:cost"),
}
"""`pause`, `stop`, `steer`, `decide`, `cancel` and `shutdown` are the worker's own."""


def perform(name: str, job: Job, arguments: dict[str, Any]) -> dict[str, Any]:
    """Check the arguments against the function's signature, then call it.

    Raises:
        ProtocolError: arguments that are missing, unknown or of the wrong type.
    """
    function = COMMANDS[name].load()
    hints = get_type_hints(function)
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    }
    table = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    try:
        checked = table.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(
            f"The command {name} was given a bad argument {where}: {first['msg']}."
        ) from error
    return function(job, **{field: getattr(checked, field) for field in fields})
