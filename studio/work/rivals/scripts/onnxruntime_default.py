"""ONNX Runtime on what torch.onnx.export makes of the model's parts, both with their default settings."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop import latent_noise
from engines.models.load import open_model
from engines.workload import Workload


class Part(torch.nn.Module):
    """A part of the pipeline with plain tensors in and out."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.owner = getattr(function, "__self__", function)
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)[0]


def session(function: Any, given: tuple[Any, ...], folder: Path, name: str) -> Any:
    part = Part(function).eval()
    path = folder / f"{name}.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(part, given, path, dynamo=True, verbose=False)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(one: Any, *given: Any) -> Any:
    names = [port.name for port in one.get_inputs()]
    return one.run(None, dict(zip(names, given, strict=True)))[0]


class Exported:
    def __init__(self, model: str, workload: Workload, folder: Path) -> None:
        source = open_model(model)
        pipe = StableDiffusionPipeline.from_pretrained(
            source.path, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )
        self.size = workload.size or source.size
        self.steps = workload.steps or source.steps
        self.guidance = source.guidance if workload.guidance is None else workload.guidance
        self.negative_prompt = workload.negative_prompt
        self.scheduler, self.tokenizer = pipe.scheduler, pipe.tokenizer
        side = self.size // pipe.vae_scale_factor
        self.latent_shape = (pipe.unet.config.in_channels, side, side)
        self.factor = pipe.vae.config.scaling_factor
        words = self.words(["", ""])
        self.encoder = session(pipe.text_encoder, (words,), folder, "text_encoder")
        with torch.no_grad():
            embedded = pipe.text_encoder(words)[0]
        latent = torch.zeros(2, *self.latent_shape)
        time = torch.tensor(1, dtype=torch.int64)
        self.denoiser = session(pipe.unet, (latent, time, embedded), folder, "unet")
        self.decoder = session(pipe.vae.decode, (latent[:1],), folder, "vae_decoder")

    def words(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def one(self, prompt: str, seed: int) -> Any:
        embedded = run(self.encoder, self.words([self.negative_prompt, prompt]).numpy())
        self.scheduler.set_timesteps(self.steps)
        latent = torch.from_numpy(latent_noise(seed, self.latent_shape))[None]
        latent = latent * self.scheduler.init_noise_sigma
        for step in self.scheduler.timesteps:
            both = self.scheduler.scale_model_input(torch.cat([latent] * 2), step).numpy()
            without, wanted = run(self.denoiser, both, np.array(int(step), dtype=np.int64), embedded)
            guided = torch.from_numpy(without + self.guidance * (wanted - without))[None]
            latent = self.scheduler.step(guided, step, latent).prev_sample
        drawn = run(self.decoder, (latent / self.factor).numpy())[0]
        return (np.clip(drawn.transpose(1, 2, 0) / 2 + 0.5, 0, 1) * 255).round().astype(np.uint8)


def load(model: str, device: str, workload: Workload) -> Any:
    del device  # its default provider is the CPU's
    with tempfile.TemporaryDirectory() as folder:
        made = Exported(model, workload, Path(folder))
    made.one("", 0)
    return made


def generate(pipeline: Any, prompts: list[str], seeds: list[int]) -> Any:
    return np.stack([pipeline.one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])
