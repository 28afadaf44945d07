"""Every engine keeps the contract of `engines.backends.base`: one class of tests, inherited by each."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from engines import drivers
from engines.backends import backend, parity, torch_ways
from engines.backends.base import METADATA, Artifact, Backend, Built, Options
from engines.backends.calibration import calibration_for, chosen
from engines.backends.open_vino import has_bf16
from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.errors import BuildError, WorkloadError
from engines.models.load import open_model
from engines.models.model import Model
from engines.pipeline import loop_settings
from engines.plan import Backend as BackendName
from engines.plan import DenoiserStructure, Precision
from engines.workload import Workload
from tests.engines.small_model import LATENT, write_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_small_model(tmp_path_factory.mktemp("backend") / "model"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def decoder(model: Model) -> Capture:
    """The smallest graph of a model: engines are built from it in a moment."""
    return Capture(model, Structure("decoder", LATENT, decoder="tiny"))


def options(model: Model, precision: Precision, device: str = "cpu") -> Options:
    loop = loop_settings(model, Workload())
    few = replace(calibration_for(model, DenoiserStructure(), loop), prompts=4)
    return Options(precision, calibration=few if precision == "int8" else None, device=device)


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skips where an optional engine is not installed; which one is said."""
    missing = [name for name in modules if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed")


class Contract:
    """Inherit, and name the engine, its device, and what it can do there and here."""

    name: ClassVar[BackendName]
    device: ClassVar[str] = "cpu"
    able: ClassVar[tuple[Precision, ...]] = ("fp32",)
    tried: ClassVar[tuple[Precision, ...]] = ("fp16", "bf16", "int8", "fp8", "w8", "w6", "w4")
    plain: ClassVar[Precision] = "fp32"
    ships: ClassVar[bool] = True
    state: ClassVar[str] = "ready"
    stand_in: ClassVar[str] = ""
    """What runs its files here in the device's place."""

    @property
    def engine(self) -> Backend:
        return backend(self.name)

    @property
    def runs(self) -> bool:
        return self.state == "ready" or bool(self.stand_in)

    def built(self, model: Model, precision: Precision | None = None) -> Artifact:
        return self.engine.build(decoder(model), options(model, precision or self.plain, self.device))

    def test_it_says_what_it_can_do_here(self) -> None:
        found = self.engine.probe(self.device)
        assert found.state == self.state
        assert found.reason
        assert self.engine.stand_in(self.device) == self.stand_in

    def test_a_missing_package_is_named_with_its_install_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self.engine), "packages", ("no_such_package",))
        found = self.engine.probe(self.device)
        assert found.state == "missing"
        assert "no_such_package" in found.reason
        assert " pip install " in found.install

    def test_a_device_that_it_does_not_serve_is_refused(self) -> None:
        found = self.engine.probe("toaster")
        assert (found.state, found.reason) == ("missing", f"{self.engine.title} does not serve toaster")

    def test_what_it_loads_equals_eager_at_other_batches(self, model: Model) -> None:
        artifact = self.built(model)
        assert (artifact.backend, artifact.precision, artifact.fallbacks) == (self.name, self.plain, ())
        if not self.runs:
            with pytest.raises(BuildError, match="is built, not verified on device"):
                self.engine.load(artifact)
            return
        loaded = self.engine.load(artifact)
        said = [] if self.state == "ready" else [f"runs by {self.stand_in} here, in place of"]
        assert len(loaded.fallbacks) == len(said)
        assert all(part in reason for part, reason in zip(said, loaded.fallbacks, strict=True))
        for batch in (1, 3):
            inputs = artifact.capture.example(batch, seed=8)
            found = loaded.component(inputs)
            assert found["image"].dtype == np.float32
            least = parity.LEAST_PSNR[self.plain]
            assert parity.compare(found, artifact.capture.reference(inputs))["psnr"] > least

    def test_an_answer_is_not_overwritten_by_the_next(self, model: Model) -> None:
        if not self.runs:
            pytest.skip("nothing here runs it")
        component = self.engine.load(self.built(model)).component
        first = component(decoder(model).example(1, seed=1))["image"]
        kept = first.copy()
        component(decoder(model).example(1, seed=2))
        np.testing.assert_array_equal(first, kept)

    def test_an_array_of_another_size_is_refused_in_one_sentence(self, model: Model) -> None:
        if not self.runs:
            pytest.skip("nothing here runs it")
        component = self.engine.load(self.built(model)).component
        channels, height, width = LATENT
        with pytest.raises(WorkloadError, match=r"takes latent of shape .* was built for one size"):
            component({"latent": np.zeros((1, channels, height * 2, width), np.float32)})

    def test_building_again_reads_the_cache(self, model: Model) -> None:
        first = self.built(model)
        written = (first.folder / METADATA).stat().st_mtime_ns
        second = self.built(model)
        assert second.key == first.key
        assert (second.folder / METADATA).stat().st_mtime_ns == written

    def test_metadata_holds_precision_version_and_evidence(self, model: Model) -> None:
        artifact = self.built(model)
        facts = json.loads((artifact.folder / METADATA).read_text())
        assert facts["precision"] == self.plain
        assert facts["version"] == self.engine.version()
        assert facts["built_for"] == artifact.device == self.device
        assert bool(artifact.verified_on) == (self.state == "ready")
        assert facts["stand_in"] == ("" if self.state == "ready" else self.stand_in)
        if self.runs:
            assert facts["parity"]["psnr"] > parity.LEAST_PSNR[self.plain]
        else:
            assert facts["parity"] is None
        assert all(path.is_file() for path in artifact.files)
        assert bool(artifact.files) == self.ships

    def test_every_precision_it_claims_is_built_and_one_it_lacks_says_why(self, model: Model) -> None:
        for precision in self.tried:
            artifact = self.built(model, precision)
            if precision in self.able:
                assert (artifact.backend, artifact.precision) == (self.name, precision), artifact.fallbacks
                if self.runs:
                    assert artifact.metadata["parity"]["psnr"] >= parity.LEAST_PSNR[artifact.precision]
                calibrated = precision == "int8" and self.engine.calibrates(self.device)
                assert ("calibration" in artifact.metadata) == calibrated
            else:
                assert artifact.precision != precision
                assert f"{self.engine.title} {precision} was not used" in artifact.fallbacks[0]

    def test_a_damaged_file_falls_back_to_eager_with_a_reason(self, model: Model) -> None:
        if not self.ships or not self.runs:
            pytest.skip("this engine has no files, or nothing here runs them")
        artifact = self.built(model)
        contents = [path.read_bytes() for path in artifact.files]
        for path in artifact.files:
            path.unlink()
            path.write_bytes(b"damaged")
        try:
            loaded = self.engine.load(artifact)
        finally:
            for path, content in zip(artifact.files, contents, strict=True):
                path.write_bytes(content)
        assert (loaded.backend, loaded.precision) == ("torch", "fp32")
        assert "could not be opened" in loaded.fallbacks[-1]
        inputs = artifact.capture.example()
        np.testing.assert_allclose(
            loaded.component(inputs)["image"], artifact.capture.reference(inputs)["image"], atol=1e-5
        )


def where(absent: str) -> str:
    """An engine that builds anywhere is ready where its device is."""
    return "build_only" if absent else "ready"


WITH_TORCHAO: tuple[Precision, ...] = ("w8",) if find_spec("torchao") else ()
BFLOAT: tuple[Precision, ...] = ("bf16",) if torch_ways.has_bf16() else ()
DYNAMIC: tuple[Precision, ...] = ("int8",) if find_spec("torchao") else ()
on_cuda = pytest.mark.skipif(
    bool(drivers.torch_on("cuda")), reason=drivers.torch_on("cuda") or "an NVIDIA GPU"
)


class TestTorchEager(Contract):
    name = "torch"
    able = ("fp32", *BFLOAT, *WITH_TORCHAO)
    ships = False


@pytest.mark.gpu
@on_cuda
class TestTorchOnCuda(Contract):
    name, device = "torch", "cuda"
    plain: ClassVar[Precision] = "fp16"
    able: ClassVar[tuple[Precision, ...]] = ("fp16", "bf16", *WITH_TORCHAO)
    ships = False


@pytest.mark.skipif(bool(drivers.torch_on("mps")), reason=drivers.torch_on("mps") or "an Apple GPU")
class TestTorchOnMps(Contract):
    """Not verified on device."""

    name, device = "torch", "mps"
    plain: ClassVar[Precision] = "fp16"
    able: ClassVar[tuple[Precision, ...]] = ("fp16", "bf16", *WITH_TORCHAO)
    ships = False


class TestOpenVino(Contract):
    name = "openvino"
    able = (*(("fp32", "bf16") if has_bf16() else ("fp32",)), "int8", "w8", "w4")

    def test_precision_is_never_left_to_the_runtime(self, model: Model) -> None:
        assert self.built(model).metadata["options"]["INFERENCE_PRECISION_HINT"] == "f32"

    @pytest.mark.parametrize("precision", ["bf16", "int8"])
    def test_a_whole_denoiser_in_low_precision_differs_from_fp32_but_not_much(
        self, model: Model, precision: Precision
    ) -> None:
        capture = Capture(model, Structure("denoiser", LATENT))
        artifact = self.engine.build(capture, options(model, precision))
        if precision == "bf16" and artifact.precision != "bf16":
            assert "no bf16 instructions" in artifact.fallbacks[0]
            return
        assert artifact.precision == precision, artifact.fallbacks
        assert artifact.metadata["parity"]["max_abs"] > 0


class TestOnnxRuntime(Contract):
    name = "onnxruntime"
    able = ("fp32", "int8", "w8", "w4")


class TestOnnxRuntimeForDirectMl(Contract):
    name, device = "onnxruntime", "directml"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "w8", "w4")
    state, stand_in = where(backend("onnxruntime").absent("directml")), "ONNX Runtime's CPU provider"


class TestOnnxRuntimeForWindowsMl(TestOnnxRuntimeForDirectMl):
    device = "windowsml"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8", "w8", "w4")
    state = where(backend("onnxruntime").absent("windowsml"))


class TestOnnxRuntimeForCuda(TestOnnxRuntimeForDirectMl):
    device = "cuda"
    state = where(backend("onnxruntime").absent("cuda"))


class TestOpenVinoForIntelGpu(Contract):
    name, device = "openvino", "intel-gpu"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "int8", "w8", "w4")
    state, stand_in = where(drivers.intel_gpu()), "OpenVINO on the CPU"


class TestOpenVinoForIntelNpu(TestOpenVinoForIntelGpu):
    device = "intel-npu"
    state = where(drivers.intel_npu())
    plain: ClassVar[Precision] = "fp16"
    able: ClassVar[tuple[Precision, ...]] = ("fp16", "int8", "w8", "w4")


@needs("mlx")
class TestMlx(Contract):
    name, device = "mlx", "mlx"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "bf16", "w8", "w4")
    state, stand_in = where(drivers.apple_silicon()), "MLX on this machine's CPU"


@needs("coremltools")
class TestCoreMl(Contract):
    name, device = "coreml", "coreml"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "w8", "w6", "w4")
    tried: ClassVar[tuple[Precision, ...]] = ("bf16", "w8")
    state = where(drivers.macos())


@pytest.mark.slow
@needs("coremltools")
class TestCoreMlInEveryPrecision(TestCoreMl):
    tried = Contract.tried


@needs("tensorrt_rtx")
class TestTensorRt(Contract):
    name, device = "tensorrt", "cuda"
    able: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "bf16", "int8")
    state = where(backend("tensorrt").absent("cuda"))


@pytest.mark.slow
class TestTorchCompile(Contract):
    name = "compile"
    able = ("fp32", *BFLOAT)


@pytest.mark.gpu
@on_cuda
class TestTorchCompileOnCuda(Contract):
    """fp8 depends on the card: test_device_engines.py."""

    name, device = "compile", "cuda"
    plain: ClassVar[Precision] = "fp16"
    able: ClassVar[tuple[Precision, ...]] = ("fp16", "bf16", *DYNAMIC)
    tried: ClassVar[tuple[Precision, ...]] = ("fp16", "bf16", "int8", "w8", "w4")

    def test_a_damaged_file_falls_back_to_eager_with_a_reason(self, model: Model) -> None:
        """Its file is the compiler's cache: what cannot be read is compiled anew, and never used."""
        artifact = self.built(model)
        (kept,) = artifact.files
        content = kept.read_bytes()
        kept.unlink()
        kept.write_bytes(b"damaged")
        try:
            loaded = self.engine.load(artifact)
        finally:
            kept.write_bytes(content)
        inputs = artifact.capture.example()
        found = parity.compare(loaded.component(inputs), artifact.capture.reference(inputs))
        assert found["psnr"] > parity.LEAST_PSNR["fp16"]
        assert loaded.backend == "compile" or "could not be opened" in loaded.fallbacks[-1]


def test_without_a_compiler_torch_compile_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = backend("compile").probe()
    assert (found.state, found.install) == ("missing", "apt install g++")


class Wrong(type(backend("openvino"))):  # type: ignore[misc]
    """An exporter that makes another function than it was given."""

    title = "Wrong"

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        import openvino

        from engines.backends import open_vino

        model = open_vino.convert(capture)
        for operation in model.get_ops():
            if operation.get_type_name() == "Convolution":
                operation.set_arguments([operation.input_value(0), openvino.opset13.constant(
                    0 * operation.input_value(1).get_node().data
                ).output(0)])  # fmt: skip
                break
        openvino.save_model(model, folder / open_vino.MODEL, compress_to_fp16=False)
        return Built(
            (open_vino.MODEL, open_vino.WEIGHTS), {"options": open_vino.properties(options.precision)}
        )

    def version(self) -> str:
        return "0"


def test_an_engine_that_computes_something_else_is_not_used(model: Model) -> None:
    artifact = Wrong().build(decoder(model), Options("fp32"))
    assert artifact.backend == "torch"
    assert "differs from eager" in artifact.fallbacks[0]


def test_values_that_are_not_finite_are_refused() -> None:
    wanted = {"image": np.ones((1, 3), np.float32)}
    with pytest.raises(BuildError, match="not finite"):
        parity.compare({"image": np.full((1, 3), np.nan, np.float32)}, wanted)
    with pytest.raises(BuildError, match="shape"):
        parity.compare({"image": np.ones((2, 3), np.float32)}, wanted)


def test_calibration_covers_all_timesteps_and_all_prompts_and_says_which(model: Model) -> None:
    usual = calibration_for(model, DenoiserStructure(), loop_settings(model, Workload()))
    assert usual.prompts == 32
    found = replace(usual, prompts=4)
    timesteps = [float(sample["timestep"][0]) for sample in found.samples("denoiser")]
    facts = found.facts
    assert sorted(set(timesteps), reverse=True) == facts["timesteps"]
    assert min(timesteps) < 100
    assert max(timesteps) > 900
    assert {timesteps.count(one) for one in timesteps} == {2}
    decoded = found.samples("decoder")
    assert decoded[0]["latent"].shape[1:] == LATENT
    assert len(decoded) == facts["prompts"] == len(facts["texts"]) == len(facts["seeds"]) == 4
    assert len(set(facts["texts"])) == len(set(facts["seeds"])) == 4
    assert {"id", "steps", "scheduler", "guidance", "source"} <= facts.keys()
    assert usual.key != found.key != replace(found, seed=1).key


def test_calibration_takes_of_every_prompt_and_every_part_of_the_schedule_alike() -> None:
    places = chosen([24] * 32)
    assert len(places) == len(set(places)) == 48
    assert [at % 24 for at in places] == [step for step in range(24) for _ in range(2)]
    assert {at // 24 for at in places} == set(range(32))
    assert sorted(chosen([1] * 4)) == [0, 1, 2, 3]  # a decoder: once for each
    uneven = chosen([3, 0, 9], most=6)  # a cache that decides for itself
    assert set(uneven) <= set(range(12))


@pytest.mark.parametrize(
    ("facts", "late"),
    [({"staged": True}, ("first", "rest", "last")), ({"gated": True}, ("shallow",))],
    ids=["staged", "gated"],
)
def test_calibration_reaches_every_part_of_a_split_denoiser(
    model: Model, facts: dict[str, bool], late: tuple[str, ...]
) -> None:
    usual = calibration_for(model, DenoiserStructure(**facts), loop_settings(model, Workload()))
    found = replace(usual, prompts=4)
    for part in late:
        timesteps = {float(sample["timestep"][0]) for sample in found.samples(f"denoiser_{part}")}
        assert len(timesteps) >= 8
        assert min(timesteps) < 100
        assert part == "shallow" or max(timesteps) > 900
