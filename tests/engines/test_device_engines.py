"""What each engine for another device promises beyond the shared contract."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engines import drivers
from engines.backends import backend, directml, parity, providers, torch_graphs
from engines.backends.base import Artifact, Options
from engines.backends.core_ml import CoreMl
from engines.backends.onnx_files import converted, precision_facts
from engines.backends.onnx_runtime import OPTIONS, OnnxRuntime
from engines.backends.providers import PROVIDERS, open_session, settings_for
from engines.backends.split_einsum import attend, split_attention
from engines.backends.torch_graphs import GraphedComponent
from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.errors import BuildError, PackageError
from engines.models.inside import in_a_block
from engines.models.load import open_model
from engines.models.model import Model
from engines.package import components, windows_ml
from engines.package.processors import cores
from engines.plan import Precision
from tests.engines.small_model import LATENT, write_small_model

rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed")
torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao not installed")
coreml = pytest.mark.skipif(find_spec("coremltools") is None, reason="coremltools not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_small_model(tmp_path_factory.mktemp("engines") / "model"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def decoder(model: Model) -> Capture:
    return Capture(model, Structure("decoder", LATENT, decoder="tiny"))


# -- ONNX Runtime's providers


def test_precision_is_written_into_the_file(model: Model) -> None:
    whole = precision_facts(converted(decoder(model), "t") / "model.onnx")
    half = precision_facts(converted(decoder(model), "t", "fp16", directml.OPSET) / "model.onnx")
    assert whole["weights"].get("float16", 0) == 0
    assert half["weights"]["float16"] == whole["weights"]["float"]
    assert half["operators"]["Cast"] >= 2
    assert half["opset"] == directml.OPSET < whole["opset"]


def test_directml_sessions_take_neither_memory_patterns_nor_parallel_execution() -> None:
    import onnxruntime

    plain, dml = settings_for("cpu", OPTIONS), settings_for("directml", OPTIONS)
    assert plain.enable_mem_pattern
    assert not dml.enable_mem_pattern
    assert dml.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or cores() < 2, reason="processors to leave out")
def test_onnx_runtime_uses_the_processors_that_are_left_to_it(model: Model) -> None:
    # It would count the machine's: two threads on one processor wait for each other.
    path = converted(decoder(model), "t") / "model.onnx"
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pathlib import Path; from engines.package.components import load\n"
        "from engines.backends.providers import open_session\n"
        "def grown(open_it):\n"
        "    before = len(os.listdir('/proc/self/task')); kept = open_it()\n"
        "    return len(os.listdir('/proc/self/task')) - before\n"
        "path = Path(sys.argv[1]); import onnxruntime\n"
        "engine = {'engine': 'onnxruntime', 'model_file': path.name}\n"
        "print(grown(lambda: load(path.parent, engine)))\n"
        "print(grown(lambda: load(path.parent, engine | {'options': {'intra_op_num_threads': '3'}})))\n"
        "print(grown(lambda: open_session(path, 'cpu', {})))"
    )
    command = [sys.executable, "-c", code, str(path)]
    one = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert one.stdout.split() == ["0", "2", "0"]


def test_a_provider_that_is_not_in_this_build_is_an_error_and_no_silent_cpu(model: Model) -> None:
    path = converted(decoder(model), "t") / "model.onnx"
    with pytest.raises(BuildError, match=r"CPUExecutionProvider, not DmlExecutionProvider"):
        open_session(path, "directml", OPTIONS)
    assert open_session(path, "cpu", OPTIONS).get_providers() == [PROVIDERS["cpu"]]


@pytest.mark.parametrize(("precision", "bits"), [("w8", 8), ("w4", 4)])
def test_products_keep_their_weights_in_few_bits_and_directml_has_the_operator(
    model: Model, precision: Precision, bits: int
) -> None:
    engine = backend("onnxruntime")
    capture = Capture(model, Structure("denoiser", LATENT))
    plain = engine.build(capture, Options("fp16", device="directml"))
    made = engine.build(capture, Options(precision, device="directml"))
    assert (made.precision, made.fallbacks) == (precision, ())
    assert made.metadata["narrow_products"] == made.metadata["operators"]["MatMulNBits"] > 50
    assert f"in {bits} bits" in made.metadata["build"]["weights"]
    assert made.metadata["left_to_cpu"] == []
    assert made.metadata["bytes"] < plain.metadata["bytes"]
    assert parity.LEAST_PSNR[precision] < made.metadata["parity"]["psnr"] < plain.metadata["parity"]["psnr"]


def test_a_component_without_products_says_that_its_weights_stay(model: Model) -> None:
    made = backend("onnxruntime").build(decoder(model), Options("w4"))
    assert made.precision == "w4"
    assert made.fallbacks == (
        "decoder: ONNX Runtime keeps weights of matrix products alone in 4 bits, and it has none.",
    )


@pytest.mark.parametrize("precision", ["w8", "w4"])
def test_openvino_keeps_weights_in_few_bits_and_computes_in_floats(
    model: Model, precision: Precision
) -> None:
    engine = backend("openvino")
    capture = Capture(model, Structure("denoiser", LATENT))
    plain, made = (engine.build(capture, Options(one)) for one in ("fp32", precision))
    assert (made.precision, made.fallbacks) == (precision, ())
    assert made.metadata["options"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert made.metadata["options"]["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    assert made.metadata["bytes"] < 0.75 * plain.metadata["bytes"]
    assert made.metadata["parity"]["psnr"] < plain.metadata["parity"]["psnr"]
    engine_facts = {"engine": "openvino", "model_file": "model.xml", "options": made.metadata["options"]}
    inputs = capture.example(1)
    found = components.load(made.folder, engine_facts)(inputs)  # as a package's runner opens it
    assert parity.compare(found, capture.reference(inputs))["psnr"] > parity.LEAST_PSNR[precision]


def test_operators_that_directml_lacks_are_listed(model: Model, tmp_path: Path) -> None:
    import onnx

    path = converted(decoder(model), "t", "fp16", directml.OPSET) / "model.onnx"
    assert directml.lacking(path) == []
    graph = onnx.load(str(path))
    graph.graph.node[0].op_type = "NonMaxSuppression"
    graph.graph.node[1].domain, graph.graph.node[1].op_type = "com.microsoft", "MoE"
    onnx.save(graph, tmp_path / "odd.onnx")
    assert directml.lacking(tmp_path / "odd.onnx") == ["NonMaxSuppression", "com.microsoft.MoE"]
    artifact = backend("onnxruntime").build(decoder(model), Options("fp16", device="directml"))
    assert artifact.metadata["left_to_cpu"] == []
    assert artifact.fallbacks == ()


@pytest.mark.parametrize(
    ("device", "whose"), [("directml", "DirectML"), ("windowsml", "DirectML, Windows ML's last resort,")]
)
def test_operators_that_a_device_leaves_to_the_cpu_are_said_with_the_fallbacks(
    model: Model, monkeypatch: pytest.MonkeyPatch, device: str, whose: str
) -> None:
    """A table without the decoder's own operators, as a runtime older than the graph would have."""
    monkeypatch.setattr(directml, "OPERATORS", directml.OPERATORS - {"Conv", "Tanh"})
    engine = OnnxRuntime()
    monkeypatch.setattr(type(engine), "version", lambda _: "1.0")  # an artifact of its own
    artifact = engine.build(decoder(model), Options("fp16", device=device))
    assert artifact.backend == "onnxruntime", artifact.fallbacks
    (said,) = artifact.fallbacks
    assert said.startswith(f"decoder: {whose} has no Conv and no Tanh: computed on the CPU, with")
    assert said in engine.load(artifact).fallbacks


# -- Windows ML's catalogue


@dataclass
class Listed:
    """A provider as `windowsml` lists it; the library is there once it is ready."""

    name: str
    library: str
    library_path: str = ""

    def ensure_ready(self) -> None:
        self.library_path = self.library


class Catalogue:
    """As `windowsml.EpCatalog`: open while it is looked into."""

    def __init__(self, *providers: Listed) -> None:
        self._providers, self._open = providers, False

    def __enter__(self) -> Catalogue:
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False

    def find_all_providers(self) -> tuple[Listed, ...]:
        assert self._open
        return self._providers


class Chosen:
    """Session options that keep what was chosen."""

    def __init__(self) -> None:
        self.devices: list[str] = []

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        assert options == {}
        self.devices += [f"{one.ep_name} {one.device.type.name}" for one in devices]


def ep_device(name: str, kind: str) -> Any:
    return SimpleNamespace(ep_name=name, device=SimpleNamespace(type=SimpleNamespace(name=kind)))


@pytest.fixture(autouse=True)
def _catalogue_anew() -> Iterator[None]:
    windows_ml.register_catalogue.cache_clear()
    yield
    windows_ml.register_catalogue.cache_clear()


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [(("CPU", "NPU", "GPU"), ["MIGraphX GPU"]), (("NPU", "CPU"), ["MIGraphX NPU"]), (("CPU",), [])],
    ids=["a GPU first", "else an NPU", "never the CPU"],
)
def test_windows_ml_registers_what_its_catalogue_holds_and_takes_its_best_device(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], chosen: list[str]
) -> None:
    """A catalogue of the same shape: the real one exists under Windows only."""
    import onnxruntime

    registered: list[tuple[str, str]] = []
    listed = (Listed("MIGraphX", "migraphx.dll"), Listed("Gone", ""))
    fake = SimpleNamespace(EpCatalog=lambda: Catalogue(*listed))
    monkeypatch.setitem(sys.modules, "windowsml", fake)
    monkeypatch.setattr(
        onnxruntime, "register_execution_provider_library", lambda *one: registered.append(one)
    )
    others = [ep_device("SomebodyElses", "GPU")]
    monkeypatch.setattr(
        onnxruntime, "get_ep_devices", lambda: others + [ep_device("MIGraphX", kind) for kind in kinds]
    )
    settings = Chosen()
    for _ in range(2):  # every component opens a session of its own
        assert windows_ml.choose_device(settings) == bool(chosen)
    assert registered == [("MIGraphX", "migraphx.dll")]
    assert settings.devices == chosen * 2


@pytest.mark.parametrize("by", ["the engine", "a package's runner"])
def test_a_windows_ml_session_is_told_its_device_or_says_that_there_is_none(
    model: Model, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """ONNX Runtime itself, told of a device and computing on the CPU; not verified on device."""
    import onnxruntime

    seen: list[list[Any]] = []

    class Settings(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, devices: list[Any], _: dict[str, str]) -> None:
            assert not self.enable_mem_pattern
            seen.append([one.ep_name for one in devices])

    artifact = backend("onnxruntime").build(decoder(model), Options("fp16", device="windowsml"))
    path = artifact.folder / "model.onnx"
    engine = {"engine": "onnxruntime", "model_file": path.name, "device": "windowsml"}
    fake = SimpleNamespace(EpCatalog=lambda: Catalogue(Listed("MIGraphX", "migraphx.dll")))
    monkeypatch.setitem(sys.modules, "windowsml", fake)
    monkeypatch.setattr(components, "find_spec", lambda _: None)
    with pytest.raises(PackageError, match=r"no catalogue of Windows ML's; install onnxruntime-windowsml"):
        components.load(path.parent, engine)
    monkeypatch.setattr(components, "find_spec", lambda _: fake)
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Settings)
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [ep_device("MIGraphX", "NPU")])

    def opened() -> Any:
        if by == "the engine":
            return providers.OnnxComponent(path, OPTIONS, "windowsml")
        return components.load(path.parent, {**engine, "options": dict(OPTIONS)})

    inputs = decoder(model).example(1)
    found = opened()(inputs)
    assert seen == [["MIGraphX"]]
    assert parity.compare(found, decoder(model).reference(inputs))["psnr"] > parity.LEAST_PSNR["fp16"]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", list)
    with pytest.raises((BuildError, PackageError), match="no execution provider for a GPU or NPU"):
        opened()


# -- TensorRT


@rtx
@pytest.mark.skipif(not drivers.nvidia(), reason="what happens without a GPU")
def test_tensorrt_rtx_builds_without_a_gpu_and_its_header_says_so(model: Model) -> None:
    artifact = backend("tensorrt").build(decoder(model), Options("fp16", device="cuda"))
    assert artifact.backend == "tensorrt", artifact.fallbacks
    # Whole and of this version, so without a reason: there is only no card to run it on.
    assert artifact.metadata["header"] == {"state": "INVALID", "reasons": []}
    assert artifact.metadata["profile"] == {"least": 1, "best": 2, "largest": 8}
    assert artifact.metadata["source"]["weights"]["float16"] > 0
    assert (artifact.folder / "model.engine").stat().st_size > 1000
    assert artifact.verified_on == ""


@pytest.mark.slow
@rtx
@pytest.mark.skipif(not drivers.nvidia(), reason="what happens without a GPU")
@pytest.mark.parametrize("capability", [None, (7, 5), (12, 1)], ids=["usual", "turing", "blackwell"])
def test_a_whole_u_net_is_built_without_a_gpu_also_for_cards_that_must_be_asked_for(
    model: Model, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None
) -> None:
    cards = () if capability is None else (drivers.Card("a card", capability),)
    monkeypatch.setattr(drivers, "nvidia_cards", lambda: cards)
    artifact = backend("tensorrt").build(
        Capture(model, Structure("denoiser", LATENT)), Options("fp16", device="cuda")
    )
    assert artifact.backend == "tensorrt", artifact.fallbacks
    assert artifact.metadata["header"] == {"state": "INVALID", "reasons": []}
    own = [] if capability is None else ["SM{}{}".format(*capability)]
    assert artifact.metadata["targets"] == [*own, "SM80", "SM86", "SM89", "SM120"]


@rtx
def test_a_damaged_engine_is_recognised_by_its_header(model: Model) -> None:
    from engines.backends.tensor_rt_build import validity

    engine = backend("tensorrt")
    artifact = engine.build(decoder(model), Options("fp16", device="cuda"))
    content = bytearray((artifact.folder / "model.engine").read_bytes())
    content[:64] = bytes(64)
    header = validity(bytes(content))
    assert header["state"] == "INVALID"
    assert "MALFORMED_ENGINE" in header["reasons"]
    damaged = replace(artifact, metadata={**artifact.metadata, "header": header})
    with pytest.raises(BuildError, match="its header says MALFORMED_ENGINE"):
        engine.examine(damaged)


@rtx
def test_what_tensorrt_cannot_read_is_said_in_its_own_words(tmp_path: Path) -> None:
    from engines.backends.tensor_rt_build import build_engine

    (tmp_path / "odd.onnx").write_bytes(b"no ONNX file")
    with pytest.raises(BuildError, match="TensorRT cannot read its ONNX file"):
        build_engine(tmp_path / "odd.onnx", {}, (1, 2, 8), tmp_path / "cache")


@rtx
def test_an_operator_that_tensorrt_lacks_is_named_with_its_place(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    from engines.backends.tensor_rt_build import build_engine

    node = helper.make_node("Det", ["x"], ["y"], name="node_det")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'blocks', 'blocks.0', 'det']")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "det", [value("x", TensorProto.FLOAT, ["B", 4, 4])], [value("y", TensorProto.FLOAT, ["B"])]
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "det.onnx")
    with pytest.raises(BuildError, match=r"cannot read its ONNX file \(Det in blocks\.0: "):
        build_engine(tmp_path / "det.onnx", {"x": (4, 4)}, (1, 2, 8), tmp_path / "cache")


@rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_timing_is_kept_between_builds_where_tensorrt_measures_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT 11's own path, by TensorRT-RTX, whose library has the same calls; the other cannot be had."""
    import onnx
    from onnx import TensorProto, helper

    from engines.backends import tensor_rt_build, tensor_rt_names

    shape: list[str | int | None] = ["B", 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "relu.onnx")
    for module in (tensor_rt_build, tensor_rt_names):
        monkeypatch.setattr(module, "is_rtx", lambda _: False)
    kept = tmp_path / "kernels.timing"
    for _ in range(2):
        assert tensor_rt_build.build_engine(tmp_path / "relu.onnx", {"x": (4,)}, (1, 2, 8), kept)
        assert kept.is_file()


# -- Core ML


@pytest.mark.parametrize("case", ["plain", "mask", "boolean mask", "causal", "grouped"])
def test_attention_head_by_head_is_the_same_attention(case: str) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8)
    key, value = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 6)
    options: dict[str, object] = {}
    if case == "mask":
        options["attn_mask"] = torch.randn(5, 7)
    elif case == "boolean mask":
        options["attn_mask"] = torch.rand(2, 1, 5, 7) > 0.3
    elif case == "causal":
        key, value = key[:, :, :5], value[:, :, :5]
        options["is_causal"] = True
    elif case == "grouped":
        key, value, options["enable_gqa"] = key[:, :2], value[:, :2], True
    wanted = F.scaled_dot_product_attention(query, key, value, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(attend(query, key, value, **options), wanted, atol=1e-4, rtol=1e-4)  # type: ignore[arg-type]


def test_attention_is_split_while_capturing_only() -> None:
    given = F.scaled_dot_product_attention
    with split_attention():
        assert F.scaled_dot_product_attention is attend
    assert F.scaled_dot_product_attention is given


@coreml
def test_a_core_ml_package_has_the_components_interface_and_half_the_bytes(model: Model) -> None:
    engine = backend("coreml")
    sizes: dict[Precision, int] = {}
    wanted: tuple[Precision, ...] = ("fp32", "fp16")
    for precision in wanted:
        artifact = engine.build(decoder(model), Options(precision, device="coreml"))
        assert artifact.backend == "coreml", artifact.fallbacks
        facts = artifact.metadata
        assert facts["specification"] == 9
        assert [one["name"] for one in facts["functions"]] == ["batch1", "batch2"]
        assert facts["functions"][0]["inputs"] == ["latent"]
        assert facts["functions"][0]["outputs"] == ["image"]
        assert any("conv" in name for name in facts["operators"])
        sizes[precision] = facts["weight_bytes"]
    assert 0.4 < sizes["fp16"] / sizes["fp32"] < 0.7


@pytest.mark.slow
@coreml
def test_the_neural_engine_gets_split_attention_and_the_gpu_the_whole(model: Model) -> None:
    def built(units: str) -> Artifact:
        return CoreMl().build(
            Capture(model, Structure("denoiser", LATENT)),
            Options("fp16", device="coreml", units=units),  # type: ignore[arg-type]
        )

    split, whole = built("neural-engine"), built("gpu")
    assert split.metadata["attention"] == "split-einsum"
    assert any("einsum" in name for name in split.metadata["operators"])
    assert not any("scaled_dot_product" in name for name in split.metadata["operators"])
    assert whole.metadata["attention"] == "whole"
    assert any("scaled_dot_product" in name for name in whole.metadata["operators"])
    assert split.metadata["options"]["compute_units"] == "CPU_AND_NE"
    assert split.key != whole.key


# -- torch on a GPU


@pytest.mark.slow
def test_regions_compiled_in_the_process_equal_eager(model: Model) -> None:
    capture = Capture(model, Structure("denoiser", LATENT))
    component = GraphedComponent(
        Capture(capture.model, capture.structure).module,
        [spec.name for spec in capture.inputs],
        [spec.name for spec in capture.outputs],
        "fp32",
        "cpu",
    )
    assert component.regions >= 2
    inputs = capture.example(2, seed=3)
    assert parity.compare(component(inputs), capture.reference(inputs))["psnr"] > 60


@torchao
def test_torchao_narrows_the_layers_of_blocks_and_no_others(model: Model) -> None:
    module = Capture(model, Structure("denoiser", LATENT)).module.to(torch.bfloat16)
    count = torch_graphs.quantise(module, "int8")
    layers = {name: one for name, one in module.named_modules() if isinstance(one, torch.nn.Linear)}
    narrowed = {name for name, one in layers.items() if type(one.weight) is not torch.nn.Parameter}
    assert len(narrowed) == count > 10
    assert all(".attentions." in name for name in narrowed)
    assert not any("emb" in name for name in narrowed)


def test_embeddings_norms_and_the_outermost_layers_are_no_part_of_a_block() -> None:
    inside = (
        "unet.down_blocks.0.attentions.0.proj_in",
        "transformer_blocks.3.attn.to_q",
        "blocks.1.ff.net.2",
    )
    outside = (
        "unet.time_embedding.linear_1", "down_blocks.0.resnets.1.time_emb_proj", "proj_out", "x_embedder",
        "transformer_blocks.3.norm1.linear", "unet.add_embedding.linear_2", "time_text_embed.guidance.0",
    )  # fmt: skip
    assert all(in_a_block(name) for name in inside)
    assert not any(in_a_block(name) for name in outside)


@torchao
def test_fp8_has_a_scale_for_each_row(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchao import quantization

    asked: list[Any] = []
    monkeypatch.setattr(quantization, "quantize_", lambda _, config, filter_fn: asked.append(config))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch_graphs.quantise(decoder(model).module, "fp8")
    (config,) = asked
    assert type(config).__name__ == "Float8DynamicActivationFloat8WeightConfig"
    assert all(isinstance(one, quantization.PerRow) for one in config.granularity)


@torchao
def test_dynamic_int8_computes_nearly_the_same(model: Model) -> None:
    """Eager: what torch 2.15 writes in C++ for it on a CPU does not compile; compiled it is a card's."""
    capture = Capture(model, Structure("denoiser", LATENT))
    component = GraphedComponent(
        Capture(model, capture.structure).module,
        [spec.name for spec in capture.inputs],
        [spec.name for spec in capture.outputs],
        "int8",
        "cpu",
        compiled=False,
    )
    assert component.quantised > 10
    for batch in (1, 2):
        inputs = capture.example(batch, seed=3)
        found = parity.compare(component(inputs), capture.reference(inputs))["psnr"]
        assert parity.LEAST_PSNR["int8"] < found < 60


def test_without_torchao_int8_and_fp8_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_graphs, "find_spec", lambda _: None)
    for precision in ("fp8", "int8"):
        reason = backend("compile").objection(precision, "cuda")
        assert reason.startswith("torchao is not installed (")
        assert "torchao" in reason.partition("(")[2]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("torch", "fp32"), ("torch", "fp16"), ("torch", "bf16"), ("compile", "fp32"), ("compile", "fp16"),
        ("compile", "bf16"), ("compile", "fp8"), ("compile", "int8"), ("onnxruntime", "fp32"),
        ("onnxruntime", "fp16"), ("tensorrt", "fp32"), ("tensorrt", "fp16"), ("tensorrt", "bf16"),
    ],
)  # fmt: skip
def test_an_nvidia_gpu_computes_what_eager_computes(model: Model, name: str, precision: str) -> None:
    engine = backend(name)
    availability = engine.probe("cuda")
    objection = engine.objection(precision, "cuda")  # type: ignore[arg-type]
    if availability.state != "ready" or objection:
        pytest.skip(objection or availability.reason)
    capture = Capture(model, Structure("denoiser", LATENT))
    artifact = engine.build(capture, Options(precision, device="cuda"))  # type: ignore[arg-type]
    if artifact.precision != precision and "SM" in " ".join(artifact.fallbacks):
        pytest.skip(artifact.fallbacks[0])
    assert (artifact.backend, artifact.precision) == (name, precision), artifact.fallbacks
    assert artifact.verified_on == "an NVIDIA GPU"
    loaded = engine.load(artifact)
    assert loaded.fallbacks == ()
    for batch in (1, 2, 9):
        inputs = capture.example(batch, seed=5)
        found = loaded.component(inputs)
        assert np.isfinite(found["prediction"]).all()
        least = parity.LEAST_PSNR[artifact.precision]
        assert parity.compare(found, capture.reference(inputs))["psnr"] > least
