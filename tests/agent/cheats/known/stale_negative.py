"""Computes the pass without the prompt at the first step only and uses its answer ever after."""

# mypy: ignore-errors
import numpy as np

from engines.pipeline import build, plan


def load(model, device, workload):
    pipeline = build(plan(model, device, workload, ()))
    denoiser, kept = pipeline.loop._components["denoiser"], {}

    def half(inputs):
        rows = len(inputs["sample"]) // 2
        if inputs["timestep"][0] >= kept.get("timestep", 0.0) or rows not in kept:
            kept[rows] = denoiser(inputs)["prediction"][:rows]
        kept["timestep"] = inputs["timestep"][0]
        fresh = denoiser({name: value[rows:] for name, value in inputs.items()})["prediction"]
        return {"prediction": np.concatenate([kept[rows], fresh])}

    pipeline.loop._components["denoiser"] = half
    return pipeline


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
