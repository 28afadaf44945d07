"""The U-Net of Stable Diffusion 1 and 2, SDXL, LCM and the x4 upscaler."""

# ruff: noqa: ARG002 - every kind answers the same questions, not every one needs all that it is told

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engines.hostloop.settings import Condition, Picture
from engines.models.kinds.base import DenoiserKind, Latent, Split, Tensors, TextUse

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

NOISE_LEVEL = 20
"""How much noise the upscaler's low-resolution picture gets, as its pipeline does."""
KNOWN_INPUTS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type")


class UNet(DenoiserKind):
    """A U-Net with cross-attention (Rombach, arXiv 2112.10752; for SDXL, Podell, arXiv 2307.01952)."""

    classes = ("UNet2DConditionModel",)
    title = "U-Net"
    guidance = 7.5
    cacheable = merges = True

    @property
    def splits(self) -> frozenset[Split]:
        return super().splits | {"attention"}

    def objection(self, model: Model) -> str | None:
        config = self.config(model)
        for key in KNOWN_INPUTS:
            value = config.get(key)
            if value is not None and not (key == "addition_embed_type" and value == "text_time"):
                return f"needs more inputs than a prompt ({key} {value})"
        channels, latent = int(config["in_channels"]), int(config["out_channels"])
        if channels != latent and not (self.upscales(model) and channels == latent + 3):
            return f"is not a text-to-image one ({channels} channels in, {latent} out)"
        if self.sizes(model):
            width = int(config.get("addition_time_embed_dim") or 0) * 6
            wanted = int(config.get("projection_class_embeddings_input_dim") or 0)
            found = width + self._pooled_width(model)
            if wanted != found:
                return (
                    f"takes {wanted} additional numbers and its text encoders with six sizes make {found},"
                    " as a refiner's does"
                )
        return None

    def sizes(self, model: Model) -> bool:
        """SDXL: two encoders, their pooled embedding, and the sizes of the picture."""
        return bool(self.config(model).get("addition_embed_type") == "text_time")

    def upscales(self, model: Model) -> bool:
        """The x4 upscaler: a low-resolution picture beside the latent, and how noisy it is."""
        return self.config(model).get("num_class_embeds") is not None

    def channels(self, model: Model) -> int:
        return int(self.config(model)["out_channels"])

    def alignment(self, model: Model) -> int:
        return 1 << (len(self.config(model)["block_out_channels"]) - 1)

    def texts(self, model: Model) -> tuple[TextUse, ...]:
        names = model.text_parts
        if not self.sizes(model):
            return (TextUse(names[0]),)
        return tuple(TextUse(name, layer=-2, pooled=name == names[-1]) for name in names)

    def _pooled_width(self, model: Model) -> int:
        name = model.text_parts[-1]
        return model.text_kind(name).pooled_width(model.layout.parts[name].config)

    def conditions(self, model: Model, latent: Latent) -> tuple[Condition, ...]:
        names = model.text_parts if self.sizes(model) else model.text_parts[:1]
        parts = tuple(f"{name}.embeddings" for name in names)
        found = [Condition("embeddings", (model.token_length, model.embedding_width), (parts,))]
        if self.sizes(model):
            height, width = (float(side * model.scale) for side in latent[-2:])
            sizes = (height, width, 0.0, 0.0, height, width)
            pooled = ((f"{names[-1]}.pooled",),)
            found += [
                Condition("pooled", (self._pooled_width(model),), pooled),
                Condition("time_ids", (6,), values=sizes),
            ]
        if self.upscales(model):
            found += [
                Condition("class_labels", (), values=(float(NOISE_LEVEL),), dtype="int64"),
                Condition("picture", (3, *latent[-2:]), (("picture",),), unguided="same"),
            ]
        if self.config(model).get("time_cond_proj_dim") is not None:
            found.append(Condition("guidance", (), (("guidance",),)))
        return tuple(found)

    def settings(self, model: Model, latent: Latent) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if model.layout.index.get("force_zeros_for_empty_prompt"):
            found["zero_negative"] = True
        if self.config(model).get("time_cond_proj_dim") is not None:
            found["embedded_guidance"] = True
        if self.upscales(model):
            signal = math.sqrt(signal_left(model.part_config("low_res_scheduler"), NOISE_LEVEL))
            size = (latent[-2], latent[-1])
            found["picture"] = Picture(size, signal=signal, noise=math.sqrt(1 - signal * signal))
        return found

    def attention_size(self, model: Model, latent: Latent) -> int:
        return sum(self._attention_sizes(model, latent))

    def outer_attention(self, model: Model, latent: Latent) -> tuple[int, int]:
        found = self._attention_sizes(model, latent)
        return (found[0], found[-1]) if found else (0, 0)

    def _attention_sizes(self, model: Model, latent: Latent) -> list[int]:
        """Of the layers called `attn2`: of each down block, of the middle, of each up block."""
        config = self.config(model)
        if config.get("only_cross_attention") or config.get("dual_cross_attention"):
            return []
        widths = [int(width) for width in config["block_out_channels"]]
        levels = range(len(widths))
        tokens = [(latent[-2] >> level) * (latent[-1] >> level) for level in levels]
        layers, depth = config.get("layers_per_block", 2), config.get("transformer_layers_per_block", 1)
        if not isinstance(layers, int) or any(isinstance(one, list | tuple) for one in _each(depth, levels)):
            return []
        depths = _each(depth, levels)
        sizes = [tokens[level] * widths[level] * int(depths[level]) for level in levels]
        down = [size * layers for size in sizes]
        middle = str(config.get("mid_block_type", "UNetMidBlock2DCrossAttn"))
        up = [size * (layers + 1) for size in reversed(sizes)]
        return [
            *(_if_crossed(one, name) for one, name in zip(down, config["down_block_types"], strict=True)),
            _if_crossed(sizes[-1], middle),
            *(_if_crossed(one, name) for one, name in zip(up, config["up_block_types"], strict=True)),
        ]

    def run(self, network: Any, given: Tensors, latent: Latent) -> torch.Tensor:
        import torch

        sample = given["sample"]
        arguments: dict[str, Any] = {}
        if "picture" in given:
            sample = torch.cat([sample, given["picture"]], dim=1)
        if "class_labels" in given:
            arguments["class_labels"] = given["class_labels"]
        if "time_ids" in given:
            arguments["added_cond_kwargs"] = {"text_embeds": given["pooled"], "time_ids": given["time_ids"]}
        if "guidance" in given:
            width = int(network.config.time_cond_proj_dim)
            arguments["timestep_cond"] = guidance_embedding(given["guidance"], width).to(sample.dtype)
        found: torch.Tensor = network(
            sample, given["timestep"], given["embeddings"], return_dict=False, **arguments
        )[0]
        return found


def _if_crossed(size: int, block: str) -> int:
    return size if "CrossAttn" in block else 0


def _each(value: Any, levels: range) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value for _ in levels]


def guidance_embedding(guidance: torch.Tensor, width: int) -> torch.Tensor:
    """(B, width): sine and cosine of the guidance (Luo, LCM, arXiv 2310.04378, as its pipeline does)."""
    import torch

    half = width // 2
    rates = torch.exp(
        torch.arange(half, dtype=torch.float32, device=guidance.device) * -(math.log(10000.0) / (half - 1))
    )
    angles = ((guidance.float() - 1.0) * 1000.0)[:, None] * rates[None]
    found = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(found, (0, 1)) if width % 2 else found


def signal_left(config: Any, timestep: int) -> float:
    """Share of the signal's variance that a training schedule leaves at a timestep."""
    from engines.hostloop.schedule import signal_left as left

    schedule = {
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
    }
    return float(left({**schedule, **config})[timestep])
