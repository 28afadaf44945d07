"""The model card: what a model is, read from its settings and the headers of its weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from engines.models import safetensors_file
from engines.models.inside import Inside, inside
from engines.models.layout import STUDENT, Part
from engines.models.model import Model
from engines.students import KINDS, solved

DTYPES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64"}


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a model; mirrors `studio.record.events.Component`."""

    name: str
    kind: str
    parameters: int
    dtype: str
    bytes: int
    share: float | None = None
    groups: int = 0
    inner: int = 0
    fusible: bool = True
    """Of a denoiser, these three: `engines.models.inside`."""


@dataclass(frozen=True, slots=True)
class Card:
    """Mirrors `studio.record.events.ModelCard`.

    `components` also lists what techniques may exchange for: `student_lora`
    (kind `LoRA`, or `LoRA (KIND, N steps)`) and `tiny_vae`.  `memory` is bytes in fp32 without those two.
    """

    name: str
    source: str
    family: str
    task: str
    size: int
    steps: int
    guidance: float
    licence: str
    components: tuple[Component, ...]
    hash: str
    memory: int
    notes: tuple[str, ...] = ()
    frames: int = 0

    def component(self, name: str) -> Component | None:
        return next((part for part in self.components if part.name == name), None)


def describe(model: Model) -> Card:
    """Make the card; reads no tensor."""
    layout = model.layout
    components = [_component(part, part.name == layout.denoiser) for part in layout.parts.values()]
    memory = sum(4 * part.parameters for part in components if part.name != "tiny_vae")
    scheduler = str(model.scheduler_config.get("_class_name", "unknown"))
    if not model.enlarges:
        components.append(Component("scheduler", scheduler, 0, "", 0))
    if layout.student is not None and model.student is not None:
        tensors = safetensors_file.header(layout.student).values()
        count = sum(tensor.elements for tensor in tensors)
        components.append(
            Component(
                STUDENT, model.student.words(), count, _dtype(list(tensors)), layout.student.stat().st_size
            )
        )
    return Card(
        name=model.name, source=model.source, family=model.family, task=model.task, size=model.size,
        steps=model.steps, guidance=model.guidance, licence=model.licence, components=tuple(components),
        hash=model.hash, memory=memory, notes=_notes(model, scheduler), frames=model.frames,
    )  # fmt: skip


def _component(part: Part, denoises: bool) -> Component:
    tensors = list(part.tensors())
    size = sum(path.stat().st_size for path in part.weights)
    found = inside(part) if denoises else Inside()
    return Component(
        part.name, part.kind, sum(tensor.elements for tensor in tensors), _dtype(tensors), size,
        groups=found.groups, inner=found.inner, fusible=found.fusible,
    )  # fmt: skip


def _dtype(tensors: list[safetensors_file.Tensor]) -> str:
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.elements
    most = sizes.most_common(1)
    return DTYPES.get(most[0][0], most[0][0].lower()) if most else ""


def _notes(model: Model, scheduler: str) -> tuple[str, ...]:
    from engines.hostloop.schedulers import DIFFUSERS_NAMES

    if model.enlarges:
        return (f"Makes pictures {model.scale} times as large; a prompt is the path of a picture.",)
    notes = []
    if scheduler not in DIFFUSERS_NAMES:
        notes.append(
            f"The saved scheduler {scheduler} is not known to the host loop; DDIM with its settings is used."
        )
    second = model.diffusion_decoder_kind
    if second is not None:
        notes.append(
            f"Draws with two denoisers: where the prior takes {model.steps} steps, the {second.title} takes"
            f" {second.steps(model.steps)}, unguided. The first half's texts serve both."
        )
    if model.frames:
        notes.append(f"Draws videos of {model.frames} frames.")
    if model.task in ("image-to-video", "upscaling"):
        notes.append("Starts from a picture: a prompt begins with the picture's path.")
    student = model.student
    if student is not None and student.told:
        kind, (solver, _) = KINDS[student.kind], solved(student.kind, model.scheduler_config)
        steps = f" in {student.steps} steps" if student.steps else ""
        notes.append(
            f"Student: a {kind.title} LoRA ({student.told}), solved with {solver}{steps}, unguided;"
            f" another kind is given as student=FILE:KIND, one of {', '.join(KINDS)}."
        )
        if student.left:
            notes.append(f"The student's {student.left} tensors for text encoders are not used.")
    if "safety_checker" in (part.name for part in model.path.iterdir()):
        notes.append("The safety checker that ships with this model is not run.")
    return tuple(notes)
