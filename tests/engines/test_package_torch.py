"""Packages on torch: a captured program eager, compiled when called or ahead; no diffusers, no pickle."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.backends import backend
from engines.backends.base import Options
from engines.backends.parity import LEAST_PSNR
from engines.backends.torch_graphs import quantise
from engines.backends.torch_program import program, save
from engines.backends.torch_quantised import Quantised
from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.errors import NoVariant, PackageError
from engines.models.load import open_model
from engines.package import fits, torch_files
from engines.package.manifest import Engine
from engines.package.runner import Package
from engines.package.torch_graph import GRAPH, KINDS, QUANTISED, WEIGHTS, Graph
from engines.package.verify import verify
from engines.package.wheels import installed, needed, requirements
from engines.package.write import EngineFiles, write
from tests.engines.package_parts import contents
from tests.engines.small_model import LATENT, write_small_model

_COMPILER = pytest.mark.skipif(bool(torch_files.lacks_compiler()), reason="no C++ compiler")
_TORCHAO = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")
ENGINES = (
    "eager",
    pytest.param("compile", marks=_COMPILER),
    pytest.param("aoti", marks=[_COMPILER, pytest.mark.slow]),
)


class Decoder(nn.Module):
    """The toy decoder with what graphs are made of: rows that are counted, a constant, a text, a write."""

    def __init__(self, grow: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        super().__init__()
        self.grow = nn.Parameter(torch.from_numpy(grow.copy()), requires_grad=False)
        self.register_buffer("ramp", torch.arange(3.0))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        grown = nn.functional.conv_transpose2d(latent, self.grow, stride=4).tanh()
        flat = grown.reshape(grown.shape[0], 3, -1)
        flat = flat + 0 * nn.functional.gelu(flat, approximate="tanh") * self.get_buffer("ramp")[:, None]
        kept = torch.zeros_like(flat)
        kept.copy_(flat)
        return torch.einsum("bcn->bcn", kept).reshape(grown.shape)


def exported(module: nn.Module) -> Any:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (torch.zeros(2, 4, 4, 4),), dynamic_shapes=shapes, strict=False)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    import onnx
    from onnx import numpy_helper

    folder = tmp_path_factory.mktemp("weights")
    part = next(one for one in contents(folder).engines if one.component == "decoder")
    weights = onnx.load(next(iter(part.files.values()))).graph.initializer
    return Decoder(numpy_helper.to_array(weights[0])).eval()


@pytest.fixture(scope="module")
def files(module: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """By engine: what a package holds of the decoder; `aoti`'s is for tests that do not let it be loaded."""
    folder = tmp_path_factory.mktemp("torch")
    program = exported(module)
    save(program, ["latent"], ["image"], folder)
    graph = {path.name: path for path in folder.iterdir()}
    torch.export.save(program, folder / "model.pt2")  # in the place of what takes a minute to compile
    return {"eager": graph, "compile": graph, "aoti": {"model.pt2": folder / "model.pt2"}}


@pytest.fixture(scope="module")
def compiled_ahead(module: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch._inductor import aoti_compile_and_package

    path = tmp_path_factory.mktemp("aoti") / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aoti_compile_and_package(exported(module), package_path=str(path))
    return path


Make = Callable[..., Path]


@pytest.fixture
def make(files: dict[str, dict[str, Path]], tmp_path: Path) -> Make:
    """Write the toy package, its decoder by these torch engines before the usual one."""

    def made(*engines: str, compatibility: str = "") -> Path:
        plain = contents(tmp_path)
        usual = next(part for part in plain.engines if part.component == "decoder")
        more = []
        for name in engines:
            facts = {
                "engine": name,
                "model_file": "model.pt2" if name == "aoti" else GRAPH,
                "precision": "fp32",
            }
            options = {"inputs": "latent", "outputs": "image"} if name == "aoti" else {}
            more.append(
                replace(
                    usual,
                    engine=Engine.model_validate(facts | {"options": options}),
                    files=dict(files[name]),
                    compatibility=(compatibility or fits.compatibility()) if name == "aoti" else None,
                )
            )
        others = [part for part in plain.engines if part.component != "decoder"]
        parts: tuple[EngineFiles, ...] = (*others, *more, usual)
        write(replace(plain, engines=parts), tmp_path / "package")
        return tmp_path / "package"

    return made


@pytest.mark.parametrize("engine", ENGINES)
def test_a_torch_engine_computes_what_the_module_does_at_every_batch(
    make: Make, module: Decoder, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "aoti":
        request.getfixturevalue("files")["aoti"]["model.pt2"] = request.getfixturevalue("compiled_ahead")
    package = Package(make(engine), engine, allow_native=True)
    decoder = package.loaded["decoder"]
    assert package.choices["decoder"].variant == f"{engine}-cpu-fp32"
    for rows in (2, 1, 3):
        latent = np.random.default_rng(rows).standard_normal((rows, 4, 4, 4), dtype=np.float32)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(latent)).numpy()
        latent.flags.writeable = False
        found = decoder({"latent": latent})["image"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=0 if engine == "eager" else 1e-5)
    assert package.self_test()["passed"]


def test_it_runs_alone_with_neither_diffusers_nor_a_pickle(make: Make, tmp_path: Path) -> None:
    folder = make("eager")
    assert not [path for path in folder.rglob("*") if path.suffix in (".pt", ".pkl", ".pt2")]
    program = (
        "import runpy, sys, pickle, torch\n"
        "for name in ('diffusers', 'transformers', 'studio', 'pydantic'): sys.modules[name] = None\n"
        "def refuse(*_, **__): raise SystemExit('something was unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse\n"
        "sys.argv = ['run.py', '--self-test', '--json', '--device', 'eager']\n"
        f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["passed"]
    assert said["variants"]["decoder"] == {"variant": "eager-cpu-fp32", "of": 2, "passed_over": []}
    assert verify(folder).native == ()


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_what_was_compiled_ahead_is_named_as_code_and_not_loaded_unsigned(make: Make) -> None:
    folder = make("aoti", "eager")
    checked = verify(folder)
    assert [Path(name).name for name in checked.native] == ["model.pt2"]
    assert any("--allow-native" in note for note in checked.notes)
    plain = Package(folder)
    assert plain.self_test()["passed"]
    choice = plain.choices["decoder"]
    assert choice.variant == "eager-cpu-fp32"
    ((name, reason),) = choice.passed_over
    assert name == "aoti-cpu-fp32"
    assert "machine code (model.pt2)" in reason


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("torch=", "torch=9."), "compiled for torch 9.* export the package here"),
        (("machine=", "machine=another-"), "compiled for machine another-"),
        (("needs=", "needs=avx4096,"), "a processor with avx4096, which this one lacks"),
        (("needs=", "wants="), "does not say for what"),
    ],
)
def test_code_for_another_machine_is_never_loaded(make: Make, change: tuple[str, str], why: str) -> None:
    folder = make("aoti", "eager", compatibility=fits.compatibility().replace(*change))
    package = Package(folder, allow_native=True)
    assert package.self_test()["passed"]
    ((_, reason),) = package.choices["decoder"].passed_over
    assert re.search(why, reason), reason


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_without_a_compiler_one_sentence_says_so_and_the_next_variant_runs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    package = Package(make("compile", "eager"))
    assert package.self_test()["passed"]
    ((name, reason),) = package.choices["decoder"].passed_over
    assert name == "compile-cpu-fp32"
    assert reason.startswith("torch.compile needs a C++ compiler, and this machine has none")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda said: said["nodes"][0].update(operator="os.system"), "has no operator os.system"),
        (lambda said: said["nodes"][0].update(operator="aten.__class__.mro"), "has no operator"),
        (lambda said: said["nodes"][0].update(args=["/etc/passwd"]), "may not hold the word '/etc/passwd'"),
        (lambda said: said["nodes"][0].update(args=[{"dtype": "load"}]), "load is no type"),
        (lambda said: said["nodes"][0].update(args=[{"ref": "nobody"}]), "is no graph"),
        (lambda said: said.update(format=2), "has format 2"),
    ],
)
def test_a_graph_that_calls_what_it_must_not_is_refused(
    files: dict[str, dict[str, Path]], tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    for name, path in files["eager"].items():
        shutil.copyfile(path, tmp_path / name)
    said = json.loads((tmp_path / GRAPH).read_text())
    change(said)
    (tmp_path / GRAPH).write_text(json.dumps(said))
    with pytest.raises(ValueError, match=why):
        Graph(tmp_path)


def test_a_device_that_is_not_here_is_refused_and_not_replaced(files: dict[str, dict[str, Path]]) -> None:
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(PackageError, match=f"torch finds no {absent} device"):
        torch_files.program(files["eager"][GRAPH], {}, absent, compiled=False)


def test_no_variant_that_runs_is_an_error_with_every_reason(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("compile")
    package = Package(folder)
    package.manifest["components"]["decoder"]["additional_metadata"]["order"] = ["compile-cpu-fp32"]
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NoVariant, match="needs a C\\+\\+ compiler"):
        _ = package.loaded


def test_requirements_pin_torch_and_leave_a_cards_wheels_to_it() -> None:
    text = requirements("torch", needed("eager"))
    pins = [line for line in text.splitlines() if "==" in line]
    assert pins[0].startswith("torch==")
    assert not [pin for pin in pins if pin.startswith(("nvidia", "cuda", "triton", "diffusers"))]
    assert needed("eager") == needed("compile") == needed("aoti")
    assert {wheel.name for wheel in needed("eager")} <= set(installed(["torch", "safetensors", "numpy",
        "tokenizers", "pillow", "h11"]))  # fmt: skip


# -- weights of torchao's


def narrow(files: dict[str, dict[str, Path]], folder: Path, kind: str = "Int8Tensor") -> Path:
    """A graph that says of its weight what one of torchao's says of its own."""
    folder.mkdir()
    for name, path in files["eager"].items():
        shutil.copyfile(path, folder / name)
    said = json.loads((folder / GRAPH).read_text())
    said[QUANTISED] = {"torchao": "0.18.0", "weights": {"grow": {"_type": kind, "_data": {}}}}
    (folder / GRAPH).write_text(json.dumps(said))
    return folder


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_without_torchao_one_sentence_says_so_and_the_next_variant_runs(
    make: Make, files: dict[str, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torchao", "torchao.prototype.safetensors.safetensors_support"):
        monkeypatch.setitem(sys.modules, name, None)
    folder = narrow(files, tmp_path / "narrow")
    monkeypatch.setitem(files, "compile", {path.name: path for path in folder.iterdir()})
    monkeypatch.setattr(torch_files, "lacks_compiler", lambda: "")
    package = Package(make("compile", "eager"))
    assert package.self_test()["passed"]
    assert package.choices["decoder"].variant == "eager-cpu-fp32"
    assert package.choices["decoder"].passed_over == (("compile-cpu-fp32", torch_files.LACKS_TORCHAO),)


def test_a_weight_of_a_class_that_is_not_listed_is_refused(
    files: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a weight may not be Float8MMConfig"):
        Graph(narrow(files, tmp_path / "narrow", "Float8MMConfig"))


def test_torchao_is_pinned_where_a_variant_was_quantised_by_it(make: Make) -> None:
    from engines.package.extend import extend, parts_of

    folder = make("eager")
    (part,) = [one for one in parts_of(folder) if one.engine.engine == "eager"]
    narrow_part = replace(
        part,
        engine=part.engine.model_copy(update={"precision": "w8"}),
        build_options={"torchao": "0.18.0"},
    )
    extended = extend(folder, [narrow_part])
    pins = (folder / "requirements-torch.txt").read_text().splitlines()
    assert pins[:2] == ["# What this package imports.", "torchao==0.18.0"]
    assert pins[2].startswith("torch==")
    wheels = extended.manifest.additional_metadata.more_wheels["torch"]
    assert [wheel.name for wheel in wheels].count("torchao") == 1
    assert "torchao" not in (folder / "requirements.txt").read_text()


@_TORCHAO
@pytest.mark.parametrize("precision", ["w8", "int8"])
def test_weights_of_torchaos_travel_as_values_and_scales_and_compute_what_they_did(
    precision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    capture = Capture(open_model(write_small_model(tmp_path / "small")), Structure("denoiser", LATENT))
    made = program(capture, precision)
    assert made.torchao
    assert made.parity["psnr"] > LEAST_PSNR[precision]
    said = json.loads((made.folder / GRAPH).read_text())[QUANTISED]["weights"]
    assert {one["_type"] for one in said.values()} <= KINDS
    from safetensors.torch import load_file

    kinds = {name: one.dtype for name, one in load_file(made.folder / WEIGHTS).items()}
    assert sum(kind == torch.int8 for name, kind in kinds.items() if name.endswith("_qdata")) == len(said) > 9
    assert not set(said) & set(kinds)
    running = Capture(capture.model, capture.structure).module
    if precision == "int8":
        running = running.to(torch.bfloat16)
    quantise(running, precision)
    inputs = capture.example(batch=3, seed=4)
    given = [torch.from_numpy(inputs[one.name]) for one in capture.inputs]
    if precision == "int8":
        given = [one.to(torch.bfloat16) if one.ndim > 1 else one for one in given]
    with torch.inference_mode():
        wanted = running(*given).float().numpy()
    found = torch_files.program(made.folder / GRAPH, {}, "cpu", compiled=False)(inputs)["prediction"]
    np.testing.assert_array_equal(found, wanted)
    built = backend("torch").build(capture, Options("w8"))
    if precision == "w8":
        component = backend("torch").load(built).component
        np.testing.assert_array_equal(found, component(inputs)["prediction"])


@_TORCHAO
@pytest.mark.parametrize("precision", ["w8", "int8"])
def test_the_compiler_takes_a_graph_with_weights_of_torchaos_whole(precision: Any, tmp_path: Path) -> None:
    """By the part of torch.compile that is the same on a card: with no kernel made, and none left out."""

    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(32, 64), nn.Linear(64, 16)])

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.blocks[1](nn.functional.silu(self.blocks[0](given)))
            return found

    plain, given = Blocks().eval(), torch.randn(2, 5, 32)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        exported_plain = torch.export.export(plain, (given,), dynamic_shapes=shapes, strict=False)
    quantise(plain, precision)
    weights = {name: one.data for name, one in plain.named_parameters() if type(one.data).__name__ in KINDS}
    assert save(exported_plain, ["given"], ["answer"], tmp_path, Quantised(weights, "0")) == "0"
    graph = Graph(tmp_path)
    traced: Any = torch.compile(graph, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.inference_mode():
        assert torch.equal(graph(given)[0], plain(given))
        torch.testing.assert_close(traced(given)[0], plain(given), atol=1e-4, rtol=1e-4)
