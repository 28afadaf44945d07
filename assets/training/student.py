"""Distil the few-step student (the light model) by latent consistency, as a LoRA.

The student learns to jump from any noise level to the end of the guided
teacher's DDIM trajectory (Luo et al. 2023, latent consistency models, with one
fixed guidance scale); it is sampled with the LCM scheduler in 1 to 4 steps and
without guidance.

Run: python -m assets.training.student [--seconds N]
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import nn

from assets.training import loop
from assets.training.denoiser import Noising, TextToLatent, latents, token_ids

LORA_FILE = "pytorch_lora_weights.safetensors"
BATCH, RANK, GUIDANCE, SKIP, TIMESTEP_SCALING = 64, 48, 4.0, 20, 10.0


class LowRank(nn.Module):
    """A frozen linear or convolution layer with a trained low-rank addition."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.down = copy.deepcopy(layer)
            self.down.out_channels, self.down.bias = rank, None
            self.down.weight = nn.Parameter(torch.empty(rank, *layer.weight.shape[1:]))
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) + self.up(self.down(x))
        return out


def with_low_rank(unet: nn.Module, rank: int = RANK) -> nn.Module:
    """Replace every linear and convolution layer inside the blocks; freeze all else."""
    unet.requires_grad_(False)
    for parent_name, parent in list(unet.named_modules()):
        for name, layer in list(parent.named_children()):
            path = f"{parent_name}.{name}"
            if (
                isinstance(layer, nn.Linear | nn.Conv2d)
                and "block" in path
                and not isinstance(parent, LowRank)
            ):
                setattr(parent, name, LowRank(layer, rank))
    return unet


def lora_weights() -> dict[str, torch.Tensor]:
    """The student's LoRA under diffusers' names (`unet.PATH.lora_A.weight`), fp16; zeros if not trained."""
    unet = with_low_rank(TextToLatent().unet)
    path = loop.ROOT / "student/checkpoint.pt"
    if path.exists():
        unet.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    weights: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if isinstance(module, LowRank):
            weights[f"unet.{name}.lora_A.weight"] = module.down.weight.detach().half().contiguous()
            weights[f"unet.{name}.lora_B.weight"] = module.up.weight.detach().half().contiguous()
    return weights


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None)
    arguments.add_argument("--steps", type=int, default=2000)
    options = arguments.parse_args()
    torch.manual_seed(5)
    clean, _, _, captions = latents()
    ids, empty = token_ids(captions), token_ids([""])
    noising = Noising()
    pair = TextToLatent()
    pair.load_state_dict(
        torch.load(loop.ROOT / "denoiser/checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    )
    device = loop.device()
    teacher = pair.requires_grad_(False).eval().to(device)
    student = with_low_rank(copy.deepcopy(teacher.unet))
    run = loop.Run(
        "student", student, steps=options.steps, peak=1e-3, weight_decay=0.0, budget=options.seconds, ema=0.99
    )
    order = loop.batches(len(clean), BATCH, seed=run.step)
    torch.manual_seed(2000 + run.step)
    with torch.no_grad():
        unguided = teacher.text_encoder(empty.to(device)).last_hidden_state

    def predicted(
        noisy: torch.Tensor, timestep: torch.Tensor, velocity: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The clean latent and the noise that a velocity stands for."""
        signal, amount = noising.scales(timestep)
        return signal * noisy - amount * velocity, amount * noisy + signal * velocity

    def consistency(noisy: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The student's jump to the end, with the boundary condition of consistency models."""
        velocity = student(noisy, timestep, text, return_dict=False)[0].float()
        scaled = (timestep * TIMESTEP_SCALING).view(-1, 1, 1, 1).float()
        keep = 0.25 / (scaled**2 + 0.25)
        jump = scaled / (scaled**2 + 0.25).sqrt()
        return keep * noisy + jump * predicted(noisy, timestep, velocity)[0]

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        index = next(order)
        start = clean[index].to(device)
        later = (torch.randint(1, 1000 // SKIP + 1, (len(index),), device=device) * SKIP - 1).clamp(max=999)
        earlier = (later - SKIP).clamp(min=0)
        signal, amount = noising.scales(later)
        noisy = signal * start + amount * torch.randn_like(start)
        with loop.autocast():
            with torch.no_grad():
                text = teacher.text_encoder(ids[index].to(device)).last_hidden_state
                both = torch.cat([text, unguided.to(text.dtype).expand(len(index), -1, -1)])
                velocity = teacher.unet(noisy.repeat(2, 1, 1, 1), later.repeat(2), both, return_dict=False)[
                    0
                ].float()
                guided, plain = velocity.chunk(2)
                ends, noise = predicted(noisy, later, plain + GUIDANCE * (guided - plain))
                signal, amount = noising.scales(earlier)
                previous = signal * ends + amount * noise
                target = consistency(previous, earlier, text)
                target = torch.where((later == SKIP - 1).view(-1, 1, 1, 1), ends, target)
            jumped = consistency(noisy, later, text)
        return ((jumped - target) ** 2 + 1e-6).sqrt().mean(), {}

    run.train(loss)


if __name__ == "__main__":
    main()
