"""What is captured: a component in one of its structures, and its named inputs and outputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from engines.errors import CaptureError
from engines.plan import DenoiserStructure

if TYPE_CHECKING:
    from engines.models.model import Model

ComponentName = Literal["text_encoder", "denoiser", "denoiser_full", "denoiser_shallow", "decoder"]
Dtype = Literal["float32", "int64"]


PLAIN: Final = DenoiserStructure()


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named array; the batch comes first and is not part of `shape`."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"


@dataclass(frozen=True, slots=True)
class Structure:
    """One component's graph and weights, for one size of latent."""

    component: ComponentName
    latent: tuple[int, int, int]
    """(C, h, w)"""
    denoiser: DenoiserStructure = PLAIN
    decoder: Literal["vae", "tiny"] = "vae"

    def facts(self) -> dict[str, object]:
        """What tells this structure apart; parts that do not touch the component are left out."""
        found: dict[str, object] = {"component": self.component}
        if self.component != "text_encoder":
            found["latent"] = list(self.latent)
        if self.component == "decoder":
            found["decoder"] = self.decoder
        if self.component.startswith("denoiser"):
            found["denoiser"] = asdict(self.denoiser)
        return found


def interface(model: Model, structure: Structure) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a component, as the table in docs/architecture.md says.

    Raises:
        CaptureError: a U-Net with one level has no deep feature to cache.
    """
    latent = structure.latent
    embeddings = TensorSpec("embeddings", (model.token_length, model.embedding_width))
    if structure.component == "text_encoder":
        return (TensorSpec("input_ids", (model.token_length,), "int64"),), (embeddings,)
    if structure.component == "decoder":
        side = model.scale
        return (TensorSpec("latent", latent),), (
            TensorSpec("image", (3, latent[1] * side, latent[2] * side)),
        )
    inputs = (TensorSpec("sample", latent), TensorSpec("timestep", ()), embeddings)
    prediction = TensorSpec("prediction", latent)
    if structure.component == "denoiser":
        return inputs, (prediction,)
    widths = model.layout.parts["unet"].config["block_out_channels"]
    if len(widths) < 2:
        raise CaptureError(
            f"The U-Net of {model.name} has one level only, so there is no deep feature to cache."
        )
    feature = TensorSpec("feature", (int(widths[1]), latent[1], latent[2]))
    if structure.component == "denoiser_full":
        return inputs, (prediction, feature)
    return (*inputs, feature), (prediction,)
