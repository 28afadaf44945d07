"""The models of a pair's two sides: opened as their runs knew them, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from studio.errors import CascadeError
from studio.record.sides import Pair, Side

if TYPE_CHECKING:
    from engines.models.model import Model

READER: Final = "reader.safetensors"
"""In the folder of a model: reads the adherence of its pictures."""
_SCALES: Final = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
"""Settings of an autoencoder by which its latents are scaled."""


def opened(side: Side) -> Model:
    """The model of a side's run.

    Raises:
        CascadeError: it is another one than when the run began.
        ModelError: it is no longer there.
    """
    from engines.models.load import open_model

    card = side.started.model
    model = open_model(card.source)
    if model.hash != card.hash:
        raise CascadeError(
            f"The model {card.name} was changed after the run {side.run.name}; put the old one back or run "
            "again."
        )
    return model


def opened_both(pair: Pair) -> tuple[Model, Model]:
    """Light's and heavy's; the same twice where there is one."""
    light = opened(pair.light)
    return light, (opened(pair.heavy) if pair.two_models else light)


def both_read(models: tuple[Model, Model]) -> bool:
    """Whether the adherence of both models' pictures can be read: each has learned the scenes of a reader."""
    return all((model.path / READER).is_file() for model in models)


def same_autoencoder(one: Model, other: Model) -> bool:
    """Whether a latent of one model is the same picture to the other: equal weights, scaled alike."""
    if one.hash == other.hash:
        return True
    import torch

    first, second = one.part("vae"), other.part("vae")
    settings: list[Any] = [[getattr(part.config, name, None) for name in _SCALES] for part in (first, second)]
    if settings[0] != settings[1]:
        return False
    own, theirs = first.state_dict(), second.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)


def same_words(one: Model, other: Model) -> bool:
    """Whether both models split a prompt into the same tokens."""
    if one.hash == other.hash:
        return True
    texts = [{name: found.to_str() for name, found in model.tokenizers.items()} for model in (one, other)]
    return texts[0] == texts[1]
