"""The hub's model card names every repository a model came from, all licences, and nothing private."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from engines.layouts.base import Subject
from engines.layouts.hub import base_models, card
from engines.package.manifest import File
from tests.engines.package_parts import PROMPT, SEED, contents

LORA = File(path="0123456789ab/style.safetensors", sha256="1" * 64, bytes=3)
OTHER = File(path="ba9876543210/lcm.safetensors", sha256="2" * 64, bytes=3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    made = contents(tmp_path_factory.mktemp("parts"))
    return Subject(
        plan=cast("Any", None), model=cast("Any", None), name="tiny-c001", title="three steps", prompt=PROMPT,
        seed=SEED, picture=made.golden, facts=made.facts("tokenizer.json"), licence="",
    )  # fmt: skip


def head(subject: Subject) -> dict[str, Any]:
    """The metadata that the hub reads."""
    from huggingface_hub import ModelCard

    text = card(subject, [{"prompt": "p", "seed": 1, "own": "x.png"}])
    found: dict[str, Any] = vars(ModelCard(text).data)
    return found


def of(subject: Subject, **source: Any) -> Subject:
    changed = subject.facts.source_model.model_copy(update=source)
    return replace(subject, facts=subject.facts.model_copy(update={"source_model": changed}))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("owner/model", ["owner/model"]),
        ("owner/model + style.safetensors", ["owner/model"]),
        ("owner/model + other/lora", ["owner/model", "other/lora"]),
        ("owner/model + student=other/lcm:lcm + tiny-decoder=madebyollin/taesd",
         ["owner/model", "other/lcm", "madebyollin/taesd"]),
        ("sdxl + style.safetensors", []),
        ("tiny-scenes", []),
        ("owner/decoder + owner/prior", ["owner/decoder", "owner/prior"]),
    ],
)  # fmt: skip
def test_base_models_are_the_hubs_repositories_alone(source: str, found: list[str]) -> None:
    assert base_models(source) == found


def test_a_lora_is_a_base_model_and_its_licence_holds_too(plain: Subject) -> None:
    alone = head(of(plain, source="owner/model", licence="Apache-2.0"))
    assert (alone["base_model"], alone["license"]) == ("owner/model", "apache-2.0")
    both = of(
        plain,
        source="owner/model + other/lora + student=lcm.safetensors:lcm",
        licence="openrail++",
        added=(LORA, OTHER),
        added_licences={LORA.path: "CC-BY-NC-4.0"},
    )
    found = head(both)
    assert found["base_model"] == ["owner/model", "other/lora"]
    assert (found["license"], found["license_name"]) == ("other", "openrail++ and CC-BY-NC-4.0")
    text = card(both, [{"prompt": "p", "seed": 1, "own": "x.png"}])
    assert "`style.safetensors`, whose licence is **CC-BY-NC-4.0**" in text
    assert "`lcm.safetensors`, which states no licence" in text
    same = head(of(plain, licence="MIT", added=(LORA,), added_licences={LORA.path: "mit"}))
    assert same["license"] == "mit"


def test_nothing_of_the_makers_machine_is_in_the_card(plain: Subject) -> None:
    text = card(of(plain, source="sdxl + style.safetensors"), [{"prompt": "p", "seed": 1, "own": "x.png"}])
    assert "base_model" not in text
    assert str(Path.home()) not in text
    assert not re.search(r"(?<![\w./-])/(home|root|tmp|Users)/|[A-Z]:\\", text)
