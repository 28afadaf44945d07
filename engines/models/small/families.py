"""The small model of each family, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from engines.models.small import clips, pictures

SEED: Final = 7

MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "sd15": pictures.sd15,
    "sd21": pictures.sd21,
    "sdxl": pictures.sdxl,
    "sdxl-turbo": pictures.sdxl_turbo,
    "sdxl-lightning": pictures.sdxl_lightning,
    "pixart-alpha": pictures.pixart_alpha,
    "pixart-sigma": pictures.pixart_sigma,
    "sd3": pictures.sd3,
    "sd3-without-t5": pictures.sd3_without_t5,
    "flux-dev": pictures.flux_dev,
    "flux-schnell": pictures.flux_schnell,
    "hunyuan-dit": pictures.hunyuan_dit,
    "sana": pictures.sana,
    "modelscope": clips.modelscope,
    "animatediff": clips.animatediff,
    "ltx": clips.ltx,
    "wan": clips.wan,
    "upscaler": pictures.upscaler,
    "stable-video-diffusion": clips.stable_video_diffusion,
    "stable-cascade": pictures.stable_cascade,
}
NETWORKS: Final[dict[str, Callable[[], Any]]] = {
    "real-esrgan-srvgg": pictures.srvgg,
    "real-esrgan-rrdb": pictures.rrdb,
}
"""Networks that enlarge a picture in one pass: one file, no denoiser, no prompt."""


def write(name: str, folder: Path) -> Path:
    """Save the small model of a family into `folder`; the same weights every time.

    The folder comes back, or of `NETWORKS` the one file in it.
    """
    torch.manual_seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in NETWORKS:
            return _network(name, folder)
        pipeline = MAKERS[name]()
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _network(name: str, folder: Path) -> Path:
    folder.mkdir()
    path = folder / f"{name}.safetensors"
    save_file(NETWORKS[name]().state_dict(), path)
    return path
