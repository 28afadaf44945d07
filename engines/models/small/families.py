"""The small model of each family, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

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


def write(name: str, folder: Path) -> Path:
    """Save the small model of a family of `MAKERS` into `folder`; the same weights every time."""
    torch.manual_seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = MAKERS[name]()
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
