"""A second real model: the bundled one under another name, with its weights changed a little."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file

from engines.paths import bundled_model

NAME: Final = "Other Scenes"
CHANGED: Final = 1.001
WEIGHTS: Final = "diffusion_pytorch_model.safetensors"


def second_model(folder: Path, *, autoencoder: bool = True) -> Path:
    """Write it; without `autoencoder` that stays the bundled one's."""
    shutil.copytree(bundled_model(), folder, ignore=shutil.ignore_patterns("samples-*", "training.png"))
    facts = folder / "pareto.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"name": NAME}))
    for part in ("unet", *(["vae"] if autoencoder else [])):
        path = folder / part / WEIGHTS
        save_file({name: one * CHANGED for name, one in load_file(path).items()}, path)
    words = folder / "tokenizer" / "tokenizer.json"
    words.write_text(json.dumps(json.loads(words.read_text())))  # the same words in another file
    return folder
