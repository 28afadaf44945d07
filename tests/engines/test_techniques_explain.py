"""Why techniques go together or do not: the rules are whole, and the answers follow from them."""

from __future__ import annotations

import pytest

from engines.errors import EngineError, TechniqueError
from engines.techniques.explain import Explanation, explain
from engines.techniques.facts import knowledge, knowledge_file
from engines.techniques.rules import parse, rules

RULES = knowledge_file().with_name("compatibility.toml")


def reasons(found: Explanation) -> str:
    return " ".join(one.reason for one in found.findings)


def test_all_twenty_four_rules_are_there_with_reason_and_source() -> None:
    found = rules().rules
    assert {rule.number for rule in found} == set(range(1, 25))
    for rule in found:
        assert rule.reason.endswith(".")
        assert rule.source


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("deepcache + cuda-graphs", "if", "Capture each branch"),
        ("cuda-graphs + deepcache", "if", "Capture each branch"),
        ("torchao", "if", "needs torch.compile"),
        ("torchao + torch.compile", "yes", "fuses the rounding"),
        ("cuda graphs + dynamic shapes", "no", "fixed shapes"),
        ("fbcache + openvino", "yes", "the host loop decides"),
        ("lcm + fbcache", "no", "eats the gain"),
        ("lcm + teacache", "no", "1.12-1.33x"),
        ("lightning + scheduler", "no", "drifts with another"),
        ("sdxl-turbo + cfg-cutoff", "no", "no second pass"),
        ("turbo + lcm-lora", "no", "One distillation at a time"),
        ("deepcache + fbcache", "no", "One cache at a time"),
        ("guidance-interval + turbo", "no", "no second pass"),
        ("adaptive-guidance + turbo", "no", "no second pass"),
        ("deepcache + turbo", "no", "1.12-1.33x"),
        ("fbcache + schnell", "no", "1.12-1.33x"),
        ("teacache + schnell", "no", "1.12-1.33x"),
        ("gguf + openvino", "no", "no graph of another engine"),
        ("nf4 + int8", "no", "rounded once"),
        ("adaptive-guidance + flux", "no", "no second pass"),
        ("adaptive-guidance + cfg-cutoff", "no", "Both say when guidance ends"),
        ("adaptive-guidance + lcm", "no", "no two passes to compare"),
        ("adaptive-guidance + openvino", "yes", "one row in place of two"),
        ("adaptive-guidance + cuda graphs", "if", "a graph of its own"),
        ("teacache + openvino", "yes", "the host loop decides"),
        ("teacache + unet", "no", "equal blocks"),
        ("magcache + dbcache", "no", "One rule at a time"),
        ("dbcache + torch.compile", "yes", "outside the compiled code"),
        ("cfg-cutoff + flux", "no", "no second pass"),
        ("lora + int8", "if", "merged first"),
        ("sageattention + sd15", "no", "40, 80 and 160"),
        ("skip-softmax + sd15", "no", "40, 80 and 160"),
        ("skip-softmax + sageattention", "no", "One attention kernel"),
        ("deepcache + dit", "no", "use threshold-cache"),
        ("t-gate + dit", "if", "Hunyuan-DiT have it"),
        ("t-gate + deepcache", "yes", "go together"),
        ("t-gate + wan", "no", "6.0 GB"),
        ("teacache + wan", "yes", "Nothing"),
        ("fused groupnorm + compile", "no", "fuse norms by themselves"),
        ("fp8 + ampere", "no", "begins with Ada"),
        ("int8 + directml", "no", "use fp16"),
        ("int8 + bf16", "no", "one precision"),
        ("int8", "if", "add one of these engines"),
        ("int8 + openvino", "yes", "Nothing keeps them apart"),
        ("dpm++ + fewer-steps + openvino", "yes", "Nothing keeps them apart"),
        ("weight-bits + openvino", "yes", "Nothing keeps them apart"),
        ("svdquant + openvino", "yes", "Nothing keeps them apart"),
        ("svdquant + weight-bits", "no", "svdquant brings its own"),
        ("svdquant + coreml", "no", "which weights to leave as they are"),
        ("nunchaku + hopper", "no", "no 4-bit integer product"),
        ("dynamic batching", "if", "`pareto-studio serve` gathers them"),
        ("dynamic batching + static engine", "no", "refuses every other"),
        ("tome + pab", "unknown", ""),
        ("tiny-decoder + vae tiling", "no", "advises against"),
    ],
)
def test_an_answer_follows_from_the_rules(question: str, answer: str, words: str) -> None:
    found = explain(question)
    assert found.answer == answer
    assert words in reasons(found)


CATALOGUE = """
dpm++, unipc, lcm, lcm-lora, lightning, turbo, hyper-sd, dmd2, fp16, bf16, tf32, fp32, fp8, int8,
smoothquant, svdquant, nvfp4, int8wo, weight-only, palettes, torch.compile, cuda graphs, channels-last,
fused-qkv, sdpa, flashattention, xformers, sageattention, deepcache, fbcache, teacache, dbcache, taylorseer,
magcache, t-gate, tome, cfg-cutoff, limited-interval-guidance, adaptive-guidance, cfg-sequential,
prompt-embedding-cache, vae-tiling, vae-slicing, taesd, ralu, 2:4, structured-pruning, skip-softmax,
batching, offload, group-offload, layerwise-casting, nf4, gguf, bnb
"""


@pytest.mark.parametrize("word", CATALOGUE.replace("\n", " ").split(","))
def test_every_primitive_of_the_field_is_a_technique_or_says_what_is_here_instead(word: str) -> None:
    (effect,) = explain(word.strip()).effects
    own = rules().subject(word.strip()).kind == "technique"
    assert own == (not effect.here)
    assert own or effect.here.endswith(".")
    assert effect.sources


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("taylorseer", "feature-forecast"),
        ("limited-interval-guidance", "guidance-interval"),
        ("adaptive-guidance", "adaptive-guidance"),
        ("weight-only", "weight-bits/8"),
        ("mag-cache", "magcache"),
        ("dual-block-cache", "dbcache"),
    ],
)
def test_a_name_of_the_field_means_what_it_says(word: str, name: str) -> None:
    assert explain(word).names == (name,)


def test_every_pair_of_techniques_is_answered_as_the_check_would() -> None:
    names = list(knowledge().techniques)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            excluded = any({one, other} == rule.between for rule in knowledge().exclusions)
            found = explain(f"{one} + {other}")
            assert found.answer != "unknown"
            assert not excluded or found.answer == "no"


def test_the_order_is_that_of_recipes_and_methods_of_the_field_have_their_place() -> None:
    found = explain("cuda graphs + int8 + deepcache + fewer-steps + lora")
    assert found.order == ("lora", "fewer-steps", "feature-cache", "cuda-graphs", "int8")
    assert "before a cache is enabled" in found.order_reason


def test_the_effect_is_the_knowledge_files_with_its_sources() -> None:
    found = explain("deepcache + openvino")
    cache, engine = found.effects
    facts = knowledge().techniques["feature-cache"]
    assert (cache.speed, cache.factor, cache.sources) == (facts.speed, facts.factor, facts.sources)
    assert engine.factor is not None
    assert found.together == (facts.factor[0] * engine.factor[0], facts.factor[1] * engine.factor[1])


def test_it_answers_for_a_device() -> None:
    assert explain("bf16 + tensorrt", device="cuda").answer == "yes"
    refused = explain("openvino", device="cuda")
    assert refused.answer == "no"
    assert "does not serve cuda" in reasons(refused)
    with pytest.raises(TechniqueError, match="There is no device 'toaster'; choose one of cpu"):
        explain("int8", device="toaster")


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(TechniqueError, match=r"'depcache'; did you mean deepcache \(feature-cache here\)"):
        explain("depcache + openvino")
    with pytest.raises(TechniqueError, match=r"'zzz'; this program has student, "):
        explain("zzz")
    with pytest.raises(TechniqueError, match="No technique was named"):
        explain(" + ")


def test_one_thing_under_two_names_is_said() -> None:
    with pytest.raises(TechniqueError, match="deepcache and feature-cache are both feature-cache here"):
        explain("deepcache + feature-cache")
    with pytest.raises(TechniqueError, match="both engine here"):
        explain("openvino + tensorrt")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema = 1", "schema = 2", "schema must be 1"),
        ('deepcache = "feature-cache"', 'deepcache = "feature-cash"', "the alias deepcache"),
        ('second = ["dynamic-shapes"]', 'second = ["warp"]', "about warp"),
        ('verdict = "no"', 'verdict = "perhaps"', "says perhaps"),
        ('kind = "device"', 'kind = "toaster"', "toaster"),
        ("[[rule]]", "[[rules]]", "rule"),
    ],
)
def test_a_damaged_file_is_refused(old: str, new: str, words: str) -> None:
    text = RULES.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(EngineError, match=words):
        parse(text.replace(old, new, 1))
