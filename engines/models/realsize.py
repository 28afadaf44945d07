"""Stable Diffusion 1.5 and SDXL at their real size: do they go through, in what time and memory?

    python -m engines.models.realsize sd15 --engines openvino,onnxruntime,openvino:int8
    python -m engines.models.realsize sdxl --components denoiser --folder /somewhere/with/space
    python -m engines.models.realsize sd15 --folder /somewhere/with/space --make

The weights are random (kept in fp16, as such models are shipped): time and
memory do not depend on them.  Each component and engine has a process of its
own, whose peak memory the operating system tells.  An engine is built in fp32
unless a precision follows it; int8 is calibrated on the latents of few steps,
which says nothing of its quality.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import EngineError
from engines.models.bundled_settings import SD15, SDXL, Settings

if TYPE_CHECKING:
    import torch

SETTINGS: Final[dict[str, Settings]] = {"sd15": SD15, "sdxl": SDXL}
SEED: Final = 0
CALIBRATION_STEPS: Final = 2
CALIBRATION_PROMPTS: Final = 4


def make(name: str, folder: Path) -> Path:
    """A model folder with random weights, part by part; one that is there already is kept."""
    if (folder / "model_index.json").is_file():
        return folder
    from engines.models.checkpoint import write_settings

    settings = SETTINGS[name]
    write_settings({key: value for key, value in settings.items() if key != "index"}, folder)
    for part in settings:
        if part in ("unet", "vae") or part.startswith("text_encoder"):
            _random(part, settings[part], folder / part)
    write_settings({"index": settings["index"]}, folder)
    return folder


def _random(part: str, config: Any, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    with torch.device("meta"):
        module = _module(part, config)
    rng = torch.Generator().manual_seed(SEED)
    state = {}
    for key, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        if "norm" in key and key.endswith("weight"):
            state[key] = torch.ones(value.shape, dtype=torch.float16)
        elif value.ndim < 2:
            state[key] = torch.zeros(value.shape, dtype=torch.float16)
        else:
            spread = (value[0].numel() ** -0.5) if value.ndim > 1 else 0.02
            state[key] = (torch.randn(value.shape, generator=rng) * spread).half()
    stem = "model" if "encoder" in part else "diffusion_pytorch_model"
    save_file(state, str(folder / f"{stem}.safetensors"))


def _module(part: str, config: Any) -> torch.nn.Module:
    import diffusers
    import transformers

    if part.startswith("text_encoder"):
        kind = getattr(transformers, config["architectures"][0])
        made: torch.nn.Module = kind(transformers.CLIPTextConfig(**config))
        return made
    built: torch.nn.Module = getattr(diffusers, config["_class_name"]).from_config(dict(config))
    return built


def components_of(folder: Path) -> list[str]:
    """The components of a model, as the host loop calls them."""
    from engines.models.load import open_model
    from engines.pipeline import engines, plan
    from engines.workload import Workload

    made = plan(open_model(folder), "cpu", Workload())
    return [request.structure.component for request in engines(made)]


def run(folder: Path, component: str, step: str) -> dict[str, Any]:
    """In this process: capture a component, or build it with an engine; the time, and what came of it."""
    from engines.backends import backend
    from engines.backends.base import Options
    from engines.backends.calibration import calibration_for
    from engines.capture.capture import Capture
    from engines.models.load import open_model
    from engines.pipeline import engines, plan
    from engines.workload import Workload

    model = open_model(folder)
    made = plan(model, "cpu", Workload())
    structure = next(one.structure for one in engines(made) if one.structure.component == component)
    capture = Capture(model, structure)
    start = time.monotonic()
    if step == "capture":
        _ = capture.program
        facts: dict[str, Any] = {"bytes": capture.path.stat().st_size}
    else:
        name, _, precision = step.partition(":")
        options = Options(precision or "fp32")  # type: ignore[arg-type]
        if precision == "int8":
            usual = calibration_for(model, made.denoiser, made.loop)
            shorter = replace(usual.loop, steps=CALIBRATION_STEPS)
            few = replace(usual, loop=shorter, prompts=CALIBRATION_PROMPTS)
            options = replace(options, calibration=few)
        artifact = backend(name).build(capture, options)
        parity = artifact.metadata.get("parity", {})
        facts = {
            "bytes": sum(path.stat().st_size for path in artifact.files),
            "psnr": parity.get("psnr"), "fallbacks": list(artifact.fallbacks),
        }  # fmt: skip
    return {"component": component, "step": step, "seconds": round(time.monotonic() - start, 1), **facts}


def apart(folder: Path, component: str, step: str) -> dict[str, Any]:
    """The same in a process of its own, with its peak memory in GiB."""
    command = [sys.executable, "-m", "engines.models.realsize", "--one", str(folder), component, step]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"component": component, "step": step, "error": f"exit status {done.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _peak() -> float:
    """Peak memory of this process in GiB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engines.models.realsize", description=__doc__)
    parser.add_argument("model", nargs="?", choices=tuple(SETTINGS), default="sd15")
    parser.add_argument(
        "--engines",
        default="openvino,onnxruntime",
        help="separated by commas; NAME:PRECISION for other than fp32",
    )
    parser.add_argument("--components", default="", help="separated by commas; all if not given")
    parser.add_argument("--folder", type=Path, help="where model and engines are kept; if not given, nowhere")
    parser.add_argument("--make", action="store_true", help="write the model into --folder, and no more")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "COMPONENT", "STEP"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        if given.one:
            folder, component, step = given.one
            print(json.dumps(run(Path(folder), component, step) | {"peak": round(_peak(), 2)}))
            return 0
        if given.make and given.folder is None:
            parser.error("--make needs --folder: where the model is to be written")
        if given.make:
            print(make(given.model, given.folder / given.model))
            return 0
        place = given.folder or Path(tempfile.mkdtemp(prefix="realsize-"))
        try:
            _table(given.model, place, given.components.split(","), given.engines.split(","))
        finally:
            if given.folder is None:
                shutil.rmtree(place, ignore_errors=True)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _table(name: str, place: Path, components: Sequence[str], backends: Sequence[str]) -> None:
    os.environ["PARETO_STUDIO_CACHE"] = str(place / "cache")
    start = time.monotonic()
    folder = make(name, place / name)
    from engines.models.card import describe
    from engines.models.load import open_model

    print(f"{name}: random weights in {time.monotonic() - start:.0f} s")
    start = time.monotonic()
    card = describe(open_model(folder))
    count = sum(part.parameters for part in card.components)
    print(f"inspected in {time.monotonic() - start:.0f} s: {count / 1e6:.1f} million parameters\n")
    print("| Component | Step | Seconds | Peak GiB | File GiB | PSNR | Note |\n|---|---|---|---|---|---|---|")
    for component in [one for one in components if one] or components_of(folder):
        for step in ("capture", *backends):
            row = apart(folder, component, step)
            note = row.get("error") or " ".join(row.get("fallbacks", ()))
            print(
                f"| {component} | {step} | {row.get('seconds', '')} | {row.get('peak', '')} "
                f"| {row.get('bytes', 0) / 2**30:.2f} | {row.get('psnr') or ''} | {note} |",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
