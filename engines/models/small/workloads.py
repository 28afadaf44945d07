"""What the small model of each family is asked to draw: few steps at a size that it takes."""

from __future__ import annotations

from typing import Final

from engines.workload import Workload

GUIDED: Final = Workload(steps=3, guidance=4.0, batch=2)
WORKLOADS: Final = {
    "sdxl-turbo": Workload(steps=2, batch=2),
    "sdxl-lightning": Workload(steps=4, batch=2),
    "flux-dev": Workload(steps=3, size=16, batch=2),
    "flux-schnell": Workload(steps=2, size=16, batch=2),
    "hunyuan-dit": Workload(steps=3, guidance=4.0, size=64, batch=2),
    "sana": Workload(steps=3, guidance=4.0, size=32, batch=2),
    "modelscope": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "animatediff": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "ltx": Workload(steps=2, guidance=4.0, size=32, frames=9, batch=1),
    "wan": Workload(steps=2, guidance=4.0, size=32, frames=5, batch=1),
    "stable-cascade": Workload(steps=3, guidance=4.0, size=128, batch=2),
    "stable-video-diffusion": Workload(steps=2, guidance=3.0, frames=3, batch=1),
    "real-esrgan-srvgg": Workload(size=96, batch=2),
    "real-esrgan-rrdb": Workload(size=96, batch=2),
}


def workload_of(name: str) -> Workload:
    """Few steps at a size that the family's pipeline takes."""
    return WORKLOADS.get(name, GUIDED)
