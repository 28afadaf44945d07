"""int8 where sums of products overflow: weights leave half their range free, and the engine says so."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from engines.backends import backend, half_range
from engines.backends.base import Options
from engines.models.load import open_model
from engines.models.small.families import write
from engines.models.small.workloads import workload_of
from engines.pipeline import plan, prepare
from engines.techniques import Engine, Int8

ENGINES = ["onnxruntime", "openvino"]


@pytest.mark.parametrize("machine", ["x86_64", "AMD64", "arm64", "aarch64"])
def test_processors_but_x86_add_in_32_bits(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    half_range.has_vnni.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(half_range, "Path", lambda _: Flags("flags: avx2 fma"))
    assert half_range.has_vnni() == machine.startswith("a")
    half_range.has_vnni.cache_clear()
    monkeypatch.setattr(half_range, "Path", lambda _: Flags("flags: avx2 avx_vnni"))
    assert half_range.has_vnni()
    half_range.has_vnni.cache_clear()


class Flags:
    """A processor's flags, as Linux lists them."""

    def __init__(self, text: str) -> None:
        self.text = text

    def is_file(self) -> bool:
        return True

    def read_text(self, **_: object) -> str:
        return self.text


@pytest.mark.parametrize("name", ENGINES)
def test_only_int8_on_such_a_processor_is_built_anew(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = backend(name)
    for able in (True, False):
        monkeypatch.setattr(half_range, "has_vnni", lambda able=able: able)
        assert ("half range" in engine.settings(Options("int8"))) is not able
        assert engine.settings(Options("fp32")) == ()


@pytest.mark.slow
@pytest.mark.skipif(half_range.has_vnni(), reason="nothing overflows on this processor")
@pytest.mark.parametrize("name", ENGINES)
def test_a_decoder_in_half_the_range_is_far_closer(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    model = open_model(write("sd15", tmp_path / "sd15"))
    workload = workload_of("sd15").model_copy(update={"steps": 6})
    found = []
    for able in (True, False):
        monkeypatch.setattr(half_range, "has_vnni", lambda able=able: able)
        decoder = prepare(plan(model, "cpu", workload, [Int8(), Engine(name)]))[-1]
        assert decoder.precision == "int8", decoder.fallbacks
        assert decoder.metadata["build"].get("range") == (None if able else half_range.NOTE)
        found.append(decoder.metadata["parity"]["psnr"])
    assert found[1] > found[0] + 6
