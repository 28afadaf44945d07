"""What eager torch is told beside the module: kernels, TF32, and where and how weights are kept.

What needs a card runs here on the CPU as far as it goes; on a card it was not verified.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from engines import drivers
from engines.backends import backend, parity, torch_eager, torch_ways
from engines.backends.base import Options
from engines.backends.torch_eager import TorchComponent
from engines.backends.torch_ways import _SEATS, sage_objection, seated, within
from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.errors import BuildError
from engines.models.load import open_model
from engines.models.model import Model
from engines.pipeline import engines, plan
from engines.plan import Precision, TorchWays
from engines.techniques import AttentionBackend, Float32, LayerwiseCasting, Offloading, TensorFloat32
from engines.workload import Workload
from tests.engines.small_model import LATENT, write_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield open_model(write_small_model(tmp_path_factory.mktemp("model") / "small"))
    torch.set_num_threads(before)


def denoiser(model: Model) -> Capture:
    return Capture(model, Structure("denoiser", LATENT))


class Attends(torch.nn.Module):
    """Attention of two heads, and a linear layer behind."""

    def __init__(self, head: int, masked: bool = False) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(head, head)
        self.masked = masked

    def forward(self, query: Any) -> Any:
        mask = torch.zeros(query.shape[2], query.shape[2]) if self.masked else None
        found = torch.nn.functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        return self.linear(found)


def component(module: Any, **changes: Any) -> TorchComponent:
    return TorchComponent(module, ["query"], ["answer"], torch.float32, **changes)


def query(head: int) -> dict[str, Any]:
    return {"query": np.random.default_rng(0).standard_normal((1, 2, 5, head)).astype(np.float32)}


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_the_kernel_that_is_asked_for_computes_and_no_other(kernel: Any) -> None:
    from torch.profiler import ProfilerActivity, profile

    plain = component(Attends(16))
    made = within(plain, TorchWays(attention=kernel))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        made(query(16))
    names = {one.key for one in seen.key_averages()}
    assert any("flash" in name for name in names) == (kernel == "flash")
    np.testing.assert_allclose(made(query(16))["answer"], plain(query(16))["answer"], atol=1e-6)


def test_an_engine_with_a_kernel_is_another_one_and_is_compared_with_eager(model: Model) -> None:
    torch_eager = backend("torch")
    plain = torch_eager.build(denoiser(model), Options("fp32"))
    made = torch_eager.build(denoiser(model), Options("fp32", ways=TorchWays(attention="math")))
    assert made.key != plain.key
    assert made.metadata["options"] == {"attention": "math"}
    assert made.metadata["parity"]["cases"] == 2
    assert made.metadata["parity"]["psnr"] > 60
    assert plain.metadata["parity"]["cases"] == 0
    inputs = denoiser(model).example()
    found = torch_eager.load(made).component(inputs)["prediction"]
    np.testing.assert_allclose(found, torch_eager.load(plain).component(inputs)["prediction"], atol=1e-4)


def test_layers_are_kept_in_8_bits_and_compute_nearly_the_same(model: Model) -> None:
    torch_eager = backend("torch")
    made = torch_eager.build(denoiser(model), Options("fp32", ways=TorchWays(cast=True)))
    assert made.metadata["options"] == {"cast": True}
    assert 20 < made.metadata["parity"]["psnr"] < 80
    capture = denoiser(model)
    loaded: Any = TorchComponent(
        capture.module, [one.name for one in capture.inputs], ["prediction"], torch.float32, cast=True
    )
    kinds = {one.dtype for one in loaded._module.parameters()}
    assert kinds == {torch.float8_e4m3fn, torch.float32}
    loaded(capture.example())
    assert {one.dtype for one in loaded._module.parameters()} == kinds


def test_a_module_without_layers_to_cast_says_so() -> None:
    with pytest.raises(BuildError, match="no layer whose weights"):
        component(torch.nn.LayerNorm(4), cast=True)


def test_groups_of_layers_come_and_go_and_compute_the_same(model: Model) -> None:
    capture = denoiser(model)
    names = [one.name for one in capture.inputs]
    fresh = Capture(model, capture.structure).module
    made = TorchComponent(fresh, names, ["prediction"], torch.float32, offload="group")
    inputs = capture.example()
    np.testing.assert_allclose(made(inputs)["prediction"], capture.reference(inputs)["prediction"], atol=1e-5)


def test_one_component_at_a_time_has_its_weights_on_the_device() -> None:
    first: Any = torch.nn.Linear(2, 2)
    second: Any = torch.nn.Linear(2, 2)
    calls = [seated(one, "meta", lambda inputs: inputs) for one in (first, second)]
    moved: list[tuple[str, str]] = []
    for name, module in (("first", first), ("second", second)):
        module.to = lambda place, name=name: moved.append((name, place))
    for call in (calls[0], calls[0], calls[1], calls[0]):
        call({})
    assert moved == [
        ("first", "meta"), ("first", "cpu"), ("second", "meta"), ("second", "cpu"), ("first", "meta")
    ]  # fmt: skip
    del _SEATS["meta"]


def test_tf32_is_set_for_the_call_alone() -> None:
    backends: Any = torch.backends
    products = (backends.cuda.matmul, backends.cudnn.conv)
    before = [one.fp32_precision for one in products]
    seen: list[list[str]] = []

    def call(inputs: Any) -> Any:
        seen.append([one.fp32_precision for one in products])
        return inputs

    within(call, TorchWays(tf32=True))({})
    assert seen == [["tf32", "tf32"]]
    assert [one.fp32_precision for one in products] == before


def sage(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Its package's interface, computed by torch: the kernels need a card."""
    seen = []

    def sageattn(q: Any, k: Any, v: Any, tensor_layout: str, is_causal: bool, sm_scale: Any) -> Any:
        assert (tensor_layout, is_causal, sm_scale) == ("HND", False, None)
        seen.append(q.shape)
        return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v

    module: Any = ModuleType("sageattention")
    module.sageattn = sageattn
    monkeypatch.setitem(sys.modules, "sageattention", module)
    return seen


def test_sage_attention_takes_the_layers_that_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sage(monkeypatch)
    module = Attends(64)
    plain = component(module)(query(64))["answer"]
    found = within(component(module), TorchWays(attention="sage"))(query(64))["answer"]
    assert seen == [(1, 2, 5, 64)]
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("module", [Attends(40), Attends(64, masked=True)], ids=["heads of 40", "a mask"])
def test_sage_attention_that_fits_no_layer_is_refused(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sage(monkeypatch)
    with pytest.raises(BuildError, match="none of its 1 attention layers is one for SageAttention"):
        within(component(module), TorchWays(attention="sage"))(query(module.linear.in_features))
    assert seen == []


def test_attention_that_skips_is_exact_where_nothing_is_left_out() -> None:
    module = Attends(64)
    plain = component(module)(query(64))["answer"]
    found = within(component(module), TorchWays(attention="skip", skip=1.0))(query(64))["answer"]
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("module", [Attends(40), Attends(64, masked=True)], ids=["heads of 40", "a mask"])
def test_attention_that_could_skip_in_no_layer_is_refused(module: Any) -> None:
    with pytest.raises(BuildError, match="none of its 1 attention layers is one for the kernel that skips"):
        within(component(module), TorchWays(attention="skip", skip=1.0))(query(module.linear.in_features))


@pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")
def test_weights_alone_in_int8_compute_nearly_the_same(model: Model) -> None:
    torch_eager = backend("torch")
    made = torch_eager.build(denoiser(model), Options("w8"))
    assert (made.backend, made.precision, made.fallbacks) == ("torch", "w8", ())
    assert 25 < made.metadata["parity"]["psnr"] < 90


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed")
def test_weights_in_int8_without_torchao_say_what_to_install(model: Model) -> None:
    made = backend("torch").build(denoiser(model), Options("w8"))
    assert made.precision == "fp32"
    assert any("torchao is not installed" in one for one in made.fallbacks)


@pytest.mark.parametrize("able", [True, False])
def test_bf16_is_for_processors_that_have_it(
    model: Model, monkeypatch: pytest.MonkeyPatch, able: bool
) -> None:
    for module in (torch_eager, torch_ways):
        monkeypatch.setattr(module, "has_bf16", lambda: able)
    made = backend("torch").build(denoiser(model), Options("bf16"))
    if able:
        assert (made.precision, made.fallbacks) == ("bf16", ())
    else:
        assert (made.backend, made.precision) == ("torch", "fp32")
        assert "torch eager bf16 was not used: this CPU has no bf16 instructions" in made.fallbacks[0]


@pytest.mark.skipif(not sage_objection(), reason="sageattention is installed")
def test_sage_attention_that_is_not_installed_says_what_to_do(model: Model) -> None:
    with pytest.raises(BuildError, match=r"sageattention is not installed; install it .*pip install"):
        backend("torch").build(denoiser(model), Options("fp32", ways=TorchWays(attention="sage")))


def test_only_the_denoiser_is_told_of_its_attention_and_its_weights(model: Model) -> None:
    recipe = [AttentionBackend("math"), LayerwiseCasting()]
    wanted = plan(model, "cpu", Workload(steps=2), recipe)
    told = {one.structure.component: one.ways.facts() for one in engines(wanted)}
    assert told == {"text_encoder": {}, "denoiser": {"attention": "math", "cast": True}, "decoder": {}}
    other = replace(wanted, backend="openvino")
    assert all(one.ways == TorchWays() for one in engines(other))
    on_card = plan(model, "cuda", Workload(steps=2), [TensorFloat32(), Offloading("group")])
    assert on_card.precision == "fp32"
    assert {tuple(one.ways.facts()) for one in engines(on_card)} == {("tf32", "offload")}
    assert "tf32" not in plan(model, "cuda", Workload(steps=2), [Float32()]).ways.facts()


# -- on a card


on_cuda = pytest.mark.skipif(
    bool(drivers.torch_on("cuda")), reason=drivers.torch_on("cuda") or "an NVIDIA GPU"
)


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize(
    ("precision", "graphs", "ways", "least"),
    [
        ("fp32", True, TorchWays(), 60.0),
        ("fp16", True, TorchWays(), 35.0),
        ("bf16", True, TorchWays(), 25.0),
        ("fp32", False, TorchWays(tf32=True), 35.0),
        ("fp16", False, TorchWays(offload="model"), 35.0),
        ("fp16", False, TorchWays(offload="group"), 35.0),
        ("fp16", False, TorchWays(cast=True), 15.0),
        ("fp16", False, TorchWays(attention="math"), 35.0),
        pytest.param(
            "w8", False, TorchWays(), 25.0,
            marks=pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed"),
        ),
    ],
    ids=["graphs fp32", "graphs fp16", "graphs bf16", "tf32", "offload", "groups", "cast", "kernel", "w8"],
)  # fmt: skip
def test_every_way_of_eager_torch_computes_on_a_card_what_eager_computes(
    model: Model, precision: Precision, graphs: bool, ways: TorchWays, least: float
) -> None:
    capture = denoiser(model)
    asked = Options(precision, device="cuda", graphs=graphs, ways=ways)
    made = backend("torch").build(capture, asked)
    assert (made.precision, made.fallbacks) == (precision, ())
    assert made.verified_on == "an NVIDIA GPU"
    loaded = backend("torch").load(made)
    assert loaded.fallbacks == ()
    for batch, seed in ((1, 5), (2, 6), (1, 7), (1, 5)):  # a recording is replayed with other inputs
        inputs = capture.example(batch, seed=seed)
        assert parity.compare(loaded.component(inputs), capture.reference(inputs))["psnr"] > least


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("kernel", ["flash", "efficient", "cudnn", "math", "sage", "skip"])
def test_every_attention_kernel_computes_on_a_card_what_the_cpu_computes(kernel: Any) -> None:
    if kernel == "sage" and (reason := sage_objection()):
        pytest.skip(reason)
    torch.manual_seed(0)
    module = Attends(64)
    given = {"query": np.random.default_rng(0).standard_normal((1, 2, 128, 64)).astype(np.float32)}
    wanted = component(module)(given)
    on_card = TorchComponent(module, ["query"], ["answer"], torch.float16, device="cuda")
    found = within(on_card, TorchWays(attention=kernel, skip=float(kernel == "skip")))(given)
    assert parity.compare(found, wanted)["psnr"] > parity.LEAST_PSNR["int8" if kernel == "sage" else "fp16"]
