"""A candidate becomes a folder that another runtime loads and draws the same picture with, or a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.candidate import Step
from engines.errors import PackageError
from engines.hostloop.noise import latent_noise
from engines.layouts import LAYOUTS
from engines.layouts.triton import component_config, pipeline_config
from engines.layouts.triton_server import installed
from engines.package.runner import read_picture
from engines.package.seal import check_folder
from studio import layouts
from studio.cli import parser
from studio.errors import ExportError
from studio.work.export_as import export_as, export_candidate_as
from studio.work.exportable import exportable
from studio.work.job import Job
from tests.engines.triton_parts import Schema, server
from tests.studio.recorded_run import add, begin

OPENVINO = Step("engine", {"backend": "openvino"})
ONNX = Step("engine", {"backend": "onnxruntime"})
STUDENT = Step("student", {"steps": 2})
TEN = Step("fewer-steps", {"steps": 10})
RECIPES = {
    "c001": (Step("fewer-steps", {"steps": 4}), Step("prompt-cache"), OPENVINO),
    "c002": (TEN, Step("feature-cache", {"interval": 2}), OPENVINO),
    "c003": (TEN, Step("guidance-cutoff", {"until": 0.5}), ONNX),
    "c004": (TEN, Step("scheduler", {"name": "dpm++2m"}), OPENVINO),
    "c005": (Step("fewer-steps", {"steps": 9}), OPENVINO),
    "c006": (STUDENT,),
    "c007": (TEN, Step("token-merging", {"ratio": 0.5}), Step("int8"), OPENVINO),
    "c008": (STUDENT, Step("bf16"), OPENVINO),
    "c009": (STUDENT, Step("tiny-decoder"), OPENVINO),
    "c010": (TEN, Step("threshold-cache"), Step("vae-tiling"), OPENVINO),
    "c011": (TEN, Step("guidance-interval", {"start": 0.2, "until": 1.0}), OPENVINO),
    "c013": (TEN, Step("adaptive-guidance"), OPENVINO),
    "c012": (TEN, Step("feature-forecast"), OPENVINO),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "runs" / "r"
    with begin(folder) as journal:
        for name, recipe in RECIPES.items():
            add(journal, folder, name, recipe)
    return folder


def refusal(run: Path, name: str, layout: str) -> str:
    """The failed checks of a layout, as the page shows them."""
    found = exportable(Job(home=run.parents[1]), "r", name, layout)
    assert found["ok"] == all(check["state"] != "failed" for check in found["checks"])
    return " ".join(check["text"] for check in found["checks"] if check["state"] == "failed")


def left_out(run: Path, name: str, layout: str) -> str:
    found = exportable(Job(home=run.parents[1]), "r", name, layout)
    return " ".join(check["text"] for check in found["checks"] if check["name"] == "left out")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return Schema(tmp_path_factory.mktemp("triton"))


# -- what can be said --------------------------------------------------------------------------------


def test_front_ends_name_the_layouts_that_there_are() -> None:
    assert {name: (one.title, one.summary) for name, one in LAYOUTS.items()} == layouts.LAYOUTS
    given = parser().parse_args(["export", "last", "winner", "--as", "triton", "--out", "d"])
    assert given.layout == "triton"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("c002", "A feature cache cannot be said in OpenVINO GenAI"),
        ("c003", "A guidance cut-off cannot be said in OpenVINO GenAI"),
        ("c004", "OpenVINO GenAI has no scheduler dpm++2m"),
        ("c005", "would visit other timesteps"),
        ("c010", "A denoiser in parts cannot be said"),
        ("c010", "VAE tiling cannot be said"),
        ("c011", "A later begin of guidance cannot be said"),
        ("c013", "Adaptive guidance cannot be said"),
        ("c012", "A feature forecast cannot be said"),
    ],
)
def test_what_genai_cannot_say_is_refused_by_name_with_a_way_on(run: Path, name: str, reason: str) -> None:
    said = refusal(run, name, "openvino-genai")
    assert reason in said
    assert "choose a candidate" in said
    with pytest.raises(ExportError, match="choose a candidate"):
        export_candidate_as(run, name, "openvino-genai")
    assert not (run / "package").exists()


def test_what_changes_only_the_speed_is_left_out_and_listed(run: Path) -> None:
    assert refusal(run, "c001", "openvino-genai") == ""
    assert left_out(run, "c001", "openvino-genai") == (
        "The prompt cache is left out: OpenVINO GenAI encodes every prompt anew."
    )
    said = left_out(run, "c007", "diffusers")
    assert "The precision int8 is left out" in said
    assert "Token merging is left out" in said
    assert "feature cache is left out" in left_out(run, "c002", "diffusers")
    said = left_out(run, "c010", "diffusers")
    assert "every step runs the whole denoiser at full size" in said
    assert "pipe.vae.enable_tiling()" in said
    assert "later begin of guidance" in left_out(run, "c011", "diffusers")
    assert "Adaptive guidance is left out" in left_out(run, "c013", "diffusers")
    assert "feature forecast is left out" in left_out(run, "c012", "diffusers")
    assert "dtype=torch.bfloat16" in left_out(run, "c008", "diffusers")
    assert "bf16 became fp32" in left_out(run, "c008", "triton")
    assert left_out(run, "c002", "triton") == ""


def test_a_candidate_on_eager_torch_has_a_layout_but_no_package(run: Path) -> None:
    assert refusal(run, "c006", "diffusers") == ""
    assert refusal(run, "c006", "triton") == ""
    assert "for exploring only" in refusal(run, "c006", "hub")
    assert "for exploring only" in refusal(run, "c006", "container")


def test_a_layout_that_there_is_not_and_a_place_that_is_taken_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"no layout 'zip'; choose one of .*triton"):
        export_candidate_as(run, "c001", "zip")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years")
    (tmp_path / "taken" / "tiny-scenes-c001-diffusers").mkdir()
    (tmp_path / "taken" / "tiny-scenes-c001-diffusers" / "thesis.txt").write_text("years")
    with pytest.raises(PackageError, match="exists and is no package"):
        export_candidate_as(run, "c001", "diffusers", tmp_path / "taken")


# -- Triton's schema ---------------------------------------------------------------------------------


def test_every_configuration_is_one_of_tritons_own_schema(triton: Schema) -> None:
    from engines.capture.structure import TensorSpec

    inputs = [TensorSpec("sample", (8, 8, 8)), TensorSpec("timestep", ()), TensorSpec("ids", (32,), "int64")]
    found = triton.parse(
        component_config("m-denoiser", inputs, [TensorSpec("prediction", (8, 8, 8))], 8, "KIND_GPU")
    )
    sample, timestep, ids = found.input
    assert (sample.data_type, list(sample.dims)) == (11, [8, 8, 8])  # TYPE_FP32
    assert list(timestep.dims) == [1]
    assert timestep.HasField("reshape")
    assert list(timestep.reshape.shape) == []
    assert ids.data_type == 9  # TYPE_INT64
    assert found.max_batch_size == 8
    assert found.HasField("dynamic_batching")
    assert found.instance_group[0].kind == 1  # KIND_GPU
    loop = triton.parse(pipeline_config("m", (64, 64, 3), 4))
    assert [one.name for one in loop.input] == ["prompt", "seed"]
    assert list(loop.output[0].dims) == [64, 64, 3]
    with pytest.raises(Exception, match="no field named"):
        triton.parse('nonsense: "a"')


# -- real exports ------------------------------------------------------------------------------------


def exported(run: Path, name: str, layout: str, out: Path) -> tuple[dict[str, Any], Path]:
    result = export_as(Job(home=run.parents[1]), "r", layout, name, str(out))
    folder = Path(result["package"])
    assert check_folder(folder) == result["id"]
    record = json.loads((folder / "pareto-studio.json").read_text())
    assert record["left_out"] == result["left_out"]
    text = (folder / "README.md").read_text()
    assert all(sentence in text for sentence in result["left_out"]) or layout == "hub"
    everything = "".join(
        path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.suffix in (".json", ".md", ".py")
    )
    assert str(run) not in everything
    assert str(Path.home()) not in everything
    return result, folder


@pytest.mark.slow
def test_the_diffusers_folder_loads_by_itself_and_draws_the_candidates_picture(
    run: Path, tmp_path: Path
) -> None:
    result, folder = exported(run, "c001", "diffusers", tmp_path / "d")
    assert result["proof"]["psnr"] >= 40
    pipe, drawn = by_hand(folder, result["proof"], steps=4, guidance=4.0)
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"
    assert np.abs(drawn - read_picture(run / result["proof"]["package"])).max() <= 1


@pytest.mark.slow
def test_a_student_and_a_tiny_decoder_are_in_the_diffusers_folders_weights(run: Path, tmp_path: Path) -> None:
    result, folder = exported(run, "c009", "diffusers", tmp_path / "d")
    assert result["proof"]["psnr"] >= 40
    pipe, drawn = by_hand(folder, result["proof"], steps=2, guidance=1.0)
    assert type(pipe.vae).__name__ == "AutoencoderTiny"
    assert np.abs(drawn - read_picture(run / result["proof"]["package"])).max() <= 1


def by_hand(folder: Path, proof: dict[str, Any], steps: int, guidance: float) -> tuple[Any, Any]:
    """What a stranger does with a diffusers folder, but for the noise."""
    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    latents = torch.from_numpy(latent_noise(proof["seed"], (8, 8, 8))[None])
    drawn = pipe(proof["prompt"], num_inference_steps=steps, guidance_scale=guidance, latents=latents).images
    return pipe, np.asarray(drawn[0]).astype(int)


def test_openvino_genai_loads_its_folder_and_draws_the_candidates_picture(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    result, folder = exported(run, "c001", "openvino-genai", tmp_path / "g")
    assert result["proof"]["runtime"].startswith("OpenVINO GenAI")
    assert result["proof"]["psnr"] >= 40
    assert result["proof"]["max_abs"] <= 2  # it cuts numbers off where the host loop rounds them
    assert (folder / "unet" / "openvino_model.xml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c009", "c008", "c007"])
def test_openvino_genai_draws_student_bf16_and_int8_candidates(run: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("openvino_genai")
    result, _ = exported(run, name, "openvino-genai", tmp_path / "g")
    assert result["proof"]["psnr"] >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c002", "c003", "c004", "c007"])
def test_a_diffusers_folder_draws_what_of_a_recipe_can_be_said(run: Path, tmp_path: Path, name: str) -> None:
    result, _ = exported(run, name, "diffusers", tmp_path / "d")
    assert result["proof"]["psnr"] >= 40
    # What is left out of the others is no part of their picture.
    assert (result["proof"]["psnr_candidate"] < result["proof"]["psnr"]) == (name in ("c002", "c007"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["c009", "c002", "c003", "c007"])
def test_a_triton_server_loads_its_repository_and_draws_what_the_host_loop_draws(
    run: Path, tmp_path: Path, name: str, triton: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    if installed() is None:
        monkeypatch.setenv("PATH", str(server(tmp_path / "server")), prepend=os.pathsep)
    result, folder = exported(run, name, "triton", tmp_path / "t")
    assert result["proof"]["runtime"].startswith("Triton 2.")
    assert result["proof"]["psnr"] >= 40
    configurations = sorted(folder.glob("*/config.pbtxt"))
    assert [triton.parse(path.read_text()).name for path in configurations] == [
        path.parent.name for path in configurations
    ]


@pytest.mark.slow
def test_a_hub_repository_holds_a_package_that_verifies_and_a_card_with_its_numbers(
    run: Path, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    result, folder = exported(run, "c001", "hub", tmp_path / "h")
    assert result["proof"]["psnr"] >= 40
    assert check_folder(folder / "package")
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "text-to-image"
    assert "5.0 times as fast" in card.text
    assert "4.5 to 5.5" in card.text
    assert "Nothing was certified" in card.text
    assert all((folder / name).is_file() for name in ("pictures/1.png", ".gitattributes"))


@pytest.mark.slow
def test_a_container_context_builds_from_its_own_wheels_and_names_no_registry(
    run: Path, tmp_path: Path
) -> None:
    result, folder = exported(run, "c001", "container", tmp_path / "c")
    text = (folder / "Dockerfile").read_text()
    assert "--no-index" in text
    assert "://" not in text
    if (folder / "wheels-to-collect.txt").is_file():
        pytest.skip((folder / "wheels-to-collect.txt").read_text())
    assert "--require-hashes" in text
    assert result["proof"]["psnr"] >= 40
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert len(pins) == len(list((folder / "wheels").glob("*.whl")))
    assert all("--hash=sha256:" in line for line in pins)
