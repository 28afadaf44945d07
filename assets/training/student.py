"""Distil the few-step student (the light model) from the guided teacher's trajectories, as a LoRA.

The teacher draws with guidance in sixteen DDIM steps; the student learns to
cross each quarter of such a trajectory in one unguided step, so four DDIM steps
follow the whole of it (progressive distillation, Salimans & Ho 2022, as the
multistep consistency of Heek et al. 2024 with the teacher's own solution as the
target).  Bootstrapped latent consistency was tried first and fell apart within the
few hundred steps that two cores afford.

Run: python -m assets.training.student [--seconds N]
"""

from __future__ import annotations

import argparse
import copy
import itertools

import torch
from diffusers import DDIMScheduler
from torch import nn

from assets.training import loop
from assets.training.denoiser import SCHEDULE, TextToLatent, token_ids
from engines.scenes import grammar

LORA_FILE = "pytorch_lora_weights.safetensors"
BATCH, RANK, GUIDANCE = 64, 48, 4.0
TEACHER_STEPS, STEPS = 16, 4
CHUNK, CHUNKS = 250, 8


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
    loop.averaged("student", unet)
    weights: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if isinstance(module, LowRank):
            weights[f"unet.{name}.lora_A.weight"] = module.down.weight.detach().half().contiguous()
            weights[f"unet.{name}.lora_B.weight"] = module.up.weight.detach().half().contiguous()
    return weights


def trained_teacher() -> TextToLatent:
    """The averaged heavy model, frozen."""
    pair = TextToLatent()
    if not loop.averaged("denoiser", pair):
        raise SystemExit("The denoiser comes first: python -m assets.training.denoiser")
    pair.requires_grad_(False).eval().to(loop.device())
    return pair


def draw(teacher: TextToLatent, seed: int) -> dict[str, torch.Tensor]:
    """One chunk of guided trajectories: token ids (N, T) and states (N, STEPS + 1, 8, 8, 8)."""
    device = loop.device()
    ids = token_ids(grammar.captions(CHUNK, 40_000 + seed, split="train")).to(device)
    empty = token_ids([""]).to(device).expand(CHUNK, -1)
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn((CHUNK, 8, 8, 8), generator=generator).to(device)
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(TEACHER_STEPS)
    states = [sample]
    with torch.no_grad(), loop.autocast():
        text = teacher.text_encoder(torch.cat([empty, ids])).last_hidden_state
        for index, timestep in enumerate(scheduler.timesteps):
            both = teacher.unet(sample.repeat(2, 1, 1, 1), timestep, text, return_dict=False)[0].float()
            plain, guided = both.chunk(2)
            sample = scheduler.step(plain + GUIDANCE * (guided - plain), timestep, sample).prev_sample
            if (index + 1) % (TEACHER_STEPS // STEPS) == 0:
                states.append(sample)
    return {"ids": ids.cpu(), "states": torch.stack(states, 1).half().cpu()}


def trajectories(teacher: TextToLatent) -> dict[str, torch.Tensor]:
    """All chunks, drawn or read from the cache."""
    folder = loop.ROOT / "trajectories"
    folder.mkdir(exist_ok=True)
    chunks = []
    for seed in range(CHUNKS):
        path = folder / f"{seed}.pt"
        if not path.exists():
            torch.save(draw(teacher, seed), path)
            print(f"student: trajectories {seed + 1}/{CHUNKS}", flush=True)
        chunks.append(torch.load(path, weights_only=True))
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None)
    arguments.add_argument("--steps", type=int, default=2000)
    options = arguments.parse_args()
    torch.manual_seed(5)
    teacher = trained_teacher()
    drawn = trajectories(teacher)
    ids, states = drawn["ids"], drawn["states"]
    student = with_low_rank(copy.deepcopy(teacher.unet))
    run = loop.Run(
        "student", student, steps=options.steps, peak=6e-4, weight_decay=0.0, budget=options.seconds, ema=0.99
    )
    order = loop.batches(len(ids), BATCH, seed=run.step)
    quarters = itertools.cycle(range(STEPS))
    device = loop.device()
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(STEPS)
    alphas = scheduler.alphas_cumprod
    times = [*scheduler.timesteps.tolist(), 0]
    signals, amounts = alphas[times].sqrt().tolist(), (1 - alphas[times]).sqrt().tolist()

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        index, quarter = next(order), next(quarters)
        start, end = (states[index, quarter + i].float().to(device) for i in (0, 1))
        timestep = torch.full((len(index),), times[quarter], device=device)
        signal, amount = signals[quarter], amounts[quarter]
        share = amounts[quarter + 1] / amount
        wanted = (end - share * start) / (signals[quarter + 1] - share * signal)
        with loop.autocast():
            with torch.no_grad():
                text = teacher.text_encoder(ids[index].to(device)).last_hidden_state
            velocity = student(start, timestep, text, return_dict=False)[0].float()
        clean = signal * start - amount * velocity
        return ((clean - wanted) ** 2 + 1e-4).sqrt().mean(), {}

    run.train(loss)


if __name__ == "__main__":
    main()
