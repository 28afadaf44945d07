"""Which part of the denoiser runs when, with small numpy components."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from engines.hostloop import Loop, LoopError, LoopSettings, StepDone, latent_noise, make
from engines.hostloop.loop import Arrays, Result
from engines.hostloop.passes import Passes, enlarge, shrink
from engines.hostloop.reuse import LONGEST
from engines.measure import floor
from tests.engines import test_hostloop_loop as stand

tokenizer = stand.tokenizer
STEPS = 12
PROMPTS, SEEDS = stand.PROMPTS, stand.SEEDS


class Parts(stand.Network):
    """The stand-in network in its other splits; `speed`: how fast the first block's answer changes."""

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        self.speed = speed
        self.frozen: list[Any] = []
        self.answers: list[Any] = []
        self.used: list[Any] = []

    def denoiser_small(self, inputs: Arrays) -> Arrays:
        assert inputs["sample"].shape[-2:] == (2, 2)
        return self.denoiser(inputs)

    def denoiser_shallow(self, inputs: Arrays) -> Arrays:
        self.frozen.append(inputs["feature"])
        return super().denoiser_shallow(inputs)

    def denoiser_full(self, inputs: Arrays) -> Arrays:
        answers = inputs["embeddings"].mean(axis=(1, 2)) + inputs["timestep"]
        self.answers.append(answers[:, None])
        return super().denoiser_full(inputs) | {"attention": answers[:, None]}

    def denoiser_gated(self, inputs: Arrays) -> Arrays:
        self.used.append(inputs["attention"])
        deep = self._deep(inputs) + np.float32(0.01) * inputs["attention"][:, :, None, None]
        return {"prediction": self._shallow(inputs, deep), "feature": deep}

    def denoiser_gated_shallow(self, inputs: Arrays) -> Arrays:
        self.used.append(inputs["attention"])
        return {"prediction": self._shallow(inputs, inputs["feature"])}

    def denoiser_first(self, inputs: Arrays) -> Arrays:
        moved = 1 + self.speed * inputs["timestep"] / 1000 * (1 + inputs["embeddings"].mean(axis=(1, 2)))
        return {"state": inputs["sample"], "probe": np.repeat(moved[:, None], 3, axis=1).astype(np.float32)}

    def denoiser_rest(self, inputs: Arrays) -> Arrays:
        assert "sample" not in inputs
        return {"feature": self._deep({**inputs, "sample": inputs["state"]})}

    def denoiser_last(self, inputs: Arrays) -> Arrays:
        return {"prediction": self._shallow({**inputs, "sample": inputs["state"]}, inputs["feature"])}

    def components(self) -> dict[str, Any]:
        names = ("small", "gated", "gated_shallow", "first", "rest", "last")
        return super().components() | {
            f"denoiser_{name}": getattr(self, f"denoiser_{name}") for name in names
        }


def settings(**changes: Any) -> LoopSettings:
    return replace(stand.SETTINGS, steps=STEPS, **changes)


def draw(tokenizer: Tokenizer, parts: Parts, prompts: list[str], seeds: list[int], **changes: Any) -> Result:
    return Loop(parts.components(), tokenizer, settings(**changes)).generate(prompts, seeds)


@pytest.mark.parametrize("batched", [True, False])
def test_after_the_gate_cross_attention_is_the_mean_of_both_passes_and_guidance_ends(
    tokenizer: Tokenizer, batched: bool
) -> None:
    parts = Parts()
    found = draw(
        tokenizer, parts, ["a red house"], [1],
        gate_after=0.25, guidance_until=0.25, batched_guidance=batched,
    )  # fmt: skip
    assert found.rows["denoiser_full"] == 2 * 3
    assert found.rows["denoiser_shallow"] == STEPS - 3
    seen: list[Any] = []
    components = Parts().components()
    full = components["denoiser_full"]

    def watched(inputs: Arrays) -> Arrays:
        found: Arrays = full(inputs)
        seen.append(found["feature"])
        return found

    wanted = settings(gate_after=0.25, guidance_until=0.25)
    Loop(components | {"denoiser_full": watched}, tokenizer, wanted).generate(["a red house"], [1])
    np.testing.assert_allclose(parts.frozen[0][0], seen[2].mean(axis=0), rtol=1e-6)
    assert all(one is parts.frozen[0] for one in parts.frozen)


@pytest.mark.parametrize("batched", [True, False])
def test_a_feature_cache_goes_on_behind_the_gate_whose_pass_is_whole(
    tokenizer: Tokenizer, batched: bool
) -> None:
    parts = Parts()
    found = draw(
        tokenizer, parts, ["a red house"], [1],
        gate_after=0.4, guidance_until=0.4, cache_interval=3, batched_guidance=batched,
    )  # fmt: skip
    # whole at 0 and 3, the gate at 5, whole again at 6 and 9
    rows = {name: count for name, count in found.rows.items() if name.startswith("denoiser")}
    assert rows == {
        "denoiser_full": 2 * 2, "denoiser_shallow": 2 * 3, "denoiser_gated": 3, "denoiser_gated_shallow": 4,
    }  # fmt: skip
    assert len(parts.frozen) == (3 if batched else 6)
    last = np.concatenate(parts.answers[-1 if batched else -2 :])
    assert last.shape == (2, 1)
    for used in parts.used:
        np.testing.assert_allclose(used, last.mean(axis=0, keepdims=True), rtol=1e-6)
    whole = draw(
        tokenizer, Parts(), ["a red house"], [1],
        gate_after=0.4, guidance_until=0.2, cache_interval=3, batched_guidance=batched,
    )  # fmt: skip
    # guidance ends at step 3: the prompt's own pass there is the last before the gate
    assert whole.rows["denoiser_full"] == 2 + 1


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++2m", "unipc", "lcm", "euler"])
@pytest.mark.parametrize(
    "change",
    [
        {"gate_after": 0.5, "guidance_until": 0.4},
        {"gate_after": 0.5, "guidance_until": 0.4, "cache_interval": 3},
        {"cache_threshold": 0.05},
        {"small_until": 0.3},
        {"cache_interval": 3, "forecast_order": 2, "guidance_until": 0.6},
    ],
    ids=str,
)
def test_a_seed_gives_the_same_picture_in_any_batch(
    tokenizer: Tokenizer, scheduler: str, change: dict[str, Any]
) -> None:
    together = draw(tokenizer, Parts(), PROMPTS, SEEDS, scheduler=scheduler, **change).images
    for prompt, seed, image in zip(PROMPTS, SEEDS, together, strict=True):
        alone = draw(tokenizer, Parts(), [prompt], [seed], scheduler=scheduler, **change).images[0]
        np.testing.assert_array_equal(alone, image)


def test_the_rest_runs_where_the_first_block_says_so_and_at_least_now_and_then(tokenizer: Tokenizer) -> None:
    still = draw(tokenizer, Parts(speed=0.0), PROMPTS, SEEDS, cache_threshold=0.05)
    assert still.rows["denoiser_rest"] == 2 * len(PROMPTS) * -(-STEPS // (LONGEST + 1))
    some = draw(tokenizer, Parts(speed=1.0), PROMPTS, SEEDS, cache_threshold=0.12)
    assert still.rows["denoiser_rest"] < some.rows["denoiser_rest"] < some.rows["denoiser_first"]
    strict = draw(tokenizer, Parts(speed=1.0), PROMPTS, SEEDS, cache_threshold=1e-9)
    assert strict.rows["denoiser_rest"] == strict.rows["denoiser_first"] == 2 * len(PROMPTS) * STEPS
    whole = draw(tokenizer, Parts(), PROMPTS, SEEDS)
    np.testing.assert_array_equal(strict.images, whole.images)


def forecast(order: int, steps: int = 6) -> list[float]:
    """What stands in for a feature that is 3 - s / 2 + s^2 / 50 at step s, a whole pass every second step."""
    now = 0

    def call(name: str, inputs: Arrays) -> Arrays:
        if name == "denoiser_first":
            return {"state": inputs["sample"], "probe": inputs["sample"]}
        if name == "denoiser_rest":
            return {"feature": np.full((1, 1), 3 - now / 2 + now**2 / 50, np.float32)}
        return {"prediction": inputs["feature"]}

    passes = Passes(settings(cache_interval=2, forecast_order=order), steps, call)
    found = []
    for now in range(steps):
        given: Arrays = {"sample": np.zeros((1, 1), np.float32), "timestep": np.zeros(1, np.float32)}
        found.append(passes.evaluate("prompt", given, now, np.arange(1)).item())
    return found


def test_a_forecast_is_the_taylor_series_of_the_paper() -> None:
    """arXiv 2503.06923: F + sum of differences, each over i! N^i, times k^i; N = 2 and k = 1 here."""
    whole = {0: 3.0, 2: 2.08, 4: 1.32}
    once, twice = whole[4] - whole[2], whole[4] - 2 * whole[2] + whole[0]
    line, parabola = forecast(1), forecast(2)
    for found in (line, parabola):
        np.testing.assert_allclose(found[::2], list(whole.values()), rtol=1e-6)
        assert found[1] == pytest.approx(whole[0])
        assert found[3] == pytest.approx(whole[2] + (whole[2] - whole[0]) / 2)
    assert line[5] == pytest.approx(whole[4] + once / 2)
    assert parabola[5] == pytest.approx(whole[4] + once / 2 + twice / (2 * 4))
    true = 3 - 5 / 2 + 25 / 50
    assert abs(parabola[5] - true) < abs(line[5] - true) < abs(whole[4] - true)


def test_the_first_steps_are_small_and_previews_are_not(tokenizer: Tokenizer) -> None:
    seen: list[StepDone] = []
    made = Loop(Parts().components(), tokenizer, settings(small_until=0.25))
    found = made.generate(["a red house"], [1], seen.append)
    assert found.calls["denoiser_small"] == 3
    assert found.calls["denoiser"] == STEPS - 3
    assert {one.latent.shape for one in seen} == {(1, 2, 4, 4)}


@pytest.mark.parametrize(
    "change",
    [
        {"gate_after": 0.4, "guidance_until": 0.4},
        {"gate_after": 0.6, "guidance_until": 0.3},
        {"gate_after": 0.4, "guidance_until": 0.4, "cache_interval": 3},
        {"gate_after": 0.6, "guidance_until": 0.3, "cache_interval": 4},
        {"gate_after": 0.6, "guidance_from": 0.2, "guidance_until": 0.6, "cache_interval": 5},
        {"small_until": 0.4, "guidance_until": 0.7},
        {"cache_interval": 3, "forecast_order": 2, "guidance_until": 0.7},
        {"cache_interval": 3, "guidance_from": 0.3, "guidance_until": 0.7},
        {"cache_interval": 2, "forecast_order": 1, "guidance_from": 0.25},
    ],
    ids=str,
)
def test_the_declared_rows_are_those_that_the_loop_computes(
    tokenizer: Tokenizer, change: dict[str, Any]
) -> None:
    found = draw(tokenizer, Parts(), ["a red house"], [1], **change).rows
    assert floor.rows(settings(**change)) == found
    assert floor.most(settings(**change)) == found


def test_the_declared_rows_of_a_first_block_cache_are_a_range(tokenizer: Tokenizer) -> None:
    changes = {"cache_threshold": 0.05, "guidance_until": 0.5}
    least, most = floor.rows(settings(**changes)), floor.most(settings(**changes))
    assert draw(tokenizer, Parts(speed=0.0), ["a"], [1], **changes).rows == least
    changes["cache_threshold"] = 1e-9
    assert draw(tokenizer, Parts(speed=1.0), ["a"], [1], **changes).rows == most


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++2m", "unipc", "euler"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_clean_latent_is_found_from_a_true_prediction(scheduler: str, kind: str) -> None:
    made = make(scheduler, {"prediction_type": kind, "clip_sample": False}, 10)
    clean, noise = latent_noise(1, (1, 2, 4, 4)), latent_noise(2, (1, 2, 4, 4))
    for step in (2, 7):
        signal, blur = made.mixture(step)
        size = np.hypot(signal, blur)
        true = noise if kind == "epsilon" else (signal * noise - blur * clean) / size
        found = made.clean(true.astype(np.float32), step, (signal * clean + blur * noise).astype(np.float32))
        np.testing.assert_allclose(found, clean, atol=1e-3)


def test_half_of_unit_noise_is_unit_noise_and_enlarging_keeps_what_is_even() -> None:
    noise = latent_noise(3, (4, 64, 64))
    assert shrink(noise).shape == (4, 32, 32)
    assert shrink(noise).std() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(enlarge(np.full((1, 3, 3), 2.0, np.float32)), np.full((1, 6, 6), 2.0))
    slope = np.arange(4, dtype=np.float32)[None]
    np.testing.assert_allclose(enlarge(slope[:, :, None])[0, 1:-1, 0], np.arange(0.25, 3, 0.5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gate_after": 0.5, "cache_interval": 2, "forecast_order": 1}, "one can be used"),
        ({"gate_after": 0.5, "cache_interval": 2, "small_until": 0.3}, "one can be used"),
        ({"small_until": 0.5, "cache_threshold": 0.1}, "one can be used"),
        ({"forecast_order": 1}, "needs a cache_interval above 1"),
        ({"forecast_order": 1, "cache_interval": 2, "cache_threshold": 0.1}, "one can be used"),
        ({"gate_after": 0.0}, "gate_after must be above 0"),
        ({"small_until": 1.0}, "small_until at least 0 and below 1"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(
    tokenizer: Tokenizer, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(LoopError, match=words):
        Loop(Parts().components(), tokenizer, settings(**change))


def test_settings_without_a_split_say_nothing_of_it_in_a_manifest() -> None:
    told = settings().to_json()
    assert not {"gate_after", "cache_threshold", "small_until"} & set(told)
    split = settings(cache_threshold=0.1)
    assert LoopSettings.from_json(split.to_json()) == split
