"""Put what was trained into `assets/tiny-scenes`, in the ordinary diffusers layout and fp16.

Parts that are not trained yet keep what the folder holds, or random weights
if it holds nothing.

Run: python -m assets.training.publish
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from assets.training import tokenizer
from assets.training.autoencoder import new_autoencoder
from assets.training.denoiser import SCHEDULE, TextToLatent, latents
from assets.training.loop import averaged
from assets.training.student import LORA_FILE, lora_weights
from assets.training.tiny_autoencoder import new_tiny_autoencoder
from assets.training.upscaler import new_upscaler
from engines.scenes.reader import ReaderNetwork

FOLDER = Path(__file__).parents[1] / "tiny-scenes"
SETTINGS = {"name": "Tiny Scenes", "licence": "Apache-2.0", "steps": 30, "guidance": 4.0, "prompts": "scenes"}


def normalise(model: AutoencoderKL, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Fold the latents' mean and deviation by channel into the convolutions around them.

    The published autoencoder then speaks unit-variance latents, and its scaling factor is 1.
    """
    channels = len(mean)
    with torch.no_grad():
        into, out = model.quant_conv, model.post_quant_conv
        into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
        into.bias[:channels] = (into.bias[:channels] - mean) / deviation
        into.bias[channels:] -= 2 * deviation.log()
        out.bias += (out.weight[:, :, 0, 0] * mean).sum(1)
        out.weight *= deviation.view(1, -1, 1, 1)


def published_autoencoder() -> AutoencoderKL:
    """The autoencoder as it ships: normalised latents."""
    model = new_autoencoder()
    averaged("autoencoder", model)
    _, mean, deviation, _ = latents()
    normalise(model, mean, deviation)
    return model.eval()


def main() -> None:
    pair = TextToLatent()
    print("denoiser", averaged("denoiser", pair))
    FOLDER.mkdir(exist_ok=True)
    tokenizer.save(FOLDER / "tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=published_autoencoder(), text_encoder=pair.text_encoder, unet=pair.unet,
        tokenizer=CLIPTokenizer.from_pretrained(FOLDER / "tokenizer"), scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(dtype=torch.float16).save_pretrained(FOLDER, safe_serialization=True)
    # transformers opens a model as its settings say, diffusers in fp32: half of each cannot draw.
    encoder = FOLDER / "text_encoder/config.json"
    encoder.write_text(json.dumps({**json.loads(encoder.read_text()), "dtype": "float32"}, indent=2) + "\n")
    tokenizer.save(FOLDER / "tokenizer")
    (FOLDER / "pareto.json").write_text(json.dumps(SETTINGS, indent=2) + "\n")
    tiny: AutoencoderTiny = new_tiny_autoencoder()
    print("tiny autoencoder", averaged("tiny_autoencoder", tiny))
    tiny.half().save_pretrained(FOLDER / "tiny_vae", safe_serialization=True)
    config = FOLDER / "tiny_vae/config.json"
    settings = json.loads(config.read_text())
    settings.pop("block_out_channels")  # AutoencoderTiny writes it but warns when it reads it.
    config.write_text(json.dumps(settings, indent=2) + "\n")
    for name, module in (("reader", ReaderNetwork()), ("upscaler", new_upscaler())):
        print(name, averaged(name, module))
        weights = {key: value.half().contiguous() for key, value in module.state_dict().items()}
        save_file(weights, FOLDER / f"{name}.safetensors")
    (FOLDER / "student_lora").mkdir(exist_ok=True)
    save_file(lora_weights(), FOLDER / "student_lora" / LORA_FILE)
    total = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"{total / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
