"""Our schedulers against those of diffusers, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engines.hostloop import LoopError, make, step_noise
from engines.students import KINDS

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits for the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


BASE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "clip_sample": False,
}
CLASSES = {
    "ddim": "DDIMScheduler",
    "dpm++2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
    "euler": "EulerDiscreteScheduler",
}
NAMES = CLASSES | {
    "pndm": "PNDMScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "ddpm": "DDPMScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler",
}
NOISY = {"lcm": "lcm", "euler_a": "euler_ancestral_discrete", "ddpm": "ddpm"}
"""Schedulers that draw noise, and where diffusers keeps them."""
SHAPE = (2, 4, 8, 8)


def reference(name: str, config: dict[str, Any], steps: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers

        scheduler = getattr(diffusers, NAMES[name]).from_config(config)
        given = {"mu": config["mu"]} if "mu" in config else {}
        if config.get("linear_sigmas"):
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps), **given)
        else:
            scheduler.set_timesteps(steps, **given)
    return scheduler


def denoiser(sample: np.ndarray, timestep: float) -> np.ndarray:
    """A smooth stand-in for a network: bounded, and different at every timestep."""
    answer: np.ndarray = np.tanh(0.7 * sample + 0.3 * np.sin(timestep / 100)).astype(np.float32)
    return answer


def compare(name: str, config: dict[str, Any], steps: int) -> None:
    theirs, ours = reference(name, config, steps), make(name, config, steps)
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy().astype(np.float32), atol=1e-3)
    assert ours.start_scale == pytest.approx(float(getattr(theirs, "init_noise_sigma", 1.0)), rel=2e-5)
    noise = np.stack([step_noise(seed, 99, SHAPE[1:]) for seed in range(SHAPE[0])])
    mine = noise * np.float32(ours.start_scale)
    other = torch.from_numpy(mine.copy())
    for step, timestep in enumerate(theirs.timesteps):
        fresh = np.stack([step_noise(seed, step, SHAPE[1:]) for seed in range(SHAPE[0])])
        shown = ours.scale(mine, step)
        scaled = getattr(theirs, "scale_model_input", None)
        theirs_shown = other if scaled is None else scaled(other, timestep)
        mine = ours.advance(
            denoiser(shown, float(timestep)), step, mine, fresh if ours.wants_noise(step) else None
        )
        answer = torch.from_numpy(denoiser(theirs_shown.numpy(), float(timestep)))
        with pytest.MonkeyPatch.context() as patch:
            if name in NOISY:
                patch.setattr(
                    f"diffusers.schedulers.scheduling_{NOISY[name]}.randn_tensor",
                    lambda *_, fresh=fresh, **__: torch.from_numpy(fresh),
                )
            other = theirs.step(answer, timestep, other, return_dict=False)[0]
        assert mine.dtype == np.float32
        scale = max(1.0, float(np.abs(other.numpy()).max()))
        np.testing.assert_allclose(mine / scale, other.numpy() / scale, atol=1e-4, err_msg=f"step {step}")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("name", CLASSES)
def test_every_step_equals_diffusers(name: str, spacing: str, prediction: str) -> None:
    compare(name, BASE | {"timestep_spacing": spacing, "prediction_type": prediction}, 20)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_student_is_solved_as_diffusers_does(kind: str, steps: int) -> None:
    """On the settings that Stable Diffusion 1.5 and SDXL are saved with."""
    saved = {"prediction_type": "epsilon", "timestep_spacing": "leading", "set_alpha_to_one": False}
    saved |= {"skip_prk_steps": True, **KINDS[kind].settings}
    compare(KINDS[kind].solver, BASE | saved, steps)


def test_dmd2_visits_the_timesteps_that_its_authors_name() -> None:
    assert make("lcm", dict(KINDS["dmd2"].settings), 4).timesteps.tolist() == [999, 749, 499, 249]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 12, 14, 15, 30])
@pytest.mark.parametrize("name", CLASSES)
def test_every_number_of_steps_equals_diffusers(name: str, steps: int) -> None:
    compare(name, BASE, steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_zero_snr_schedule_equals_diffusers(name: str, spacing: str) -> None:
    compare(name, BASE | {"rescale_betas_zero_snr": True, "timestep_spacing": spacing}, 12)


@pytest.mark.parametrize(
    "change",
    [
        {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"set_alpha_to_one": False},
        {"clip_sample": True, "clip_sample_range": 1.5},
        {"steps_offset": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", CLASSES)
def test_other_settings_equal_diffusers(name: str, change: dict[str, Any]) -> None:
    compare(name, BASE | {"timestep_spacing": "leading"} | change, 10)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dpm++2m", {"solver_type": "heun"}),
        ("dpm++2m", {"solver_order": 1}),
        ("dpm++2m", {"euler_at_final": True, "final_sigmas_type": "sigma_min"}),
        ("dpm++2m", {"lower_order_final": False, "final_sigmas_type": "sigma_min"}),
        ("unipc", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
        ("unipc", {"solver_order": 1}),
        ("unipc", {"solver_order": 3}),
        ("unipc", {"final_sigmas_type": "sigma_min"}),
        ("unipc", {"disable_corrector": [0, 1]}),
        ("lcm", {"original_inference_steps": 25}),
    ],
    ids=str,
)
def test_solver_settings_equal_diffusers(name: str, change: dict[str, Any]) -> None:
    compare(name, BASE | change, 10)


def test_defaults_of_an_empty_configuration_equal_diffusers() -> None:
    for name in CLASSES:
        compare(name, {}, 8)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 30])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pndm_as_stable_diffusion_ships_it_equals_diffusers(
    prediction: str, spacing: str, steps: int
) -> None:
    change = {"skip_prk_steps": True, "prediction_type": prediction, "timestep_spacing": spacing}
    compare("pndm", BASE | {"set_alpha_to_one": False} | change, steps)


@pytest.mark.parametrize("steps", [1, 4, 9, 20])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["euler_a", "ddpm"])
def test_schedulers_that_add_noise_equal_diffusers(
    name: str, prediction: str, spacing: str, steps: int
) -> None:
    compare(name, BASE | {"prediction_type": prediction, "timestep_spacing": spacing}, steps)


@pytest.mark.parametrize("scaler", [1.0, 1.4, 0.7])
@pytest.mark.parametrize("steps", [1, 2, 10, 20])
def test_the_continuous_schedule_of_stable_cascade_equals_diffusers(steps: int, scaler: float) -> None:
    from diffusers import DDPMWuerstchenScheduler

    theirs = DDPMWuerstchenScheduler(scaler=scaler)
    theirs.set_timesteps(steps)
    ours = make("ddpm-cosine", {"scaler": scaler}, steps)
    # the last of theirs is where the way ends; ours are thousandths of it
    np.testing.assert_allclose(ours.timesteps / 1000, theirs.timesteps[:-1].numpy(), atol=1e-6)
    mine = np.stack([step_noise(seed, 99, SHAPE[1:]) for seed in range(SHAPE[0])])
    other = torch.from_numpy(mine.copy())
    for step, way in enumerate(theirs.timesteps[:-1]):
        fresh = np.stack([step_noise(seed, step, SHAPE[1:]) for seed in range(SHAPE[0])])
        answer = denoiser(mine, float(way) * 1000)
        theirs_answer = torch.from_numpy(denoiser(other.numpy(), float(way) * 1000))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_ddpm_wuerstchen.randn_tensor",
                lambda *_, fresh=fresh, **__: torch.from_numpy(fresh),
            )
            other = theirs.step(theirs_answer, way.expand(SHAPE[0]), other, return_dict=False)[0]
        mine = ours.advance(answer, step, mine, fresh if ours.wants_noise(step) else None)
        assert mine.dtype == np.float32
        scale = max(1.0, float(np.abs(other.numpy()).max()))
        np.testing.assert_allclose(mine / scale, other.numpy() / scale, atol=1e-4, err_msg=f"step {step}")


FLOW: dict[str, Any] = {"num_train_timesteps": 1000, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize(
    "change",
    [
        {"shift": 3.0},
        {"shift": 1.0, "linear_sigmas": True},
        {"use_dynamic_shifting": True, "mu": 0.9, "linear_sigmas": True},
        {"use_dynamic_shifting": True, "mu": 0.9, "time_shift_type": "linear"},
        {"use_dynamic_shifting": True, "mu": 1.1, "linear_sigmas": True, "shift_terminal": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 4, 28])
def test_flow_matching_equals_diffusers(change: dict[str, Any], steps: int) -> None:
    if steps == 1 and "shift_terminal" in change:
        steps = 2  # one step that ends where it begins is none
    compare("flow-euler", FLOW | change, steps)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("name", ["dpm++2m", "unipc"])
def test_multistep_solvers_on_a_flow_equal_diffusers(name: str, steps: int, shift: float) -> None:
    compare(name, FLOW | {"use_flow_sigmas": True, "flow_shift": shift}, steps)


@pytest.mark.parametrize("steps", [2, 7, 25])
@pytest.mark.parametrize("name", ["euler", "dpm++2m", "unipc"])
def test_sigmas_of_karras_equal_diffusers(name: str, steps: int) -> None:
    compare(name, BASE | {"use_karras_sigmas": True, "timestep_spacing": "leading"}, steps)


def test_continuous_timesteps_of_stable_video_diffusion_equal_diffusers() -> None:
    change = {
        "timestep_type": "continuous",
        "use_karras_sigmas": True,
        "sigma_min": 0.002,
        "sigma_max": 700.0,
    }
    compare("euler", BASE | change | {"timestep_spacing": "leading"}, 25)


def test_no_number_of_steps_leaves_the_schedule() -> None:
    for steps in range(1, 101):
        timesteps = make("ddim", BASE, steps).timesteps
        assert len(timesteps) == steps
        assert timesteps.min() >= 0


@pytest.mark.parametrize(
    ("name", "change", "steps", "words"),
    [
        ("heun", {}, 10, "There is no scheduler 'heun'"),
        ("pndm", {}, 10, "skip_prk_steps"),
        ("ddim", {"beta_schedule": "laplace"}, 10, "beta_schedule='laplace'"),
        ("ddim", {"timestep_spacing": "odd"}, 10, "timestep_spacing='odd'"),
        ("ddim", {"thresholding": True}, 10, "thresholding"),
        ("dpm++2m", {"use_exponential_sigmas": True}, 10, "use_exponential_sigmas"),
        ("ddim", {"use_karras_sigmas": True}, 10, "use_karras_sigmas"),
        ("dpm++2m", {"algorithm_type": "sde-dpmsolver++"}, 10, "sde-dpmsolver"),
        ("dpm++2m", {"use_flow_sigmas": True}, 10, "go together"),
        ("flow-euler", {"prediction_type": "flow_prediction", "use_dynamic_shifting": True}, 10, "mu"),
        ("ddpm", {"variance_type": "learned_range"}, 10, "learned_range"),
        ("ddim", {"prediction_type": "flow_prediction"}, 10, "flow_prediction"),
        ("ddim", {}, 0, "0 steps"),
        ("lcm", {}, 51, "between 1 and 50"),
    ],
)
def test_what_cannot_be_done_is_said(name: str, change: dict[str, Any], steps: int, words: str) -> None:
    with pytest.raises(LoopError, match=words):
        make(name, BASE | change, steps)


def test_pure_noise_cannot_start_a_denoiser_that_predicts_noise() -> None:
    scheduler = make("ddim", BASE | {"rescale_betas_zero_snr": True, "prediction_type": "epsilon"}, 4)
    zeros = np.zeros(SHAPE, dtype=np.float32)
    with pytest.raises(LoopError, match="rescale_betas_zero_snr"):
        scheduler.advance(zeros, 0, zeros)
