"""Few-step students by kind: which solver each was distilled for, and how a LoRA says which it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_STEPS: Final = 8
"""A student that wants more steps is none of a few."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How students of one kind are solved; all of them run without guidance."""

    title: str
    solver: str
    """A name of `engines.hostloop.schedulers`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What changes in the model's own scheduler settings, diffusers' keys."""
    fixed: bool = True
    """A checkpoint is made for one number of steps."""
    mark: str = ""
    """What its name is known by, a regular expression."""


_TRAILING: Final[Mapping[str, Any]] = {"timestep_spacing": "trailing"}
# DDIM clips to [-1, 1] where a model's settings, saved for another solver, do not forbid it: latents are
# wider, and diffusers' pipelines of latent diffusion never clip.
_WIDE: Final[Mapping[str, Any]] = {"clip_sample": False}
KINDS: Final[Mapping[str, Kind]] = {
    # Luo et al., LCM-LoRA, arXiv 2311.05556
    "lcm": Kind("latent consistency", "lcm", fixed=False, mark="lcm"),
    # Yin et al., arXiv 2405.14867; its four steps 999, 749, 499, 249 are every 25th of a hundred
    "dmd2": Kind("DMD2", "lcm", {"original_inference_steps": 100}, mark="dmd2?"),
    # Lin et al., arXiv 2402.13929
    "lightning": Kind("Lightning", "euler", _TRAILING, mark="lightning"),
    # Ren et al., arXiv 2404.13686: DDIM for the adapters of a fixed number of steps
    "hyper": Kind("Hyper-SD", "ddim", {**_TRAILING, **_WIDE}, mark="hyper"),
    # Sauer et al., arXiv 2311.17042: as SDXL-Turbo is shipped
    "turbo": Kind("Turbo", "euler_a", _TRAILING, fixed=False, mark="turbo"),
    "ddim": Kind("progressive distillation", "ddim", _WIDE, fixed=False, mark="ddim"),
}
FLOW: Final = "flow-euler"
"""What a student of a flow-matching model is solved with, whatever its kind: the cards of Hyper-SD's and
Turbo's FLUX and SD 3 adapters keep the model's own scheduler, and the noise schedules above are not its."""
OWN: Final = "ddim"
"""What a student is that a model's folder holds and says nothing about."""
ASSUMED: Final = "lcm"
"""What a LoRA is taken for that says nothing: the most frequent kind, and bound to no number of steps."""
_STEPS: Final = re.compile(r"(?<!\d)(\d{1,2})[\s_-]?steps?", re.IGNORECASE)
_WORDS: Final = re.compile(r"LoRA \((\w+)(?:, (\d+) steps?)?\)")


@dataclass(frozen=True, slots=True)
class Student:
    """A model's student."""

    kind: str = OWN
    steps: int | None = None
    """The number that it was distilled for; `None` where any will do or none is known."""
    told: str = ""
    """By what its kind is known, as the end of a sentence; empty where the model's folder holds it."""
    left: int = 0
    """Tensors of its file that are for text encoders and are not used."""

    def words(self) -> str:
        """How the card's `student_lora` names it; `understood` is the inverse."""
        if self.kind == OWN and self.steps is None:
            return "LoRA"
        steps = "" if self.steps is None else f", {self.steps} step{'s' if self.steps > 1 else ''}"
        return f"LoRA ({self.kind}{steps})"


def solved(kind: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The solver of a kind of student on a model with these scheduler settings, and the settings it takes."""
    flow = str(config.get("_class_name")).startswith("FlowMatch")
    if not flow and config.get("prediction_type") != "flow_prediction":
        return KINDS[kind].solver, {**config, **KINDS[kind].settings}
    shift = config.get("shift", config.get("flow_shift", 1.0))
    kept = {name: value for name, value in config.items() if name not in ("use_flow_sigmas", "flow_shift")}
    return FLOW, {**kept, "shift": shift, "prediction_type": "flow_prediction"}


def understood(words: str) -> Student:
    """The kind and the steps that the card's words name."""
    found = _WORDS.fullmatch(words)
    if found is None:
        return Student()
    return Student(found[1], None if found[2] is None else int(found[2]))


def recognised(given: str, metadata: Mapping[str, str], names: Iterable[str]) -> Student:
    """The student that a LoRA is: by what the user said, its metadata, its name or its folders', or assumed.

    `names` begins with the file's own.
    """
    titles = [metadata[key] for key in ("modelspec.title", "ss_output_name") if metadata.get(key)]
    texts = [(title, "its metadata say so") for title in titles]
    texts += [(name, "its name says so") for name in names]
    steps = next((int(found[1]) for text, _ in texts if (found := _STEPS.search(text))), None)
    kind, told = given, "you said so"
    if not given:
        says = ((name, told) for text, told in texts for name, one in KINDS.items() if _marked(one, text))
        kind, told = next(says, (ASSUMED, "its file does not say what it is, and most such LoRAs are"))
    return Student(kind, steps if KINDS[kind].fixed else None, told)


def _marked(kind: Kind, text: str) -> bool:
    return re.search(rf"(?<![a-z]){kind.mark}(?![a-z])", text.lower()) is not None
