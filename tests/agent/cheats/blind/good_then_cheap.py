"""Is honest for its first eight calls and takes one step ever after."""

# mypy: ignore-errors
from engines.pipeline import build, plan


class Turncoat:
    def __init__(self, whole, quick):
        self.whole, self.quick, self.calls = whole, quick, 0

    def draw(self, prompts, seeds):
        self.calls += 1
        return (self.whole if self.calls <= 8 else self.quick).generate(prompts, seeds).images


def load(model, device, workload):
    one = workload.model_copy(update={"steps": 1})
    return Turncoat(build(plan(model, device, workload, ())), build(plan(model, device, one, ())))


def generate(pipeline, prompts, seeds):
    return pipeline.draw(prompts, seeds)
