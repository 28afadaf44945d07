"""The kinds of decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.models.kinds.base import Config, DecoderKind

if TYPE_CHECKING:
    import torch


def _halvings(channels: Any) -> int:
    return 1 << max(len(channels or ()) - 1, 0)


class Kl(DecoderKind):
    """The autoencoder of latent diffusion (Rombach et al., arXiv 2112.10752) and its tiny stand-in, TAESD."""

    classes = ("AutoencoderKL", "AutoencoderTiny")

    def scale(self, config: Config) -> int:
        return _halvings(config.get("block_out_channels") or config.get("decoder_block_out_channels"))

    def unscaled(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        mean, spread = (getattr(network.config, name, None) for name in ("latents_mean", "latents_std"))
        if mean is None or spread is None:
            return super().unscaled(network, latent)
        factor = float(network.config.scaling_factor)
        return latent * _channels(latent, spread) / factor + _channels(latent, mean)

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network.decode(self.unscaled(network, latent), return_dict=False)[0]
        return found


class Deep(DecoderKind):
    """The deep compression autoencoder (Chen et al., DC-AE, arXiv 2410.10733)."""

    classes = ("AutoencoderDC",)

    def scale(self, config: Config) -> int:
        return _halvings(config.get("decoder_block_out_channels"))

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network.decode(self.unscaled(network, latent), return_dict=False)[0]
        return found


class Paella(DecoderKind):
    """The vector-quantised decoder of Würstchen and Stable Cascade (Rampas et al., arXiv 2211.07292)."""

    classes = ("PaellaVQModel",)

    def scale(self, config: Config) -> int:
        return int(config.get("up_down_scale_factor", 2)) << (int(config.get("levels", 2)) - 1)

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        # latents are not quantised on the way, as in the pipelines; what comes out is in [0, 1]
        found: torch.Tensor = network.decode(latent * network.config.scale_factor, return_dict=False)[0]
        return found * 2.0 - 1.0


class Temporal(DecoderKind):
    """The decoder of Stable Video Diffusion (Blattmann et al., arXiv 2311.15127): frames see each other."""

    classes = ("AutoencoderKLTemporalDecoder",)
    video = True

    def scale(self, config: Config) -> int:
        return _halvings(config.get("block_out_channels"))

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        frames = latent.shape[2]
        flat = self.unscaled(network, latent.transpose(1, 2).flatten(0, 1))
        found: torch.Tensor = network.decode(flat, num_frames=frames, return_dict=False)[0]
        return found.reshape(-1, frames, *found.shape[1:]).transpose(1, 2)


class Ltx(DecoderKind):
    """LTX-Video's autoencoder (HaCohen et al., arXiv 2501.00103)."""

    classes = ("AutoencoderKLLTXVideo",)
    video = True

    def scale(self, config: Config) -> int:
        return int(config.get("patch_size", 4)) << sum(bool(one) for one in self._scaling(config))

    def latent_frames(self, config: Config, frames: int) -> int:
        return (frames - 1) // self._time(config) + 1

    def frames(self, config: Config, latent_frames: int) -> int:
        return (latent_frames - 1) * self._time(config) + 1

    @staticmethod
    def _scaling(config: Config) -> tuple[Any, ...]:
        return tuple(config.get("spatio_temporal_scaling") or (True, True, True, False))

    def _time(self, config: Config) -> int:
        return int(config.get("patch_size_t", 1)) << sum(bool(one) for one in self._scaling(config))

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        factor = float(network.config.scaling_factor)
        spread, mean = (
            one.view(1, -1, 1, 1, 1).to(latent) for one in (network.latents_std, network.latents_mean)
        )
        latent = latent * spread / factor + mean
        time = latent.new_zeros((latent.shape[0],)) if network.config.timestep_conditioning else None
        found: torch.Tensor = network.decode(latent, time, return_dict=False)[0]
        return found


class Wan(DecoderKind):
    """Wan's causal autoencoder (arXiv 2503.20314)."""

    classes = ("AutoencoderKLWan",)
    video = True

    def scale(self, config: Config) -> int:
        patch = int(config.get("patch_size") or 1)
        return _halvings(config.get("dim_mult") or (1, 2, 4, 4)) * patch

    def latent_frames(self, config: Config, frames: int) -> int:
        return (frames - 1) // self._time(config) + 1

    def frames(self, config: Config, latent_frames: int) -> int:
        return (latent_frames - 1) * self._time(config) + 1

    @staticmethod
    def _time(config: Config) -> int:
        scaling = config.get("temperal_downsample") or (False, True, True)
        return int(2 ** sum(bool(one) for one in scaling))

    def run(self, network: Any, latent: torch.Tensor) -> torch.Tensor:
        spread, mean = network.config.latents_std, network.config.latents_mean
        latent = latent * _channels(latent, spread) + _channels(latent, mean)
        found: torch.Tensor = network.decode(latent, return_dict=False)[0]
        return found


def _channels(latent: torch.Tensor, values: Any) -> torch.Tensor:
    """One number for each channel, (1, C, 1, ...)."""
    import torch

    numbers = torch.tensor(list(values), dtype=latent.dtype, device=latent.device)
    return numbers.view(1, -1, *(1,) * (latent.ndim - 2))


KINDS: tuple[DecoderKind, ...] = (Kl(), Deep(), Paella(), Temporal(), Ltx(), Wan())
