"""A pass that starts from another's latents takes the steps that diffusers' img2img takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.hostloop import LoopError, LoopSettings, make, step_noise
from engines.hostloop.loop import Loop, StepDone
from engines.hostloop.noise import latent_noise
from tests.engines import test_hostloop_loop as stand
from tests.engines.test_hostloop_schedulers import BASE, NOISY, SHAPE, denoiser, reference

torch = pytest.importorskip("torch")
tokenizer = stand.tokenizer
FLOW = {"num_train_timesteps": 1000, "shift": 3.0}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def late(theirs: Any, name: str, steps: int, strength: float) -> Any:
    """The timesteps of diffusers' own img2img pipeline; tells its scheduler where it begins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "flow-euler":
            from diffusers import StableDiffusion3Img2ImgPipeline as Pipeline
        else:
            from diffusers import StableDiffusionImg2ImgPipeline as Pipeline
    return Pipeline.get_timesteps(SimpleNamespace(scheduler=theirs), steps, strength, None)[0]


@pytest.mark.parametrize(("steps", "strength"), [(20, 0.3), (20, 0.75), (12, 0.5), (4, 0.25), (25, 1.0)])
@pytest.mark.parametrize(
    "name", ["ddim", "dpm++2m", "unipc", "lcm", "euler", "euler_a", "ddpm", "flow-euler"]
)
def test_a_late_start_equals_diffusers(name: str, steps: int, strength: float) -> None:
    flow = name == "flow-euler"
    config = FLOW if flow else BASE | {"prediction_type": "epsilon"}
    theirs, ours = reference(name, config, steps), make(name, config, steps)
    timesteps = late(theirs, name, steps, strength)
    clean, noise = (
        np.stack([step_noise(seed, at, SHAPE[1:]) for seed in range(SHAPE[0])]) for at in (98, 99)
    )
    mine = ours.begin(strength, clean, noise)
    first = timesteps[:1].repeat(SHAPE[0])
    put = theirs.scale_noise if flow else theirs.add_noise
    given = (clean, first, noise) if flow else (clean, noise, first)
    other = put(*(torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in given))
    np.testing.assert_allclose(mine, other.numpy(), rtol=2e-4, atol=2e-4)
    assert len(timesteps) == steps - ours.first == int(steps * strength)
    for step, timestep in enumerate(timesteps, start=ours.first):
        fresh = np.stack([step_noise(seed, step, SHAPE[1:]) for seed in range(SHAPE[0])])
        scaled = getattr(theirs, "scale_model_input", None)
        shown = other if scaled is None else scaled(other, timestep)
        answer = torch.from_numpy(denoiser(shown.numpy(), float(timestep)))
        told = denoiser(ours.scale(mine, step), float(ours.timesteps[step]))
        mine = ours.advance(told, step, mine, fresh if ours.wants_noise(step) else None)
        with pytest.MonkeyPatch.context() as patch:
            if name in NOISY:
                patch.setattr(
                    f"diffusers.schedulers.scheduling_{NOISY[name]}.randn_tensor",
                    lambda *_, fresh=fresh, **__: torch.from_numpy(fresh),
                )
            other = theirs.step(answer, timestep, other, return_dict=False)[0]
        scale = max(1.0, float(np.abs(other.numpy()).max()))
        np.testing.assert_allclose(mine / scale, other.numpy() / scale, atol=3e-4, err_msg=f"step {step}")


def test_pndm_starts_late_without_losing_a_step() -> None:
    """With a perfect denoiser any number of steps from the right mixture leads back to the clean latent."""
    clean, noise = (step_noise(3, at, SHAPE[1:])[None] for at in (98, 99))
    ours = make(
        "pndm", BASE | {"prediction_type": "epsilon", "skip_prk_steps": True, "set_alpha_to_one": True}, 20
    )
    latent = ours.begin(0.5, clean, noise)
    for step in range(ours.first, len(ours.timesteps)):
        latent = ours.advance(noise, step, latent)
    np.testing.assert_allclose(latent, clean, atol=0.05)
    assert len(ours.timesteps) - ours.first == 10


@pytest.mark.parametrize("cache", [1, 3])
def test_the_loop_takes_the_last_steps_from_given_latents(tokenizer: Any, cache: int) -> None:
    network = stand.Network()
    settings = replace(stand.SETTINGS, strength=0.5, cache_interval=cache)
    start = np.stack([latent_noise(seed + 50, settings.latent_shape) for seed in stand.SEEDS])
    told: list[StepDone] = []
    late_loop = Loop(network.components(), tokenizer, settings)
    found = late_loop.generate(stand.PROMPTS, stand.SEEDS, told.append, start=start)
    taken = settings.steps // 2
    assert [one.step for one in told] == [*range(taken), *range(taken)]
    assert {one.steps for one in told} == {taken}
    denoisers = [name for name, _, _ in network.timesteps]
    assert len(denoisers) == 2 * taken
    assert denoisers[0] == ("denoiser" if cache == 1 else "denoiser_full")
    alone = late_loop.generate(stand.PROMPTS[2:3], stand.SEEDS[2:3], start=start[2:3])
    np.testing.assert_array_equal(alone.images[0], found.images[2])
    other = late_loop.generate(stand.PROMPTS, stand.SEEDS, start=-start)
    assert (other.images != found.images).any()


def test_a_start_that_makes_no_sense_is_refused(tokenizer: Any) -> None:
    def started(strength: float, shape: tuple[int, ...] | None) -> None:
        settings = replace(stand.SETTINGS, strength=strength)
        start = None if shape is None else np.zeros(shape, np.float32)
        Loop(stand.Network().components(), tokenizer, settings).generate(["a"], [1], start=start)

    right = (1, *stand.SETTINGS.latent_shape)
    for strength, shape, words in (
        (0.5, None, "needs latents"),
        (0.5, (1, 9, 9, 9), "through pixels"),
        (0.0, right, "above 0"),
        (1.5, right, "up to 1"),
        (0.01, right, "none of"),
    ):
        with pytest.raises(LoopError, match=words):
            started(strength, shape)


def test_the_strength_travels_and_is_silent_where_it_says_nothing() -> None:
    assert "strength" not in stand.SETTINGS.to_json()
    late_settings = replace(stand.SETTINGS, strength=0.4)
    assert LoopSettings.from_json(late_settings.to_json()) == late_settings
