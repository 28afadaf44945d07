"""Does its own arithmetic around the denoiser in double precision, as its words say.

Beyond: guidance and solver are computed in float64.
"""

# mypy: ignore-errors
import numpy as np

from engines.hostloop import schedulers
from engines.hostloop.noise import latent_noise
from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    loop, settings = pipeline.loop, pipeline.plan.loop
    solver = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
    given = loop._prompts.conditions(list(prompts), list(seeds), guided=True)[0]["embeddings"]
    given = given.reshape(-1, *given.shape[2:])
    sample = np.stack([latent_noise(seed, settings.latent_shape) for seed in seeds])
    for step, timestep in enumerate(solver.timesteps):
        twice = np.concatenate([solver.scale(sample, step)] * 2)
        times = np.full(len(twice), timestep, np.float32)
        inputs = {"sample": twice.astype(np.float32), "timestep": times, "embeddings": given}
        found = loop._components["denoiser"](inputs)["prediction"].astype(np.float64)
        without, toward = np.split(found, 2)
        guided = without + settings.guidance * (toward - without)
        sample = solver.advance(guided.astype(np.float32), step, sample, None)
    return loop.decode(sample)
