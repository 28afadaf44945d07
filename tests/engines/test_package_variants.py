"""Several variants in one package: the first that runs is taken, and why is never silent."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.errors import PackageError
from engines.package import sums
from engines.package.difference import difference
from engines.package.extend import extend, parts_of
from engines.package.runner import Package, read_picture
from engines.package.sign import new_key, sign
from engines.package.verify import verify
from engines.package.wheels import needed
from engines.package.write import EngineFiles, write
from tests.engines.package_parts import PROMPT, SEED, contents


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same toy model for ONNX Runtime and for OpenVINO."""
    folder = tmp_path_factory.mktemp("pair")
    for engine in ("onnxruntime", "openvino"):
        (folder / engine).mkdir()
        write(contents(folder / engine, engine), folder / f"tiny-{engine}")
    return folder / "tiny-onnxruntime", folder / "tiny-openvino"


@pytest.fixture
def package(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(pair[0], tmp_path / "tiny")
    return tmp_path / "tiny"


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-W", "error", str(package / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=package.parent, check=False)


def for_device(part: EngineFiles, name: str) -> EngineFiles:
    device = {"device": name}
    engine, built_for = part.engine.model_copy(update=device), part.built_for.model_copy(update=device)
    return replace(part, engine=engine, built_for=built_for)


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_the_first_variant_that_runs_is_taken_and_the_others_get_a_reason(
    package: Path, pair: tuple[Path, Path]
) -> None:
    before = verify(package)
    extend(package, parts_of(pair[1]))
    extend(package, [for_device(part, "directml") for part in parts_of(pair[0])], first=True)
    after = verify(package)
    assert after.id != before.id
    order = after.manifest.components["denoiser"].additional_metadata.order
    assert order == ("onnxruntime-directml-fp32", "onnxruntime-cpu-fp32", "openvino-cpu-fp32")
    assert "Built for directml too, not verified on device." in after.notes
    found = Package(package)
    np.testing.assert_array_equal(found.generate([PROMPT], [SEED])[0], read_picture(package / "golden.png"))
    choice = found.choices["denoiser"]
    assert choice.variant == "onnxruntime-cpu-fp32"
    ((name, reason),) = choice.passed_over
    assert name == "onnxruntime-directml-fp32"
    assert "install onnxruntime-directml" in reason
    assert Package(package, "openvino-cpu-fp32").self_test()["variants"]["decoder"] == {
        "variant": "openvino-cpu-fp32",
        "of": 3,
        "passed_over": [],
    }
    assert (
        (package / "requirements-openvino.txt")
        .read_text()
        .startswith("# What this package imports.\nopenvino==")
    )


def pins(package: Path, name: str) -> dict[str, str]:
    """Name -> version and marker."""
    lines = (package / name).read_text().splitlines()
    return {line.partition("==")[0]: line.partition("==")[2] for line in lines if not line.startswith("#")}


def test_each_variant_has_the_wheels_of_its_own_device(package: Path, pair: tuple[Path, Path]) -> None:
    """Made on a machine without these devices; one environment holds one of ONNX Runtime's wheels."""
    directml = [for_device(part, "directml") for part in parts_of(pair[0])]
    cuda = [for_device(part, "cuda") for part in parts_of(pair[0])]
    extend(package, [*parts_of(pair[1]), *directml, *cuda])
    assert "onnxruntime" in pins(package, "requirements.txt")
    assert "openvino" in pins(package, "requirements-openvino.txt")
    locked = Path(__file__).resolve().parents[2] / "assets" / "wheels"
    found = pins(package, "requirements-onnxruntime-directml.txt")
    assert found == pins(locked, "onnxruntime-directml.txt")
    assert next(iter(found)) == "onnxruntime-directml"
    found = pins(package, "requirements-onnxruntime-cuda.txt")
    assert next(iter(found)) == "onnxruntime-gpu"
    assert {"nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-cufft", "nvidia-cuda-runtime"} <= found.keys()
    assert "onnxruntime" not in found
    told = run(package, "--info").stdout
    for variant, file in {
        "onnxruntime-cpu-fp32": "requirements.txt",
        "openvino-cpu-fp32": "requirements-openvino.txt",
        "onnxruntime-directml-fp32": "requirements-onnxruntime-directml.txt",
        "onnxruntime-cuda-fp32": "requirements-onnxruntime-cuda.txt",
    }.items():
        assert f"variant   {variant}: text_encoder, denoiser, decoder ({file})" in told
    (package / "requirements-onnxruntime-cuda.txt").unlink()
    sums.write(package)
    with pytest.raises(
        PackageError, match=r"needs requirements-onnxruntime-cuda\.txt, which the package lacks"
    ):
        verify(package)


def test_a_package_made_on_its_device_keeps_the_wheels_that_are_installed_there() -> None:
    """Here: the CPU's; of what is not here, Apple's runtimes included, the lock's."""
    from importlib.metadata import version

    assert needed("onnxruntime")[0].version == version("onnxruntime")
    for engine, device, first in [
        ("openvino", "intel-gpu", "openvino"),
        ("onnxruntime", "cuda", "onnxruntime-gpu"),
        ("mlx", "mlx", "mlx"),
        ("coreml", "coreml", "coremltools"),
    ]:
        wheels = needed(engine, device)
        assert wheels[0].name == first
        assert {"numpy", "tokenizers", "pillow", "h11"} <= {wheel.name for wheel in wheels}
    markers = {wheel.name: wheel.marker for wheel in needed("mlx", "mlx")}
    assert markers["mlx-metal"] == "sys_platform == 'darwin'"
    with pytest.raises(PackageError, match="toaster has no packages"):
        needed("toaster")


def test_the_program_says_which_variant_runs_and_why_not_another(
    package: Path, pair: tuple[Path, Path]
) -> None:
    extend(package, [for_device(part, "directml") for part in parts_of(pair[0])], first=True)
    done = run(package, "--prompt", PROMPT, "--seed", str(SEED), "--out", "made.png")
    assert done.returncode == 0, done.stderr
    assert "Runs onnxruntime-cpu-fp32." in done.stderr
    assert (
        "Fell back: decoder: onnxruntime-directml-fp32: The ONNX Runtime that is installed has no"
        in done.stderr
    )
    verify(package)


def spoiled(part: EngineFiles, folder: Path) -> EngineFiles:
    """The same engine in fp16, and of a decoder its weights: numbers that fp16 does not hold."""
    import onnx
    from onnx import numpy_helper

    ((name, path),) = part.files.items()
    model = onnx.load(path)
    if part.component == "decoder":
        (grow,) = model.graph.initializer
        grow.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(grow) * np.nan, grow.name))
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / name)
    engine = part.engine.model_copy(update={"precision": "fp16"})
    return replace(part, engine=engine, files={name: folder / name})


def test_a_decoder_whose_picture_is_not_finite_gives_way_to_the_next_variant(
    package: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    extend(package, [spoiled(part, tmp_path / "half") for part in parts_of(pair[0])], first=True)
    done = run(package, "--prompt", PROMPT, "--seed", str(SEED), "--out", "made.png")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime-cpu-fp16: its picture holds values that are not finite" in done.stderr
    np.testing.assert_array_equal(read_picture(tmp_path / "made.png"), read_picture(package / "golden.png"))
    assert "Runs onnxruntime-cpu-fp16 for text_encoder, denoiser." in done.stderr


def test_a_picture_that_no_variant_can_decode_is_an_error_and_no_file(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    made = contents(tmp_path / "parts")
    parts = tuple(spoiled(part, tmp_path / "half") for part in parts_of(pair[0]))
    write(replace(made, name="spoiled", engines=parts), tmp_path / "spoiled")
    done = run(tmp_path / "spoiled", "--prompt", PROMPT, "--out", "made.png")
    assert done.returncode == 1
    assert "no variant of this package decodes it better; ask with another seed" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "made.png").exists()


def test_variants_of_another_model_are_not_taken(package: Path, pair: tuple[Path, Path]) -> None:
    parts = parts_of(pair[1])
    strange = replace(parts[0], inputs=(*parts[0].inputs, *parts[0].inputs))
    refusals: list[tuple[list[EngineFiles], str]] = [
        ([strange], "is of another model"),
        ([replace(parts[0], component="other")], "has no component other"),
        (list(parts_of(pair[0])), "already"),
    ]
    before = verify(package).id
    for given, why in refusals:
        with pytest.raises(PackageError, match=why):
            extend(package, given)
        assert verify(package).id == before


def test_a_variant_is_judged_by_the_tolerance_of_its_own_precision(package: Path) -> None:
    """Another picture passes where the precision allows it, and only there."""
    path = package / sums.MANIFEST
    data = json.loads(path.read_text())
    data["additional_metadata"]["golden"] |= {"minimum_psnr": 99.0, "dhash_tolerance": 0}

    def tested() -> bool:
        path.write_text(json.dumps(data))
        sums.write(package)
        return bool(Package(package).self_test()["passed"])

    from PIL import Image

    golden = read_picture(package / "golden.png").astype(np.int16)
    noisy = np.clip(golden + np.random.default_rng(0).integers(-9, 10, golden.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(package / "golden.png")
    assert not tested()
    tolerance = {"dhash_tolerance": 64, "minimum_psnr": 20.0}
    data["additional_metadata"]["golden"]["by_precision"] = {"int8": tolerance}
    assert not tested()
    data["additional_metadata"]["golden"]["by_precision"] = {"fp32": tolerance}
    assert tested()


def test_the_bill_of_materials_fits_its_schema_and_names_everything(package: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (package / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert (
        JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill | {"components": 1})) is not None
    )
    named = {part["name"]: part for part in bill["components"]}
    wheels = json.loads((package / sums.MANIFEST).read_text())["additional_metadata"]["wheels"]
    for wheel in wheels:
        assert named[wheel["name"]]["purl"] == f"pkg:pypi/{wheel['name']}@{wheel['version']}"
    engines = [name for name in sums.walk(package) if name.endswith(".onnx")]
    for name in engines:
        assert named[name]["hashes"] == [{"alg": "SHA-256", "content": sums.digest_file(package / name)}]
    assert named["tiny"]["type"] == "machine-learning-model"


def test_the_manifest_fits_the_schema_that_is_published(package: Path) -> None:
    import jsonschema

    schema = json.loads((Path(__file__).resolve().parents[2] / "docs" / "package.schema.json").read_text())
    data = json.loads((package / sums.MANIFEST).read_text())
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"layout": "other"}, schema)


def test_a_difference_names_recipe_numbers_files_and_variants(package: Path, pair: tuple[Path, Path]) -> None:
    one = verify(pair[0])
    assert difference(one, verify(package)).same
    extend(package, parts_of(pair[1]))
    found = difference(one, verify(package))
    assert [change.name for change in found.variants] == [
        f"{name} openvino-cpu-fp32" for name in ("text_encoder", "denoiser", "decoder")
    ]
    assert "requirements-openvino.txt" in found.added
    assert set(found.changed) == {"manifest.json", "sbom.cdx.json", "SHA256SUMS"}
    assert found.recipe == found.numbers == ()
    path = package / sums.MANIFEST
    data = json.loads(path.read_text())
    facts = data["additional_metadata"]
    facts["techniques"][0]["parameters"]["steps"] = 4
    facts["host_loop"]["steps"] = 4
    facts["evidence"]["candidate"] = "c002"
    path.write_text(json.dumps(data))
    sums.write(package)
    found = difference(one, verify(package))
    assert [(one.name, one.a, one.b) for one in found.recipe] == [("fewer-steps", {"steps": 3}, {"steps": 4})]
    assert [one.name for one in found.facts] == ["host_loop.steps"]
    assert [(one.name, one.b) for one in found.numbers] == [("evidence.candidate", "c002")]


def test_opening_a_package_imports_no_engine(package: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['run.py', '--info']; path = {str(package / 'run.py')!r}\n"
        "try: runpy.run_path(path, run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = ('onnxruntime', 'openvino', 'PIL', 'tokenizers', 'model_signing', 'cryptography')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "variant   onnxruntime-cpu-fp32: text_encoder, denoiser, decoder" in done.stdout


def test_the_benchmark_says_how_fast_it_is_here(package: Path) -> None:
    done = run(package, "--benchmark", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pictures"] == 3
    assert 0 < found["seconds"]["least"] <= found["seconds"]["median"] <= found["seconds"]["p90"]
    assert set(found["stages"]) == {"encode", "denoise", "scheduler", "decode"}
    assert "s a picture (median of 5" in run(package, "--benchmark").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are another matter there")
def test_it_runs_from_a_folder_that_cannot_be_written(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.png"
    key, public = new_key(tmp_path / "key.pem")
    sign(package, key)
    places = [package, *(path for path in package.rglob("*") if path.is_dir())]

    def change(mode: int) -> None:
        for path in places:
            path.chmod(mode)

    change(stat.S_IRUSR | stat.S_IXUSR)
    try:
        done = run(package, "--prompt", PROMPT, "--key", str(public), "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert out.is_file()
    finally:
        change(0o755)
    if os.geteuid():
        assert not list(package.rglob("__pycache__"))


def test_it_asks_no_network(package: Path, tmp_path: Path) -> None:
    """Every door to it is shut before the program starts."""
    code = (
        "import runpy, socket, sys\n"
        "def shut(*_arguments, **_more): raise SystemExit('it wants the network')\n"
        "socket.socket.connect = shut; socket.create_connection = shut; socket.getaddrinfo = shut\n"
        "sys.argv = ['run.py', '--self-test']\n"
        f"runpy.run_path({str(package / 'run.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout
