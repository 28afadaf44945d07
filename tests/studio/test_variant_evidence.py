"""What a package says of each variant is that variant's own: its machine, its parity, its proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engines import drivers
from engines.backends import backend
from engines.backends.base import Options
from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.models.load import open_model
from engines.package.evidence import Verification
from engines.package.extend import extend
from engines.package.write import EngineFiles, amend, write
from studio.work.package_contents import engine_files, target_of
from studio.work.trust import variants
from tests.engines.package_parts import contents
from tests.engines.small_model import LATENT, write_small_model

COMPONENTS = ("text_encoder", "denoiser", "decoder")


def in_bf16(part: EngineFiles) -> EngineFiles:
    return replace(part, engine=part.engine.model_copy(update={"precision": "bf16"}))


@pytest.mark.parametrize(
    ("ran", "proved"),
    [
        ({}, {"onnxruntime-cpu-fp32"}),  # a package from before variants were told
        (
            dict.fromkeys(COMPONENTS, "onnxruntime-cpu-bf16"),
            {"onnxruntime-cpu-bf16"},
        ),
        ({"denoiser": "onnxruntime-cpu-bf16"}, set()),
    ],
)
def test_a_proof_of_one_variant_is_none_of_another_with_the_same_engine(
    tmp_path: Path, ran: dict[str, str], proved: set[str]
) -> None:
    plain, place = contents(tmp_path), tmp_path / "package"
    write(plain, place)
    extend(place, [in_bf16(part) for part in plain.engines])
    check = Verification(
        time=datetime(2026, 1, 2, tzinfo=UTC), target=plain.engines[0].built_for, python="3.11.2",
        fresh_environment=True, psnr=100, max_abs=0, seconds=0.1, variants=ran,
    )  # fmt: skip
    found = amend(place, lambda facts: facts.model_copy(update={"verified_on": (check,)}))
    rows = {row["name"]: row["verified"] for row in variants(found.manifest)}
    assert set(rows) == {"onnxruntime-cpu-fp32", "onnxruntime-cpu-bf16"}
    assert {name for name, verified in rows.items() if verified} == proved


def test_what_was_built_for_a_device_that_is_not_here_is_not_said_to_be_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    captured = Capture(
        open_model(write_small_model(tmp_path / "model")), Structure("decoder", LATENT, decoder="tiny")
    )
    engine = backend("onnxruntime")
    here = engine_files(engine.build(captured, Options("fp32")))
    if not engine.absent("directml"):
        pytest.skip("this machine has DirectML")
    there = engine_files(engine.build(captured, Options("fp32", device="directml")))
    assert (here.built_for.device, here.built_for.system != "", here.built_for.processor != "") == (
        "cpu", True, True,
    )  # fmt: skip
    assert (there.built_for.device, there.built_for.system, there.built_for.machine) == (
        "directml", "Windows", "",
    )  # fmt: skip
    assert there.build_options["batch"] == "dynamic"
    assert (there.built_for.processor, there.built_for.instruction_sets) == ("", ())
    assert here.parity is not None
    assert there.parity is not None
    assert here.parity.stand_in == ""
    assert there.parity.stand_in == engine.stand_in("directml") != ""


def test_a_card_and_the_oldest_driver_are_told_where_an_engine_computes_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = drivers.Card("NVIDIA GeForce RTX 4090", (8, 9))
    monkeypatch.setattr(drivers, "nvidia_cards", lambda: (card,))
    found = target_of("onnxruntime", "1.31.1", "cuda")
    assert (found.gpu, found.compute_capability, found.driver) == (card.name, "8.9", "580")
    assert target_of("onnxruntime", "1.31.1").gpu == ""
