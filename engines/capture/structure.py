"""What is captured: a component in one of its structures, and its named inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from engines.errors import CaptureError
from engines.plan import DenoiserStructure

if TYPE_CHECKING:
    from engines.hostloop.settings import Condition
    from engines.models.model import Model

ComponentName = str
"""`text_encoder`, `text_encoder_2`..., `image_encoder`, `picture_encoder`, `denoiser`, `denoiser_small`,
`denoiser_full`, `denoiser_shallow`, `denoiser_gated`, `denoiser_gated_shallow`, `denoiser_first`,
`denoiser_rest`, `denoiser_last`, `diffusion_decoder`, `decoder`, `upscaler`"""
Dtype = Literal["float32", "int64"]


PLAIN: Final = DenoiserStructure()
STAGES: Final[Mapping[str, Literal["first", "rest", "last"]]] = {
    "denoiser_first": "first",
    "denoiser_rest": "rest",
    "denoiser_last": "last",
}
LOW_RANK: Final = "low_rank_"
"""In the names of a low-rank branch's constants, in every engine's graph: what few bits leave as it is."""
_LATER: Final = (
    "gated", "staged", "modulated", "front", "back", "pruned", "sparse", "fused_norm", "low_rank",
)  # fmt: skip
"""Fields of `DenoiserStructure` that came later: left out of keys where they say nothing."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named array; the batch comes first and is not part of `shape`."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"
    values: tuple[float, ...] = ()
    """What it always is, where that does not change: sizes of the picture and the like."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One component's graph and weights, for one size of latent."""

    component: ComponentName
    latent: tuple[int, ...]
    """(C, h, w), of video (C, F, h, w); of a diffusion decoder the denoiser's, which it is told"""
    denoiser: DenoiserStructure = PLAIN
    decoder: Literal["vae", "tiny"] = "vae"

    def facts(self) -> dict[str, object]:
        """What tells this structure apart; parts that do not touch the component are left out."""
        found: dict[str, object] = {"component": self.component}
        if not self.component.startswith("text_encoder"):
            found["latent"] = list(self.latent)
        if self.component == "decoder":
            found["decoder"] = self.decoder
        if self.component.startswith("denoiser"):
            facts = asdict(self.denoiser)
            if self.component == "denoiser_shallow" and self.denoiser.cached:
                facts["gated"] = False  # it is the same before the gate
            found["denoiser"] = {name: value for name, value in facts.items() if value or name not in _LATER}
        return found


Specs = tuple[TensorSpec, ...]


def interface(model: Model, structure: Structure) -> tuple[Specs, Specs]:
    """Inputs and outputs of a component, as the table in docs/architecture.md says.

    Raises:
        CaptureError: a component that the model does not have; a denoiser that cannot be split, or a U-Net
            with one level, which has no deep feature to cache.
    """
    name, latent = structure.component, structure.latent
    if name.startswith("text_encoder"):
        return _text_encoder(model, name)
    if name == "upscaler":
        _, height, width = latent
        scale = model.scale
        large = TensorSpec("image", (3, height * scale, width * scale))
        return (TensorSpec("picture", (3, height, width)),), (large,)
    if name in ("image_encoder", "picture_encoder"):
        return _picture_encoder(model, name, latent)
    if name == "decoder":
        return _decoder(model, latent)
    if name == "diffusion_decoder":
        return _diffusion_decoder(model, latent)
    return _denoiser(model, structure)


def _text_encoder(model: Model, name: str) -> tuple[Specs, Specs]:
    use = next((one for one in model.texts if one.part == name), None)
    if use is None:
        raise CaptureError(f"The model {model.name} uses no {name}.")
    length, kind = model.text_length(use), model.text_kind(name)
    config = model.layout.parts[name].config
    inputs: Specs = (TensorSpec("input_ids", (length,), "int64"),)
    if use.masked:
        inputs += (TensorSpec("attention_mask", (length,), "int64"),)
    outputs: Specs = ()
    if use.embeddings:
        outputs += (TensorSpec("embeddings", (length, kind.width(config))),)
    if use.pooled:
        outputs += (TensorSpec("pooled", (kind.pooled_width(config),)),)
    return inputs, outputs


def _picture_encoder(model: Model, name: str, latent: tuple[int, ...]) -> tuple[Specs, Specs]:
    height, width = (side * model.scale for side in latent[-2:])
    inputs = (TensorSpec("picture", (3, height, width)),)
    if name == "picture_encoder":
        return inputs, (TensorSpec("latent", (latent[0], *latent[-2:])),)
    return inputs, (TensorSpec("embeddings", (1, int(model.part_config(name)["projection_dim"]))),)


def _decoder(model: Model, latent: tuple[int, ...]) -> tuple[Specs, Specs]:
    side = model.scale
    shape: tuple[int, ...] = (3, latent[-2] * side, latent[-1] * side)
    if len(latent) == 4:
        frames = model.decoder_kind.frames(model.layout.parts["vae"].config, latent[1])
        shape = (3, frames, *shape[1:])
    return (TensorSpec("latent", latent),), (TensorSpec("image", shape),)


def _diffusion_decoder(model: Model, latent: tuple[int, ...]) -> tuple[Specs, Specs]:
    kind = model.diffusion_decoder_kind
    if kind is None:
        raise CaptureError(f"The model {model.name} has no diffusion decoder.")
    own = kind.latent(model, latent)
    return (_asked(own, kind.conditions(model, latent)), (TensorSpec("prediction", own),))


def _asked(latent: tuple[int, ...], conditions: Sequence[Condition]) -> Specs:
    told = tuple(TensorSpec(one.name, one.shape, one.dtype, one.values) for one in conditions)
    return (TensorSpec("sample", latent), TensorSpec("timestep", ()), *told)


def _denoiser(model: Model, structure: Structure) -> tuple[Specs, Specs]:
    latent, kind = structure.latent, model.denoiser_kind
    inputs = _asked(latent, kind.conditions(model, latent))
    prediction = TensorSpec("prediction", latent)
    if structure.component in ("denoiser", "denoiser_small"):
        if not kind.fits(model, latent):
            raise CaptureError(
                f"The {kind.title} of {model.name} draws latents whose sides are multiples of"
                f" {model.alignment}, not {latent[-2]} x {latent[-1]}; leave progressive-resolution out."
            )
        return inputs, (prediction,)
    if structure.component in STAGES:
        return _stage(model, structure, inputs, prediction)
    wanted = structure.denoiser
    if wanted.gated:
        size = kind.attention_size(model, latent)
        if not size:
            raise CaptureError(
                f"The {kind.title} of {model.name} has no cross-attention of its own that could be frozen;"
                " leave attention-gate out."
            )
        answers = TensorSpec("attention" if wanted.cached else "feature", (size,))
        if not wanted.cached:
            if structure.component == "denoiser_full":
                return inputs, (prediction, answers)
            return (*inputs, answers), (prediction,)
    if not kind.cacheable:
        raise CaptureError(
            f"The {kind.title} of {model.name} cannot be split for feature caching; leave feature-cache out."
        )
    shapes = kind.stages(model, latent)
    if shapes is None:
        raise CaptureError(
            f"The {kind.title} of {model.name} has one level only, so there is no deep feature to cache."
        )
    feature = TensorSpec("feature", shapes.feature)
    match structure.component:
        case "denoiser_full":
            return inputs, (prediction, feature, *((answers,) if wanted.gated else ()))
        case "denoiser_gated":
            return (*inputs, answers), (prediction, feature)
        case "denoiser_gated_shallow":
            return (*inputs, feature, answers), (prediction,)
        case _:
            return (*inputs, feature), (prediction,)


def _stage(model: Model, structure: Structure, inputs: Specs, prediction: TensorSpec) -> tuple[Specs, Specs]:
    kind = model.denoiser_kind
    shapes = kind.stages(model, structure.latent, structure.denoiser)
    if shapes is None:
        raise CaptureError(
            f"The {kind.title} of {model.name} cannot be split after its first block; leave threshold-cache"
            " out."
        )
    state = tuple(TensorSpec(name, shape) for name, shape in shapes.state.items())
    feature = TensorSpec("feature", shapes.feature)
    after: Specs = (*inputs[1:], *state)
    match STAGES[structure.component]:
        case "first":
            return inputs, (*state, TensorSpec("probe", shapes.probe))
        case "rest":
            return after, (feature,)
        case "last":
            return (*after, feature), (prediction,)
