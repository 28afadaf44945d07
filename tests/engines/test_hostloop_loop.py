"""The host loop with small numpy components: what it calls, and that batches do not matter."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from engines import hostloop
from engines.hostloop import Cancelled, Loop, LoopError, LoopSettings, StepDone, latent_noise, step_noise
from engines.hostloop.loop import Arrays

WORDS = {
    word: i
    for i, word in enumerate(["<bos>", "<eos>", "<pad>", "<unk>", "a", "red", "blue", "house", "tree"])
}
SETTINGS = LoopSettings(
    scheduler="ddim",
    scheduler_config={
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "clip_sample": False,
    },
    steps=6,
    guidance=4.0,
    latent_shape=(2, 4, 4),
    token_length=8,
    bos_id=0,
    eos_id=1,
    pad_id=2,
    batch=3,
)
PROMPTS = ["a red house", "a blue tree", "a red tree", "a blue house", "red"]
SEEDS = [1, 2, 3, 4, 5]


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    return made


class Network:
    """Deterministic components that mix every row of their inputs, and remember what they were given."""

    def __init__(self) -> None:
        self.timesteps: list[tuple[str, float, int]] = []
        self.text_rows: list[int] = []

    def text_encoder(self, inputs: Arrays) -> Arrays:
        ids = inputs["input_ids"]
        self.text_rows.append(len(ids))
        assert ids.dtype == np.int64
        return {"embeddings": np.sin(ids[:, :, None] * np.arange(1, 4)).astype(np.float32)}

    def _deep(self, inputs: Arrays) -> Any:
        mean = inputs["embeddings"].mean(axis=(1, 2))
        return (np.tanh(inputs["sample"] * 0.5) * (1 + mean[:, None, None, None])).astype(np.float32)

    def _shallow(self, inputs: Arrays, deep: Any) -> Any:
        assert inputs["timestep"].dtype == np.float32
        assert len(deep) == len(inputs["sample"])
        return (deep + 0.1 * np.sin(inputs["timestep"])[:, None, None, None]).astype(np.float32)

    def denoiser(self, inputs: Arrays) -> Arrays:
        self.timesteps.append(("denoiser", float(inputs["timestep"][0]), len(inputs["sample"])))
        return {"prediction": self._shallow(inputs, self._deep(inputs))}

    def denoiser_full(self, inputs: Arrays) -> Arrays:
        self.timesteps.append(("denoiser_full", float(inputs["timestep"][0]), len(inputs["sample"])))
        deep = self._deep(inputs)
        return {"prediction": self._shallow(inputs, deep), "feature": deep}

    def denoiser_shallow(self, inputs: Arrays) -> Arrays:
        self.timesteps.append(("denoiser_shallow", float(inputs["timestep"][0]), len(inputs["sample"])))
        return {"prediction": self._shallow(inputs, inputs["feature"])}

    def decoder(self, inputs: Arrays) -> Arrays:
        large = inputs["latent"].repeat(2, axis=2).repeat(2, axis=3)
        return {"image": np.concatenate([large, large[:, :1]], axis=1)}

    def components(self) -> dict[str, hostloop.Component]:
        names = ("text_encoder", "denoiser", "denoiser_full", "denoiser_shallow", "decoder")
        return {name: getattr(self, name) for name in names}


def loop(tokenizer: Tokenizer, **changes: Any) -> Loop:
    return Loop(Network().components(), tokenizer, replace(SETTINGS, **changes))


def test_pictures_are_uint8_and_counted(tokenizer: Tokenizer) -> None:
    result = loop(tokenizer).generate(PROMPTS, SEEDS)
    assert result.images.shape == (5, 8, 8, 3)
    assert result.images.dtype == np.uint8
    assert result.calls == {"text_encoder": 2, "denoiser": 12, "decoder": 2}
    assert result.rows == {"text_encoder": 7, "denoiser": 60, "decoder": 5}
    assert set(result.seconds) == {"encode", "denoise", "scheduler", "decode"}
    assert result.broken == ()


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++2m", "unipc", "lcm", "euler"])
@pytest.mark.parametrize("change", [{}, {"cache_interval": 3}, {"guidance_until": 0.5}], ids=str)
def test_a_seed_gives_the_same_picture_in_any_batch(
    tokenizer: Tokenizer, scheduler: str, change: dict[str, Any]
) -> None:
    together = loop(tokenizer, scheduler=scheduler, **change).generate(PROMPTS, SEEDS).images
    alone = loop(tokenizer, scheduler=scheduler, **change)
    for prompt, seed, image in zip(PROMPTS, SEEDS, together, strict=True):
        np.testing.assert_array_equal(alone.generate([prompt], [seed]).images[0], image)


@pytest.mark.parametrize(
    "change",
    [{}, {"cache_interval": 2}, {"guidance_until": 0.4}, {"guidance_from": 0.3, "cache_interval": 3}],
    ids=str,
)
def test_sequential_guidance_gives_the_same_pictures_in_twice_the_calls(
    tokenizer: Tokenizer, change: dict[str, Any]
) -> None:
    batched = loop(tokenizer, **change).generate(PROMPTS[:3], SEEDS[:3])
    sequential = loop(tokenizer, batched_guidance=False, **change).generate(PROMPTS[:3], SEEDS[:3])
    np.testing.assert_array_equal(batched.images, sequential.images)
    assert sum(sequential.calls.values()) > sum(batched.calls.values())
    assert sequential.rows == batched.rows


def test_pndm_asks_the_denoiser_once_more(tokenizer: Tokenizer) -> None:
    config = {"skip_prk_steps": True, "prediction_type": "epsilon"}
    result = loop(tokenizer, scheduler="pndm", scheduler_config=config, guidance_until=0.5).generate(
        ["a"], [1]
    )
    assert result.calls["denoiser"] == 7
    assert result.rows["denoiser"] == 4 * 2 + 3


def test_guidance_begins_and_ends_where_it_is_told_to(tokenizer: Tokenizer) -> None:
    network = Network()
    settings = replace(SETTINGS, guidance_from=0.3, guidance_until=0.7)
    Loop(network.components(), tokenizer, settings).generate(["a"], [1])
    assert [rows for _, _, rows in network.timesteps] == [1, 1, 2, 2, 2, 1]


def test_guidance_from_the_first_step_is_what_it_was(tokenizer: Tokenizer) -> None:
    assert "guidance_from" not in SETTINGS.to_json()
    plain, interval = (loop(tokenizer, guidance_until=0.7, guidance_from=begin) for begin in (0.0, 0.3))
    first = plain.generate(PROMPTS, SEEDS).images
    assert (first != interval.generate(PROMPTS, SEEDS).images).any()


def test_guidance_stops_where_it_is_told_to(tokenizer: Tokenizer) -> None:
    network = Network()
    Loop(network.components(), tokenizer, replace(SETTINGS, guidance_until=0.5)).generate(["a"], [1])
    assert [rows for _, _, rows in network.timesteps] == [2, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("change", [{"guidance": 1.0}, {"guidance_until": 0.0}], ids=str)
def test_without_guidance_the_negative_prompt_is_not_encoded(
    tokenizer: Tokenizer, change: dict[str, Any]
) -> None:
    result = loop(tokenizer, **change).generate(["a"], [1])
    assert result.rows == {"text_encoder": 1, "denoiser": 6, "decoder": 1}


def test_the_feature_cache_runs_the_whole_denoiser_at_every_nth_step(tokenizer: Tokenizer) -> None:
    network = Network()
    Loop(network.components(), tokenizer, replace(SETTINGS, cache_interval=3)).generate(["a"], [1])
    full, shallow = "denoiser_full", "denoiser_shallow"
    assert [name for name, _, _ in network.timesteps] == [full, shallow, shallow, full, shallow, shallow]


def test_a_feature_outlives_the_end_of_guidance(tokenizer: Tokenizer) -> None:
    network = Network()
    settings = replace(SETTINGS, cache_interval=4, guidance_until=0.3)
    Loop(network.components(), tokenizer, settings).generate(["a"], [1])
    assert [rows for _, _, rows in network.timesteps] == [2, 2, 1, 1, 1, 1]


def test_cached_prompts_are_encoded_once(tokenizer: Tokenizer) -> None:
    network = Network()
    cached = Loop(network.components(), tokenizer, replace(SETTINGS, prompt_cache=True))
    plain = loop(tokenizer).generate(PROMPTS[:2], SEEDS[:2]).images
    np.testing.assert_array_equal(cached.generate(PROMPTS[:2], SEEDS[:2]).images, plain)
    again = cached.generate(["a red house", "a red tree"], [1, 3])
    assert network.text_rows == [3, 1]
    assert again.calls["text_encoder"] == 1
    np.testing.assert_array_equal(again.images[0], plain[0])
    assert "text_encoder" not in cached.generate(["a red house"], [1]).calls


def test_the_prompt_cache_forgets_what_was_used_longest_ago(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.hostloop.conditions.PROMPTS_KEPT", 2)
    network = Network()
    cached = Loop(network.components(), tokenizer, replace(SETTINGS, prompt_cache=True, guidance=1.0))
    for prompt in ("a", "red", "a", "blue", "a", "red"):
        cached.generate([prompt], [1])
    assert len(network.text_rows) == 4


def test_tokens_are_framed_padded_and_cut(tokenizer: Tokenizer) -> None:
    ids = loop(tokenizer).tokenize(["a red house", "", "a " * 20])
    assert ids[0].tolist() == [0, 4, 5, 7, 1, 2, 2, 2]
    assert ids[1].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert ids[2].tolist() == [0, 4, 4, 4, 4, 4, 4, 1]


def test_noise_depends_on_seed_and_step_only() -> None:
    noise = latent_noise(7, (4, 8, 8))
    assert noise.dtype == np.float32
    np.testing.assert_array_equal(noise, latent_noise(7, (4, 8, 8)))
    steps = [step_noise(7, step, (4, 8, 8)) for step in range(3)]
    different = [noise, latent_noise(8, (4, 8, 8)), *steps]
    for i, one in enumerate(different):
        for other in different[:i]:
            assert abs(float(np.corrcoef(one.ravel(), other.ravel())[0, 1])) < 0.25
    # These bits are a promise: packages and recorded runs are compared by them.
    np.testing.assert_array_equal(
        latent_noise(0, (3,)),
        np.random.Generator(np.random.Philox(key=0)).standard_normal(3, dtype=np.float32),
    )


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(LoopError, match="seed"):
        latent_noise(seed, (1,))


def test_each_step_is_told_and_can_cancel(tokenizer: Tokenizer) -> None:
    told: list[StepDone] = []
    plain = loop(tokenizer)
    result = plain.generate(PROMPTS[:4], SEEDS[:4], on_step=told.append)
    assert [(step.step, list(step.images)) for step in told[:1] + told[-1:]] == [(0, [0, 1, 2]), (5, [3])]
    np.testing.assert_array_equal(plain.decode(told[5].latent), result.images[:3])

    def stop(step: StepDone) -> None:
        if step.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        plain.generate(["a"], [1], on_step=stop)
    np.testing.assert_array_equal(plain.generate(PROMPTS[:1], SEEDS[:1]).images[0], result.images[0])


def test_a_value_that_is_not_a_number_is_reported_and_black(tokenizer: Tokenizer) -> None:
    network = Network()

    def decoder(inputs: Arrays) -> Arrays:
        image = network.decoder(inputs)["image"]
        image[1] = np.nan
        return {"image": image}

    result = Loop(network.components() | {"decoder": decoder}, tokenizer, SETTINGS).generate(PROMPTS, SEEDS)
    assert result.broken == (1, 4)
    assert not result.images[1].any()


@pytest.mark.parametrize(
    ("prompts", "seeds", "words"), [([], [], "no prompt"), (["a", "b"], [1], "2 prompts came with 1 seeds")]
)
def test_bad_requests_are_refused(
    tokenizer: Tokenizer, prompts: list[str], seeds: list[int], words: str
) -> None:
    with pytest.raises(LoopError, match=words):
        loop(tokenizer).generate(prompts, seeds)


def test_settings_that_make_no_sense_are_refused(tokenizer: Tokenizer) -> None:
    for change in (
        {"batch": 0},
        {"cache_interval": 0},
        {"guidance_until": 1.5},
        {"guidance_from": 0.5, "guidance_until": 0.5},
        {"guidance_from": -0.1},
        {"scheduler": "x"},
        {"steps": 0},
    ):
        with pytest.raises(LoopError):
            loop(tokenizer, **change)
    with pytest.raises(LoopError, match="denoiser_full and denoiser_shallow"):
        Loop({"text_encoder": print, "decoder": print}, tokenizer, replace(SETTINGS, cache_interval=2))  # type: ignore[dict-item]


def test_settings_survive_json() -> None:
    import json

    assert LoopSettings.from_json(json.loads(json.dumps(SETTINGS.to_json()))) == SETTINGS


def test_a_copied_folder_works_without_the_engines_package(tmp_path: Path) -> None:
    folder = Path(hostloop.__file__).parent
    shutil.copytree(folder, tmp_path / "hostloop", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys, hostloop; hostloop.make('ddim', {}, 4); print('engines' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_it_imports_numpy_tokenizers_and_pillow_only() -> None:
    # Pillow reads the pictures that some models start from; every package brings it for writing.
    allowed = {"numpy", "tokenizers", "PIL", "__future__", *sys.stdlib_module_names}
    for file in Path(hostloop.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] in allowed
