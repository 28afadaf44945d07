"""What every technique keeps, whatever it does.  A technique's own tests inherit `TechniqueContract`."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import engines.techniques
from engines.backends.serves import SERVES
from engines.errors import EngineError, TechniqueError
from engines.hostloop import LoopSettings, make
from engines.models.card import Card, Component
from engines.models.kinds import DENOISERS
from engines.plan import Plan
from engines.techniques import (
    AdaptiveGuidance,
    AttentionBackend,
    AttentionGate,
    BFloat16,
    ChannelsLast,
    ComputeUnits,
    CudaGraphs,
    DBCache,
    Engine,
    FeatureCache,
    FeatureForecast,
    FewerSteps,
    Float8,
    Float32,
    FusedNorm,
    FusedQKV,
    GuidanceCutoff,
    GuidanceInterval,
    Int8,
    LayerwiseCasting,
    MagCache,
    Offloading,
    ProgressiveResolution,
    PromptCache,
    Pruning,
    SageAttention,
    Scheduler,
    SequentialGuidance,
    SkipSoftmax,
    Sparse24,
    Student,
    SVDQuant,
    TeaCache,
    Technique,
    TensorFloat32,
    ThresholdCache,
    TinyDecoder,
    TokenMerging,
    VaeSlicing,
    VaeTiling,
    WeightBits,
    all_techniques,
    from_step,
    register,
    technique,
    to_step,
)
from engines.techniques.base import EXPORTS, Parameter, Step, Value
from engines.techniques.compatibility import canonical, check, check_plan, search_space
from engines.techniques.facts import knowledge, knowledge_file, parse

TORCHAO = find_spec("torchao") is not None
LOOP = LoopSettings("ddim", {"prediction_type": "v_prediction"}, 30, 4.0, (8, 8, 8), 32, 0, 1, 1)
FLUX = {"transformer": "FluxTransformer2DModel"}
PLAN = Plan(model="tiny-scenes", device="cpu", loop=LOOP)


def card(**changes: Any) -> Card:
    parts = {
        "text_encoder": "CLIPTextModel",
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "tiny_vae": "AutoencoderTiny",
        "scheduler": "DDIMScheduler",
        "student_lora": "LoRA",
    }
    for name in changes.pop("without", ()):
        del parts[name]
    parts |= changes.pop("parts", {})
    fusible = changes.pop("fusible", True)
    made = Card(
        name="Tiny Scenes",
        source="tiny-scenes",
        family="stable-diffusion",
        task="text-to-image",
        size=64,
        steps=30,
        guidance=4.0,
        licence="Apache-2.0",
        components=tuple(
            Component(name, kind, 1, "fp16", 2, fusible=fusible) for name, kind in parts.items()
        ),
        hash="0",
        memory=4,
    )
    return dataclasses.replace(made, **changes)


def samples(parameter: Parameter) -> list[Value]:
    """Every choice, or both ends and the default."""
    if parameter.kind == "choice":
        return list(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    kind = int if parameter.kind == "int" else float
    return [kind(parameter.low), kind(parameter.high), parameter.default]


class TechniqueContract:
    """Inherit it, name the technique and what it changes in a plan."""

    kind: ClassVar[type[Technique]]
    device: ClassVar[str] = "cpu"
    parts: ClassVar[dict[str, str]] = {}
    """Beside the bundled model's, what a model has that it applies to."""
    plan: ClassVar[Plan] = PLAN
    changed: ClassVar[frozenset[str]]
    """Fields of the plan (and, dotted, of its parts) that differ after `apply` with default parameters."""

    def values(self) -> list[Technique]:
        names = [one.name for one in self.kind.parameters]
        rows = itertools.product(*(samples(one) for one in self.kind.parameters))
        return [self.kind(**dict(zip(names, row, strict=True))) for row in rows]

    def test_it_is_registered_under_its_name(self) -> None:
        assert technique(self.kind.name) is self.kind
        assert getattr(engines.techniques, self.kind.__name__) is self.kind
        assert self.kind.export in EXPORTS

    def test_it_is_a_frozen_value(self) -> None:
        value = self.kind()
        assert value == self.kind()
        assert hash(value) == hash(self.kind())
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.order = 3  # type: ignore[misc]

    def test_the_parameter_table_describes_the_constructor(self) -> None:
        signature = inspect.signature(self.kind)
        assert list(signature.parameters) == [one.name for one in self.kind.parameters]
        for one in self.kind.parameters:
            assert signature.parameters[one.name].default == one.default
            assert one.objection(one.default) is None
            assert one.summary.endswith(".")

    def test_values_outside_the_table_are_refused_in_one_sentence(self) -> None:
        for one in self.kind.parameters:
            bad: list[Any] = ["nonsense", True, None]
            if one.kind != "choice":
                assert one.low is not None
                assert one.high is not None
                bad += [one.low - 1, one.high + 1]
            for value in bad:
                with pytest.raises(TechniqueError, match=rf"^{self.kind.name} .*{one.name}.*\.$"):
                    self.kind(**{one.name: value})

    def test_it_survives_json(self) -> None:
        for value in self.values():
            step = to_step(value)
            again = json.loads(json.dumps(dataclasses.asdict(step)))
            assert from_step(Step(**again)) == value
        assert from_step(Step(self.kind.name)) == self.kind()

    def test_an_unknown_parameter_is_refused(self) -> None:
        with pytest.raises(TechniqueError, match="has no parameter 'colour'"):
            from_step(Step(self.kind.name, {"colour": 1}))

    def test_it_explains_itself(self) -> None:
        for value in self.values():
            assert value.explain().endswith(".")
            assert 0 < len(value.label()) <= 20
        assert self.kind.summary.endswith(".")
        labels = [value.label() for value in dict.fromkeys(self.values())]
        assert len(set(labels)) == len(labels)

    def test_applying_changes_what_it_says_and_leaves_the_given_plan(self) -> None:
        before = dataclasses.replace(self.plan)
        after = self.kind().apply(self.plan)
        assert before == self.plan
        changed = set()
        for field in dataclasses.fields(Plan):
            old, new = getattr(self.plan, field.name), getattr(after, field.name)
            if dataclasses.is_dataclass(old) and not isinstance(old, type):
                names = [part.name for part in dataclasses.fields(old)]
                changed |= {
                    f"{field.name}.{name}" for name in names if getattr(old, name) != getattr(new, name)
                }
            elif old != new:
                changed.add(field.name)
        assert changed == self.changed

    def test_applying_twice_is_applying_once(self) -> None:
        for value in self.values():
            assert value.apply(value.apply(self.plan)) == value.apply(self.plan)

    def test_its_exclusions_are_mutual_and_have_reasons(self) -> None:
        for other, reason in self.kind.excludes.items():
            assert technique(other).excludes[self.kind.name] == reason
            assert reason.endswith(".")

    def test_each_exclusion_is_found_by_the_check(self) -> None:
        for other, reason in self.kind.excludes.items():
            assert any(reason in found for found in check([self.kind(), technique(other)()], card()))

    def test_it_applies_to_the_bundled_model_or_the_one_it_is_for(self) -> None:
        assert self.kind().applies(card(parts=self.parts), self.device) is None
        assert not self.parts or self.kind().applies(card(), self.device)

    def test_each_unmet_need_is_named(self) -> None:
        for need in self.kind.needs:
            kind, _, value = need.partition(":")
            reason = knowledge().techniques[self.kind.name].needs[need]
            match kind:
                case "guidance":
                    found: list[str | None] = [self.kind().applies(card(guidance=1.0), self.device)]
                case "part":
                    found = [self.kind().applies(card(without=[value]), self.device)]
                case "kind":
                    known = value.split("|")
                    others = ("UNet3DConditionModel", "WanTransformer3DModel", "SanaTransformer2DModel")
                    parts = [
                        {"unet" if "UNet" in one else "transformer": one}
                        for one in others
                        if one not in known
                    ]
                    found = [self.kind().applies(card(parts=one), self.device) for one in parts]
                case "splits":
                    parts = [
                        {"unet" if "UNet" in one else "transformer": one}
                        for adapter in DENOISERS
                        for one in adapter.classes
                        if value not in adapter.splits
                    ]
                    parts.append({"transformer": "AnotherTransformer"})
                    found = [self.kind().applies(card(parts=one), self.device) for one in parts]
                case "fusible":
                    found = [self.kind().applies(card(fusible=False), self.device)]
                case "denoises":
                    found = [self.kind().applies(card(parts={"upscaler": "ESRGAN"}), self.device)]
                case "prompts":
                    found = [self.kind().applies(card(without=["text_encoder"]), self.device)]
                case "device":
                    other = "directml" if "cpu" in value.split("|") else "cpu"
                    found = [self.kind().applies(card(), other)]
                case "backend":
                    wrong = set(SERVES[self.device]) - set(value.split("|"))
                    engines = [Step("engine", {"backend": name}) for name in wrong]
                    found = [
                        reason
                        for engine in engines
                        for reason in check([self.kind(), engine], card(), self.device)
                    ]
                    assert len(found) == len(wrong)
            assert set(found) == {reason}

    def test_the_facts_are_whole(self) -> None:
        facts = knowledge().techniques[self.kind.name]
        low, high = facts.factor
        assert 0 < low <= high
        assert facts.speed
        assert facts.quality
        assert facts.sources


class TestFewerSteps(TechniqueContract):
    kind, changed = FewerSteps, frozenset({"loop.steps"})

    def test_more_steps_than_the_model_takes_are_refused(self) -> None:
        assert check([FewerSteps(steps=30)], card()) == [
            "30 steps are not fewer than the model's own 30; choose fewer."
        ]
        assert check([FewerSteps(steps=30)], card(steps=50)) == []


class TestScheduler(TechniqueContract):
    kind, changed = Scheduler, frozenset({"loop.scheduler"})

    def test_the_models_own_scheduler_is_no_exchange(self) -> None:
        assert check([Scheduler("ddim")], card()) == [
            "The model uses DDIM already; choose another scheduler."
        ]
        assert check([Scheduler("ddim")], card(parts={"scheduler": "EulerDiscreteScheduler"})) == []

    @pytest.mark.parametrize(
        ("saved", "said", "clips"),
        [
            ("PNDMScheduler", {}, False),
            ("EulerDiscreteScheduler", {}, False),
            ("DDPMScheduler", {}, True),
            ("PNDMScheduler", {"clip_sample": True}, True),
        ],
    )
    def test_ddim_clips_where_the_saved_solver_would_have(
        self, saved: str, said: dict[str, Any], clips: bool
    ) -> None:
        loop = dataclasses.replace(LOOP, scheduler_config={"_class_name": saved, **said})
        plan = Scheduler("ddim").apply(dataclasses.replace(PLAN, loop=loop))
        assert plan.loop.scheduler_config["clip_sample"] is clips
        wide = np.full((1, 8, 8, 8), 3.0, np.float32)
        found = make("ddim", plan.loop.scheduler_config, 1).advance(0 * wide, 0, wide)
        assert (float(found.max()) <= 1.0) == clips

    def test_its_parameter_does_not_hide_its_name(self) -> None:
        assert Scheduler(name="unipc").name == "scheduler"
        assert Scheduler(name="unipc").solver == "unipc"

    def test_the_host_loop_knows_every_choice(self) -> None:
        from engines.hostloop import SCHEDULERS

        assert set(Scheduler.parameters[0].choices) <= set(SCHEDULERS)


class TestStudent(TechniqueContract):
    kind = Student
    changed = frozenset({"denoiser.student", "loop.steps", "loop.guidance", "loop.scheduler_config"})


class TestGuidanceCutoff(TechniqueContract):
    kind, changed = GuidanceCutoff, frozenset({"loop.guidance_until"})


class TestGuidanceInterval(TechniqueContract):
    kind, changed = GuidanceInterval, frozenset({"loop.guidance_from", "loop.guidance_until"})

    def test_it_must_begin_before_a_gate_ends_it(self) -> None:
        assert check([GuidanceInterval(start=0.2), AttentionGate(after=0.4)], card()) == []
        (reason,) = check([GuidanceInterval(start=0.4), AttentionGate(after=0.3)], card())
        assert "begin after 40% of the steps and another technique ends it after 30%" in reason


class TestAdaptiveGuidance(TechniqueContract):
    kind, changed = AdaptiveGuidance, frozenset({"loop.guidance_agreement"})


class TestFeatureCache(TechniqueContract):
    kind, changed = FeatureCache, frozenset({"denoiser.cached", "loop.cache_interval"})

    def test_it_needs_twice_its_interval_in_steps(self) -> None:
        assert check([FewerSteps(steps=6), FeatureCache(interval=3)], card()) == []
        (reason,) = check([FeatureCache(interval=4), FewerSteps(steps=6)], card())
        assert "pays from 8 steps on and this recipe takes 6" in reason


class TestFeatureForecast(TechniqueContract):
    kind = FeatureForecast
    changed = frozenset({"denoiser.staged", "loop.cache_interval", "loop.forecast_order"})

    def test_it_needs_a_step_after_the_passes_that_it_rests_on(self) -> None:
        assert check([FewerSteps(steps=7), FeatureForecast(2, degree=2)], card()) == []
        (reason,) = check([FewerSteps(steps=6), FeatureForecast(2, degree=2)], card())
        assert "pays from 7 steps on and this recipe takes 6" in reason


class TestThresholdCache(TechniqueContract):
    kind, changed = ThresholdCache, frozenset({"denoiser.staged", "loop.cache_threshold"})


class TestTeaCache(TechniqueContract):
    kind = TeaCache
    changed = frozenset({"denoiser.staged", "denoiser.modulated", "loop.reuse"})
    parts: ClassVar = FLUX


class TestMagCache(TechniqueContract):
    kind = MagCache
    changed = frozenset({"denoiser.staged", "denoiser.modulated", "loop.reuse"})
    parts: ClassVar = FLUX


class TestDBCache(TechniqueContract):
    kind = DBCache
    changed = frozenset({"denoiser.staged", "denoiser.front", "loop.reuse"})
    parts: ClassVar = FLUX


class TestAttentionGate(TechniqueContract):
    kind = AttentionGate
    changed = frozenset({"denoiser.gated", "loop.gate_after", "loop.guidance_until"})

    def test_an_earlier_end_of_guidance_stays(self) -> None:
        plan = AttentionGate(0.5).apply(GuidanceCutoff(0.3).apply(PLAN))
        assert (plan.loop.guidance_until, plan.loop.gate_after) == (0.3, 0.5)


class TestProgressiveResolution(TechniqueContract):
    kind, changed = ProgressiveResolution, frozenset({"loop.small_until"})

    def test_a_latent_without_a_half_is_refused(self) -> None:
        plan = dataclasses.replace(PLAN, loop=dataclasses.replace(LOOP, latent_shape=(8, 9, 9)))
        (reason,) = check_plan([ProgressiveResolution()], plan, card())
        assert reason == "A latent of 9 x 9 has no half; choose a size that has."


class TestPruning(TechniqueContract):
    kind, changed = Pruning, frozenset({"denoiser.pruned"})


class TestSparse24(TechniqueContract):
    kind, changed = Sparse24, frozenset({"denoiser.sparse"})
    device = "cuda"


class TestFusedNorm(TechniqueContract):
    kind, changed = FusedNorm, frozenset({"denoiser.fused_norm"})
    device = "cuda"


class TestTokenMerging(TechniqueContract):
    kind, changed = TokenMerging, frozenset({"denoiser.merge_ratio"})


class TestEngine(TechniqueContract):
    kind, changed = Engine, frozenset({"backend"})

    def test_an_engine_for_another_device_is_refused(self) -> None:
        (reason,) = check([Engine("openvino")], card(), "cuda")
        assert reason.startswith("OpenVINO does not serve cuda in this version; use torch or compile")
        assert check([Engine("compile")], card(), "cuda") == []

    @pytest.mark.parametrize("device", sorted(SERVES))
    def test_a_device_offers_the_engines_that_serve_it(self, device: str) -> None:
        (backends,) = (one.parameters for one in search_space(card(), device) if one.name == "engine")
        assert set(backends[0].choices) == set(SERVES[device])
        assert backends[0].default in SERVES[device]

    def test_precision_is_what_the_engine_has_on_that_device(self) -> None:
        assert check([Engine("tensorrt"), BFloat16()], card(), "cuda") == []
        assert check([Engine("compile"), BFloat16()], card(), "cuda") == []
        (reason,) = check([Engine("coreml"), BFloat16()], card(), "coreml")
        assert reason == "bf16 is not to be had on coreml: Apple's units compute in fp16; use fp16."
        (reason,) = check([Engine("onnxruntime"), Int8()], card(), "directml")
        assert "DirectML leaves quantised operators to the CPU" in reason


class TestBFloat16(TechniqueContract):
    kind, changed = BFloat16, frozenset({"precision"})


class TestFloat32(TechniqueContract):
    kind, changed = Float32, frozenset({"precision"})
    device, plan = "directml", dataclasses.replace(PLAN, device="directml", precision="fp16")

    def test_it_is_for_devices_whose_plain_precision_is_a_half(self) -> None:
        assert check([Float32()], card(), "cuda") == []
        (reason,) = check([Float32()], card(), "cpu")
        assert reason.endswith("leave fp32 out.")
        assert any(
            "an NPU computes in fp16 and int8" in one for one in check([Float32()], card(), "intel-npu")
        )


class TestInt8(TechniqueContract):
    kind, changed = Int8, frozenset({"precision"})

    def test_it_needs_an_engine(self) -> None:
        assert len(check([Int8()], card())) == 1
        assert check([Int8(), Engine("openvino")], card()) == []


class TestPromptCache(TechniqueContract):
    kind, changed = PromptCache, frozenset({"loop.prompt_cache"})


class TestTinyDecoder(TechniqueContract):
    kind, changed = TinyDecoder, frozenset({"decoder"})


class TestVaeTiling(TechniqueContract):
    kind, changed = VaeTiling, frozenset({"loop.decode_tiles"})

    def test_tiles_that_are_too_small_are_refused(self) -> None:
        (reason,) = check([VaeTiling(4)], card())
        assert "A latent of 8 x 8 has no 4 x 4 tiles of at least 4 x 4" in reason
        assert check([VaeTiling(4)], card(size=512)) == []

    def test_a_video_decoder_is_not_tiled(self) -> None:
        plan = dataclasses.replace(PLAN, loop=dataclasses.replace(LOOP, latent_shape=(8, 4, 8, 8)))
        (reason,) = check_plan([VaeTiling()], plan, card())
        assert reason.startswith("A video decoder mixes frames")


class TestVaeSlicing(TechniqueContract):
    kind, changed = VaeSlicing, frozenset({"loop.decode_singly"})


class TestFusedQKV(TechniqueContract):
    kind, changed = FusedQKV, frozenset({"denoiser.fused_qkv"})


class TestChannelsLast(TechniqueContract):
    kind, changed = ChannelsLast, frozenset({"channels_last"})


class TestSequentialGuidance(TechniqueContract):
    kind, changed = SequentialGuidance, frozenset({"loop.batched_guidance"})


class TestWeightBits(TechniqueContract):
    kind, changed = WeightBits, frozenset({"precision"})
    device = "coreml"

    def test_a_device_offers_the_widths_that_one_of_its_engines_has(self) -> None:
        def offered(device: str) -> tuple[Value, ...]:
            axes = {axis.name: axis for axis in search_space(card(), device)}
            return axes["weight-bits"].parameters[0].choices if "weight-bits" in axes else ()

        assert offered("mlx") == (8, 4)
        assert offered("coreml") == (8, 6, 4)
        assert offered("directml") == offered("cpu") == offered("cuda") == offered("intel-npu") == (8, 4)
        assert offered("mps") == ((8,) if TORCHAO else ())

    def test_an_engine_without_these_bits_says_so_in_the_finished_plan(self) -> None:
        four = [WeightBits(4)]
        assert check([*four, Engine("onnxruntime")], card(), "cpu") == []
        assert check([*four, Engine("openvino")], card(), "cpu") == []
        (said,) = check([*four, Engine("compile")], card(), "cpu")
        assert "w4 is not to be had on cpu: torch.compile keeps no weights in few bits" in said
        said = " ".join(check([WeightBits(6)], card(), "cpu"))
        assert "not to be had on cpu" in said
        assert "OpenVINO keeps weights in 8 or 4 bits" in said


class TestSVDQuant(TechniqueContract):
    kind, changed = SVDQuant, frozenset({"precision", "denoiser.low_rank"})

    def test_an_engine_that_cannot_leave_a_branch_as_it_is_is_refused(self) -> None:
        assert check([SVDQuant(), Engine("openvino")], card(), "cpu") == []
        assert check([SVDQuant(), Engine("onnxruntime")], card(), "directml") == []
        said = " ".join(check([SVDQuant()], card(), "coreml"))
        assert "not to be had on coreml: its engine cannot be told which weights" in said
        said = " ".join(check([SVDQuant(), Engine("compile")], card(), "cpu"))
        assert "Only ONNX Runtime, OpenVINO, MLX and torch are told" in said
        said = " ".join(check([SVDQuant(), Engine("torch")], card(), "cpu"))
        assert "torch eager keeps weights in 8 bits" in said


class TestCudaGraphs(TechniqueContract):
    kind, changed = CudaGraphs, frozenset({"graphs"})
    device = "cuda"

    def test_torch_compile_has_them_already(self) -> None:
        (reason,) = check([CudaGraphs(), Engine("compile")], card(), "cuda")
        assert "torch.compile replays graphs by itself here" in reason


class TestAttentionBackend(TechniqueContract):
    kind, changed = AttentionBackend, frozenset({"ways.attention"})

    def test_a_device_offers_the_kernels_that_torch_has_there(self) -> None:
        def offered(device: str) -> tuple[Value, ...]:
            axes = {axis.name: axis for axis in search_space(card(), device)}
            return axes["attention-backend"].parameters[0].choices if "attention-backend" in axes else ()

        assert offered("cpu") == ("flash", "math")
        assert offered("cuda") == ("flash", "efficient", "cudnn", "math")
        assert offered("directml") == ()
        (reason,) = check([AttentionBackend("cudnn")], card())
        assert reason == "torch has no cuDNN's attention on cpu; choose one of flash, math."


class TestSageAttention(TechniqueContract):
    kind, changed, device = SageAttention, frozenset({"ways.attention"}), "cuda"


class TestSkipSoftmax(TechniqueContract):
    kind, changed, device = SkipSoftmax, frozenset({"ways.attention", "ways.skip"}), "cuda"


class TestTensorFloat32(TechniqueContract):
    kind, changed, device = TensorFloat32, frozenset({"precision", "ways.tf32"}), "cuda"
    plan = dataclasses.replace(PLAN, device="cuda", precision="fp16")


class TestOffloading(TechniqueContract):
    kind, changed, device = Offloading, frozenset({"ways.offload"}), "cuda"


class TestLayerwiseCasting(TechniqueContract):
    kind, changed = LayerwiseCasting, frozenset({"ways.cast"})


class TestFloat8(TechniqueContract):
    kind, changed = Float8, frozenset({"precision"})
    device = "cuda"

    def test_it_goes_with_the_compiler_alone(self) -> None:
        (reason,) = check([Float8()], card(), "cuda")
        assert "Without torch.compile the rounding costs more" in reason


class TestComputeUnits(TechniqueContract):
    kind, changed = ComputeUnits, frozenset({"units"})
    device = "coreml"


# -- all of them -----------------------------------------------------------------------------------


def test_every_registered_technique_is_held_to_the_contract() -> None:
    assert {one.kind for one in TechniqueContract.__subclasses__()} == set(all_techniques())


def test_the_names_are_those_of_the_architecture() -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    for kind in all_techniques():
        parameters = ", ".join(one.name for one in kind.parameters)
        assert f"`{kind.name}" in text
        assert not parameters or f"`{kind.name}({parameters}" in text


def test_every_technique_has_facts_and_every_fact_a_technique() -> None:
    assert set(knowledge().techniques) == {kind.name for kind in all_techniques()}


def test_no_two_techniques_share_a_place_in_the_order() -> None:
    orders = [kind.order for kind in all_techniques()]
    assert orders == sorted(set(orders))


def test_a_recipe_is_written_in_one_way() -> None:
    recipe = canonical([Engine("openvino"), Step("scheduler", {"name": "unipc"}), FewerSteps(steps=12)])
    assert recipe == (FewerSteps(12), Scheduler("unipc"), Engine("openvino"))
    assert canonical(recipe) == recipe


def test_a_technique_twice_is_refused() -> None:
    with pytest.raises(TechniqueError, match="fewer-steps stands twice"):
        canonical([FewerSteps(12), FewerSteps(13)])
    assert check([FewerSteps(12), FewerSteps(13)], card()) == [
        "fewer-steps stands twice in one recipe; keep one."
    ]


def test_an_unknown_technique_is_refused() -> None:
    (reason,) = check([Step("warp-drive")], card())
    assert reason.startswith("There is no technique 'warp-drive'; choose from student, pruning, ")


def test_every_reason_is_given_at_once() -> None:
    recipe = [Student(), GuidanceCutoff(), Int8(), BFloat16()]
    reasons = check(recipe, card(guidance=1.0, without=["student_lora"]))
    assert len(reasons) == 5
    assert len(set(reasons)) == 5


def test_the_empty_recipe_fits_everything() -> None:
    assert check([], card(without=["unet"], guidance=1.0), "mlx") == []


def test_the_check_uses_the_steps_of_the_plan_it_is_given() -> None:
    plan = dataclasses.replace(PLAN, loop=dataclasses.replace(LOOP, steps=3))
    assert len(check_plan([FeatureCache(2)], plan, card())) == 1


def test_the_space_has_every_technique_that_applies() -> None:
    whole = search_space(card())
    transformers = (TeaCache, MagCache, DBCache)
    cards = (SageAttention, SkipSoftmax, TensorFloat32, Offloading)
    elsewhere = (
        *transformers,
        *cards,
        ComputeUnits,
        CudaGraphs,
        Float8,
        Float32,
        Sparse24,
        FusedNorm,
    )
    everywhere = [kind for kind in all_techniques() if kind not in elsewhere]
    assert [axis.name for axis in whole] == [kind.name for kind in everywhere]
    bare = search_space(card(without=["student_lora", "tiny_vae"], guidance=1.0), "cuda")
    gone = {axis.name for axis in whole} - {axis.name for axis in bare}
    assert gone == {
        "student", "tiny-decoder", "guidance-cutoff", "guidance-interval", "adaptive-guidance",
        "sequential-guidance",
    }  # fmt: skip


def test_the_space_is_narrowed_to_the_model_and_the_device() -> None:
    axes = {axis.name: axis for axis in search_space(card(steps=12), "cuda")}
    assert (axes["fewer-steps"].parameters[0].high, axes["fewer-steps"].parameters[0].default) == (11, 11)
    assert axes["scheduler"].parameters[0].choices == ("dpm++2m", "unipc", "euler")
    engine = axes["engine"].parameters[0]
    assert engine.choices == ("torch", "compile", "onnxruntime", "tensorrt")
    assert engine.default in engine.choices


def test_every_single_technique_of_the_space_fits() -> None:
    for axis in search_space(card()):
        for parameter in axis.parameters or (None,):
            for value in samples(parameter) if parameter else [None]:
                step = Step(axis.name, {parameter.name: value} if parameter and value is not None else {})
                backend = [Engine("openvino")] if axis.name in ("int8", "weight-bits", "svdquant") else []
                assert check([step, *backend], card()) == []


def test_what_the_data_decide_has_a_class_of_its_own() -> None:
    found = {kind.name for kind in all_techniques() if kind.export == "data-dependent"}
    assert found == {"threshold-cache", "teacache", "dbcache", "adaptive-guidance"}
    assert {kind.export for kind in all_techniques()} == set(EXPORTS)


def test_a_technique_without_facts_cannot_register() -> None:
    class Guess(PromptCache):
        name = "guess"

    with pytest.raises(TechniqueError, match="no facts about guess"):
        register(Guess)


def test_a_second_technique_of_the_same_name_cannot_register() -> None:
    class Again(PromptCache):
        pass

    with pytest.raises(TechniqueError, match="two techniques called prompt-cache"):
        register(Again)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "schema must be 1"),
        ("[technique.int8]", "[technique.int8", "line"),
        ('risk = "high"', 'risk = "huge"', "risk 'huge'"),
        ('risk = "high"', 'risk = "high"\ncolour = "red"', "colour"),
        ('between = ["int8", "bf16"]', 'between = ["int8", "fp4"]', "must name two techniques"),
        ("[[excludes]]", "[[exclude]]", "excludes"),
        ('quality = "None."', "", "quality"),
    ],
)
def test_a_damaged_knowledge_file_is_refused(old: str, new: str, words: str) -> None:
    text = knowledge_file().read_text()
    assert old in text
    with pytest.raises(EngineError, match=words):
        parse(text.replace(old, new))
