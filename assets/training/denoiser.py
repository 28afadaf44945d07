"""Train the text encoder and the U-Net (the heavy model) on normalised latents.

Run: python -m assets.training.denoiser [--seconds N]
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from assets.training import loop, tokenizer
from assets.training.autoencoder import as_tensor, new_autoencoder
from assets.training.data import scenes

SCENES, BATCH, CAPTION_DROPOUT = 60_000, 96, 0.1
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
    "timestep_spacing": "trailing",
}  # fmt: skip


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, in_channels=8, out_channels=8, block_out_channels=(128, 224), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=128, attention_head_dim=(4, 7), norm_num_groups=16,
    )  # fmt: skip


def new_text_encoder() -> CLIPTextModel:
    vocabulary = tokenizer.make_tokenizer().get_vocab_size()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary, hidden_size=128, intermediate_size=512, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=tokenizer.LENGTH,
            bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip


class TextToLatent(nn.Module):
    """The two networks that are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = new_text_encoder()
        self.unet = new_unet()
        if loop.device().type == "cpu":
            # The fused kernel's backward takes a third of the step at these short sequences.
            self.unet.set_attn_processor(AttnProcessor())
            self.text_encoder.set_attn_implementation("eager")

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        embeddings = self.text_encoder(ids).last_hidden_state
        prediction: torch.Tensor = self.unet(sample, timestep, embeddings, return_dict=False)[0]
        return prediction


def trained_autoencoder() -> AutoencoderKL:
    """The averaged autoencoder from its checkpoint."""
    model = new_autoencoder()
    if not loop.averaged("autoencoder", model):
        raise SystemExit("The autoencoder comes first: python -m assets.training.autoencoder")
    model.to(loop.device()).eval()
    return model


def encoded(model: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Raw latents of uint8 pictures (B, H, W, 3)."""
    latent: torch.Tensor = model.encode(as_tensor(images)).latent_dist.mode()
    return latent.float().cpu()


def latents() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
    """Normalised latents (N, 8, 8, 8) of the scenes, their mean and deviation by channel, captions."""
    images, captions = scenes(SCENES, split="train")
    path = loop.ROOT / f"latents-{SCENES}.pt"
    if not path.exists():
        model = trained_autoencoder()
        pictures = torch.from_numpy(images)
        with torch.no_grad(), loop.autocast():
            parts = [encoded(model, chunk) for chunk in torch.split(pictures, 250)]
        torch.save(torch.cat(parts), path)
    values = torch.load(path, weights_only=True)
    mean, deviation = values.mean((0, 2, 3)), values.std((0, 2, 3))
    return (values - mean[:, None, None]) / deviation[:, None, None], mean, deviation, captions


def token_ids(captions: list[str]) -> torch.Tensor:
    return torch.tensor(tokenizer.encode(captions), dtype=torch.int64)


class Noising:
    """Draws the timesteps, the noisy latents and their v targets."""

    def __init__(self) -> None:
        self.alphas = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(loop.device())

    def __call__(self, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        timestep = torch.randint(0, len(self.alphas), (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        signal, amount = self.scales(timestep)
        return timestep, signal * clean + amount * noise, signal * noise - amount * clean

    def scales(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Signal and noise amplitudes, shaped (B, 1, 1, 1)."""
        alpha = self.alphas[timestep].view(-1, 1, 1, 1)
        return alpha.sqrt(), (1 - alpha).sqrt()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None, help="train for so long at most")
    arguments.add_argument("--steps", type=int, default=6000)
    options = arguments.parse_args()
    torch.manual_seed(1)
    clean, _, _, captions = latents()
    ids, empty = token_ids(captions), token_ids([""])
    noising = Noising()
    model = TextToLatent()
    print(
        f"{sum(p.numel() for p in model.unet.parameters()) / 1e6:.1f} M parameters in the U-Net", flush=True
    )
    run = loop.Run("denoiser", model, steps=options.steps, peak=8e-4, budget=options.seconds, save_every=100)
    torch.manual_seed(1000 + run.step)
    order = loop.batches(len(clean), BATCH, seed=run.step)
    device = loop.device()

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        index = next(order)
        text = torch.where(torch.rand(len(index), 1) < CAPTION_DROPOUT, empty, ids[index])
        timestep, noisy, target = noising(clean[index].to(device))
        with loop.autocast():
            prediction = model(noisy, timestep, text.to(device))
        return F.mse_loss(prediction.float(), target), {}

    run.train(loss)


if __name__ == "__main__":
    main()
