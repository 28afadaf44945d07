"""A LoRA that was distilled elsewhere and a tiny decoder serve a model that ships neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import EngineError, ModelError, TechniqueError
from engines.hostloop import make
from engines.layouts import LAYOUTS
from engines.models.card import describe
from engines.models.load import open_model
from engines.models.model import Model
from engines.package.runner import Package
from engines.package.verify import verify
from engines.package.write import write
from engines.pipeline import build, plan, prepare
from engines.students import KINDS, recognised, solved, understood
from engines.students import Student as Found
from engines.techniques import Engine, Student, TinyDecoder
from engines.techniques.compatibility import search_space
from engines.workload import Workload
from tests.engines.families.test_families_layouts import drawn
from tests.engines.families.test_families_walk import PROMPT, SEED, packed

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

Make = Callable[[str], Model]
FORMS = {
    "kohya": ("lora_unet_", "_", ".lora_down.weight", ".lora_up.weight", ".alpha"),
    "diffusers": ("unet.", ".", ".lora_A.weight", ".lora_B.weight", ".alpha"),
    "former": ("unet.", ".", ".lora.down.weight", ".lora.up.weight", ".alpha"),
    "peft": ("base_model.model.", ".", ".lora_A.weight", ".lora_B.weight", ".alpha"),
}


def lora(
    model: Model, path: Path, form: str = "kohya", said: dict[str, str] | None = None, strength: float = 0.1
) -> Path:
    """A LoRA over every attention and every convolution, as LCM-LoRA is published; alpha is half the rank."""
    from safetensors.torch import save_file

    before, dot, down, up, alpha = FORMS[form]
    before = before.replace("unet.", f"{model.layout.denoiser}.")
    torch.manual_seed(3)
    weights = {}
    for place, layer in model.part(model.layout.denoiser).named_modules():
        name = before + place.replace(".", dot)
        if isinstance(layer, torch.nn.Linear) and "attn" in place:
            weights[name + down] = torch.randn(4, layer.in_features) * strength
            weights[name + up] = torch.randn(layer.out_features, 4) * strength
        elif isinstance(layer, torch.nn.Conv2d):
            weights[name + down] = torch.randn(4, layer.in_channels, *layer.kernel_size) * strength
            weights[name + up] = torch.randn(layer.out_channels, 4, 1, 1) * strength
        else:
            continue
        weights[name + alpha] = torch.tensor(2.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(path), said)
    return path


def tiny(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(4)
    settings = {
        "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1), **changes,
    }  # fmt: skip
    diffusers.AutoencoderTiny(**settings).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_one_lora_is_the_same_student_whoever_named_its_layers(
    family: Make, tmp_path: Path, form: str
) -> None:
    from engines.capture.capture import Capture
    from engines.capture.components import Adapted
    from engines.capture.structure import Structure
    from engines.plan import DenoiserStructure

    model = family("sd15")
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    given = open_model(f"{model.path} + student={lora(model, tmp_path / f'{form}.safetensors', form)}:lcm")
    made = Capture(given, Structure("denoiser", (4, 8, 8), DenoiserStructure(student=True))).module
    assert isinstance(made, Adapted)
    torch.manual_seed(3)
    kept = load_pair(tmp_path / f"{form}.safetensors", FORMS[form], layer)
    wanted = model.part("unet").get_submodule(layer).weight + 0.5 * kept[1] @ kept[0]
    torch.testing.assert_close(made.network.get_submodule(layer).weight, wanted)


def load_pair(path: Path, form: tuple[str, ...], layer: str) -> tuple[Any, Any]:
    from safetensors.torch import load_file

    found, name = load_file(str(path)), form[0] + layer.replace(".", form[1])
    return found[name + form[2]], found[name + form[3]]


def test_an_lcm_lora_and_a_tiny_decoder_reach_pictures_and_a_package(family: Make, tmp_path: Path) -> None:
    own = family("sd15")
    file = lora(own, tmp_path / "lcm-lora-sdv1-5" / "pytorch_lora_weights.safetensors")
    source = f"{own.path} + student={file} + tiny-decoder={tiny(tmp_path / 'taesd')}"
    model, recipe = open_model(source), (Student(4), TinyDecoder(), Engine("openvino"))
    assert (model.name, model.steps, model.guidance) == (own.name, own.steps, own.guidance)
    assert open_model(model.place).hash == model.hash != own.hash, "a candidate's process opens the folder"
    card = describe(model)
    assert {"student", "tiny-decoder"} <= {axis.name for axis in search_space(card)}
    assert card.component("student_lora").kind == "LoRA (lcm)"  # type: ignore[union-attr]
    assert card.component("tiny_vae") is not None
    assert "latent consistency LoRA (its name says so), solved with lcm, unguided" in " ".join(card.notes)
    made = plan(source, "cpu", Workload(), recipe)
    assert (made.loop.scheduler, made.loop.guidance, made.loop.steps) == ("lcm", 1.0, 4)
    eager = build(plan(source, "cpu", Workload(), recipe[:2])).generate([PROMPT], [SEED])
    assert eager.calls["denoiser"] == 4
    artifacts = prepare(made)
    picture = build(made).generate([PROMPT], [SEED]).images[0]
    assert np.abs(picture.astype(int) - eager.images[0]).max() <= 3
    plain = build(plan(source, "cpu", Workload(steps=4, guidance=1.0))).generate([PROMPT], [SEED]).images[0]
    assert np.abs(picture.astype(int) - plain).mean() > 3
    write(packed(recipe, made, artifacts, picture), tmp_path / "package")
    verify(tmp_path / "package")
    found = Package(tmp_path / "package").self_test()
    assert found["passed"], found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_draws_the_same_from_an_exported_folder(family: Make, tmp_path: Path, kind: str) -> None:
    own, layout = family("sd15"), LAYOUTS["diffusers"]
    model = open_model(f"{own.path} + student={lora(own, tmp_path / 's.safetensors')}:{kind}")
    spoken = layout.spoken(plan(model, "cpu", Workload(), [Student(4)]), model)
    assert not spoken.refused
    assert drawn(layout, model, spoken, tmp_path / "out") >= 40


@pytest.mark.parametrize(
    ("name", "kind", "solver", "guidance"),
    [
        ("sd3", "turbo", "flow-euler", 1.0),
        pytest.param("flux-dev", "hyper", "flow-euler", 3.5, marks=pytest.mark.slow),
        pytest.param("pixart-sigma", "lcm", "lcm", 1.0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("form", ["diffusers", pytest.param("kohya", marks=pytest.mark.slow)])
def test_a_transformer_takes_a_student_as_a_u_net_does(
    family: Make, tmp_path: Path, name: str, kind: str, solver: str, guidance: float, form: str
) -> None:
    own, size = family(name), 64 if name == "pixart-sigma" else 16
    file = lora(own, tmp_path / "s.safetensors", form, strength=0.5)
    model = open_model(f"{own.path} + student={file}:{kind}")
    assert "student" in {axis.name for axis in search_space(describe(model))}
    assert f"solved with {solver}, unguided" in " ".join(describe(model).notes)
    workload = Workload(size=size)
    made = plan(model, "cpu", workload, [Student(2)])
    assert (made.loop.scheduler, made.loop.guidance, made.loop.steps) == (solver, guidance, 2)
    assert made.loop.scheduler_config.get("mu") == plan(own, "cpu", workload).loop.scheduler_config.get("mu")
    found = build(made).generate([PROMPT], [SEED])
    assert found.rows["denoiser"] == 2
    still = plan(own, "cpu", workload.model_copy(update={"steps": 2, "guidance": guidance}))
    plain = build(still).generate([PROMPT], [SEED]).images
    assert np.abs(found.images.astype(int) - plain).mean() > 3
    layout = LAYOUTS["diffusers"]
    spoken = layout.spoken(made, model)
    assert not spoken.refused
    assert drawn(layout, model, spoken, tmp_path / "out") >= 40


def test_a_flow_that_another_solver_was_saved_for_is_solved_along_its_path() -> None:
    saved = {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0}
    solver, config = solved("lcm", {**saved, "prediction_type": "flow_prediction"})
    assert solver == "flow-euler"
    wanted = make("flow-euler", {"shift": 3.0}, 4).timesteps
    np.testing.assert_array_equal(make(solver, config, 4).timesteps, wanted)


@pytest.mark.parametrize(
    ("file", "said", "kind", "steps"),
    [
        ("lcm-lora-sdxl/pytorch_lora_weights.safetensors", {}, "lcm", None),
        ("sdxl_lightning_4step_lora.safetensors", {}, "lightning", 4),
        ("Hyper-SD15-8steps-lora.safetensors", {}, "hyper", 8),
        ("dmd2_sdxl_4step_lora_fp16.safetensors", {}, "dmd2", 4),
        ("sd_xl_turbo_lora_v1.safetensors", {}, "turbo", None),
        ("a.safetensors", {"modelspec.title": "SDXL Lightning, 2-step"}, "lightning", 2),
        ("hyperrealism.safetensors", {}, "lcm", None),
    ],
)
def test_a_lora_says_what_it_is(file: str, said: dict[str, str], kind: str, steps: int | None) -> None:
    path = Path(file)
    found = recognised("", said, [path.stem, path.parent.name])
    assert (found.kind, found.steps) == (kind, steps)
    assert understood(found.words()) == Found(kind, steps)
    assert ("does not say" in found.told) == (file == "hyperrealism.safetensors")
    assert recognised("ddim", said, [path.stem]).kind == "ddim"


def test_a_fixed_students_steps_are_the_only_ones(family: Make, tmp_path: Path) -> None:
    own = family("sd15")
    model = open_model(f"{own.path} + student={lora(own, tmp_path / 'lightning_2step.safetensors')}")
    (axis,) = (one for one in search_space(describe(model)) if one.name == "student")
    assert (axis.parameters[0].low, axis.parameters[0].high, axis.parameters[0].default) == (2, 2, 2)
    made = plan(model, "cpu", Workload(), [Student(2)])
    assert (made.loop.scheduler, made.loop.scheduler_config["timestep_spacing"]) == ("euler", "trailing")
    with pytest.raises(TechniqueError, match="distilled for 2 steps, not 4"):
        plan(model, "cpu", Workload(), [Student(4)])


def test_what_does_not_fit_is_refused_with_its_first_layer(family: Make, tmp_path: Path) -> None:
    own, other = family("sd15"), family("sdxl")
    file = lora(other, tmp_path / "xl.safetensors")
    unknown = tmp_path / "none.json"
    unknown.write_text(json.dumps({}))
    from safetensors.torch import load_file, save_file

    wrong = load_file(str(lora(own, tmp_path / "wrong.safetensors", "diffusers")))
    name = next(iter(wrong)).removesuffix(".alpha")
    wrong[f"{name}.lora_A.weight"] = torch.zeros(4, 5, 3, 3)
    save_file(wrong, str(tmp_path / "wrong.safetensors"))
    layer = name.removeprefix("unet.")
    refused = {
        f"student={file}": "does not fit this model at down_blocks_",
        f"student={tmp_path / 'wrong.safetensors'}": f"does not fit this model at {layer};",
        f"student={tmp_path / 'absent.safetensors'}": "There is no LoRA",
        f"student={file}:quick": "no kind of student 'quick'; choose one of lcm",
        f"student={unknown}": "is no .safetensors file",
        f"tiny-decoder={tmp_path}": "holds no tiny decoder",
        f"tiny-decoder={tiny(tmp_path / 'sixteen', latent_channels=16)}": "takes 16 channels",
    }
    for added, words in refused.items():
        with pytest.raises(EngineError) as error:
            open_model(f"{own.path} + {added}")
        assert words in str(error.value)
    with pytest.raises(ModelError, match="does not fit this model at conv_in"):
        open_model(f"{family('pixart-sigma').path} + student={file}")
    with pytest.raises(ModelError, match="no U-Net and no transformer that a student's LoRA fits"):
        open_model(f"{family('stable-cascade').path} + student={file}")


def test_a_tiny_decoder_with_a_wrong_layer_is_refused_by_its_name(family: Make, tmp_path: Path) -> None:
    place = tiny(tmp_path / "taesd")
    settings = json.loads((place / "config.json").read_text()) | {"decoder_block_out_channels": [4, 4]}
    (place / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"do not fit AutoencoderTiny at decoder\.layers\."):
        open_model(f"{family('sd15').path} + tiny-decoder={place}")
