"""The pack's networks at work: LPIPS, CLIP's two towers, DINOv2.

Weights are loaded whole or not at all: a layer that a file lacks would be
random, and a random backbone measures nothing.  What was encoded is
remembered, so that a reference is looked at once for all candidates.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import MetricsError
from engines.metrics_pack.contents import Entry, Name
from engines.metrics_pack.place import Place, find, missing

Pixels = NDArray[np.uint8]
Features = NDArray[np.float64]

BATCH: Final = 8
"""Pictures or texts that are encoded at once."""
_REMEMBERED: Final = 8192


def check(wanted: Entry, path: Path) -> None:
    """Load a network as `wanted` and try it.

    Raises:
        MetricsError: it is another one, or not whole.
    """
    nothing = np.full((1, 64, 64, 3), 128, np.uint8)
    if wanted.name == "lpips":
        _lpips(path)
        return
    encoder = Clip(path, "") if wanted.name == "clip" else Dino(path, "")
    encoder.images(nothing)


def lpips(images: Pixels, references: Pixels) -> Features:
    """LPIPS (Zhang et al. 2018, AlexNet) of pictures (N, H, W, 3): (N,), 0 for the same picture.

    Raises:
        MetricsError: its backbone is not on this machine.
    """
    import torch

    network = _kept_lpips(_place("lpips").path)
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            ours, theirs = (_signed(one[start : start + BATCH]) for one in (images, references))
            found.append(network(ours, theirs).flatten().double().numpy())
    return np.concatenate(found) if found else np.zeros(0)


class Clip:
    """CLIP's towers; embeddings have length 1.

    Raises:
        MetricsError: the folder holds no whole CLIP.
    """

    def __init__(self, path: Path, content: str) -> None:
        from transformers import AutoTokenizer, CLIPModel

        self._content = content
        self._network = _transformer(CLIPModel, path)
        self._prepare = _processor(path)
        with _named(path, "tokenizer"):
            self._words = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        self._length = int(self._network.config.text_config.max_position_embeddings)

    def images(self, pictures: Pixels) -> Features:
        """Of pictures (N, H, W, 3): (N, D)."""
        return _remembered(self._content, pictures, self._images)

    def texts(self, prompts: Sequence[str]) -> Features:
        """Of prompts: (N, D); what is longer than CLIP reads is cut."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(prompts), BATCH):
                tokens = self._words(
                    list(prompts[start : start + BATCH]),
                    padding="max_length", truncation=True, max_length=self._length, return_tensors="pt",
                )  # fmt: skip
                found.append(_pooled(self._network.get_text_features(**tokens)))
        return _unit(np.concatenate(found))

    def _images(self, pictures: Pixels) -> Features:
        return _unit(_pooled(self._network.get_image_features(pixel_values=self._prepare(pictures))))


class Dino:
    """DINOv2; the class token after the last norm.

    Raises:
        MetricsError: the folder holds no whole DINOv2.
    """

    def __init__(self, path: Path, content: str) -> None:
        from transformers import Dinov2Model

        self._content = content
        self._network = _transformer(Dinov2Model, path)
        self._prepare = _processor(path)

    def images(self, pictures: Pixels) -> Features:
        """Of pictures (N, H, W, 3): (N, D)."""
        return _remembered(self._content, pictures, self._images)

    def _images(self, pictures: Pixels) -> Features:
        return _pooled(self._network(pixel_values=self._prepare(pictures)))


def clip() -> Clip:
    """The pack's CLIP.  Raises `MetricsError` where it is not on this machine."""
    place = _place("clip")
    return _kept_clip(place.path, place.sha256)


def dino() -> Dino:
    """The pack's DINOv2.  Raises `MetricsError` where it is not on this machine."""
    place = _place("dino")
    return _kept_dino(place.path, place.sha256)


def _place(name: Name) -> Place:
    place = find(name)
    if place is None:
        raise MetricsError(missing(name))
    return place


@lru_cache(maxsize=1)
def _kept_clip(path: Path, content: str) -> Clip:
    return Clip(path, content)


@lru_cache(maxsize=1)
def _kept_dino(path: Path, content: str) -> Dino:
    return Dino(path, content)


@lru_cache(maxsize=1)
def _kept_lpips(path: Path) -> Any:
    return _lpips(path)


def _lpips(path: Path) -> Any:
    """LPIPS with the backbone of a file in torchvision's names; every layer of it comes from the file."""
    import lpips as package
    import torch

    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name: value for name, value in given.items() if name.startswith("features.")}
    except Exception as error:
        raise MetricsError(
            f"{path} cannot be read as weights ({type(error).__name__}); get the file again."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # slice2.3.weight of the package is features.3.weight of torchvision
    renamed = {name: f"features.{name.split('.', 1)[1]}" for name in network.net.state_dict()}
    absent = sorted(name for name in renamed.values() if name not in weights)
    if absent:
        raise MetricsError(f"{path} is not AlexNet as torchvision has it (no {absent[0]}); give that file.")
    try:
        network.net.load_state_dict({ours: weights[theirs] for ours, theirs in renamed.items()})
    except RuntimeError as error:
        raise MetricsError(f"{path} is not AlexNet: its layers have other sizes; give that file.") from error
    return network.float().eval()


def _transformer(kind: Any, path: Path) -> Any:
    with _named(path, kind.__name__):
        network, said = kind.from_pretrained(
            str(path), local_files_only=True, use_safetensors=True, output_loading_info=True, dtype="float32"
        )
    absent = [*said["missing_keys"], *said.get("mismatched_keys", ())]
    if absent:
        raise MetricsError(
            f"The weights in {path} are no whole {kind.__name__} ({len(absent)} tensors are missing or of"
            " another size); get them again."
        )
    return network.eval()


def _processor(path: Path) -> Any:
    """From pictures (N, H, W, 3) to what the network is given: its own preprocessing."""
    with _named(path, "preprocessor"):
        from transformers import AutoImageProcessor

        made = AutoImageProcessor.from_pretrained(str(path), local_files_only=True)

    def prepare(pictures: Pixels) -> Any:
        return made(list(pictures), return_tensors="pt", input_data_format="channels_last")["pixel_values"]

    return prepare


@contextmanager
def _named(path: Path, part: str) -> Iterator[None]:
    """Whatever transformers raises about a folder, as one sentence; its warnings are not shown."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise MetricsError(f"{path} holds no {part} that can be used ({first}).") from error


def _pooled(output: Any) -> Features:
    found: Features = output.pooler_output.double().numpy()
    return found


def _unit(features: Features) -> Features:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


def _signed(images: Pixels) -> Any:
    import torch

    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


_memory: dict[tuple[str, bytes], NDArray[np.float64]] = {}


def _remembered(content: str, pictures: Pixels, encode: Any) -> Features:
    """Encode what was not encoded before, `BATCH` at a time."""
    import torch

    keys = [(content, hashlib.blake2b(one.tobytes() + repr(one.shape).encode()).digest()) for one in pictures]
    fresh = [index for index, key in enumerate(keys) if key not in _memory]
    if len(_memory) + len(fresh) > _REMEMBERED:
        _memory.clear()
        fresh = list(range(len(keys)))
    with torch.inference_mode():
        for start in range(0, len(fresh), BATCH):
            part = fresh[start : start + BATCH]
            for index, found in zip(part, encode(pictures[part]), strict=True):
                _memory[keys[index]] = found
    return np.stack([_memory[key] for key in keys])
