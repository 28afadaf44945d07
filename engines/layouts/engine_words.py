"""What is the same for layouts that carry engine files: a plan on that engine, and what the change costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from engines.backends import backend
from engines.backends.serves import plain_precision
from engines.plan import Backend, Plan

if TYPE_CHECKING:
    from engines.models.model import Model

IMAGES_ONLY: Final = ("text-to-image",)


def on_engine(plan: Plan, engine: Backend, device: str) -> tuple[Plan, tuple[str, ...]]:
    """The plan on an engine and a device, and as sentences what of its precision is lost there."""
    found = replace(plan, backend=engine, device=device, channels_last=False, units="all")
    reason = backend(engine).objection(plan.precision, device)
    if not reason:
        return found, ()
    plain = plain_precision(device)
    return replace(found, precision=plain), (f"The precision {plan.precision} became {plain}: {reason}.",)


def draws_pictures(model: Model, title: str) -> tuple[str, ...]:
    """Refusals of layouts that turn one text into one picture."""
    if model.task in IMAGES_ONLY:
        return ()
    reason = f"{title} is written for text-to-image models and {model.name} does {model.task}"
    return (f"{reason}; export the package as it is.",)


def listed(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
