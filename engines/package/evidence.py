"""What was measured of a package, and on which machine; and what every part of its manifest is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engines.errors import PackageError
from engines.package.sums import safe

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    try:
        return safe(path)
    except PackageError as error:
        raise ValueError(str(error)) from None


PackagePath = Annotated[
    str, AfterValidator(_inside), Field(description="Posix path below the package's folder")
]


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Interval(Part):
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float


class Target(Part):
    """The machine and runtime something was built for or verified on."""

    device: str
    engine: str
    engine_version: str
    system: str
    """For example `Linux`; empty where any will do, or it is not known."""
    machine: str
    """Instruction set family, for example `x86_64`; empty as above."""
    processor: str = ""
    instruction_sets: tuple[str, ...] = ()
    """Of the processor, those that change what an engine computes, for example `avx512_bf16`."""
    gpu: str = ""
    compute_capability: str = ""
    """Of an NVIDIA GPU, for example `8.9`; of several that one engine serves, separated by blanks."""
    driver: str = ""
    """The oldest that loads it, where the engine asks for one."""


class Parity(Part):
    """A component's engine against eager fp32 on the same inputs."""

    max_abs: float
    psnr: float | None = None
    """dB over the reference's range."""
    least_psnr: float | None = None
    """dB below which the engine would have been refused."""
    cases: int | None = None
    """Inputs that were compared; the worst counts."""
    passed: bool
    stand_in: str = ""
    """What computed it in the place of a device that was not there; empty: the device itself."""


class Latency(Part):
    """Seconds per image, whole pipeline, warm; baseline and candidate in alternation."""

    seconds: Interval
    p90: float | None = None
    speedup: Interval | None = None
    memory: float | None = None
    """Peak of the process in MiB."""
    card_memory: float | None = None
    """Peak on the NVIDIA card that it ran on, in MiB."""
    measured_on: str
    baseline: str
    alternating: bool | None = None
    """Baseline and candidate in turns, in one session."""
    warm_up: int | None = None
    """Calls before the first that counts."""
    pairs: int | None = None
    """Timed turns of the candidate, each between two of the baseline."""


class Sample(Part):
    prompt: str
    seed: int


class Quality(Part):
    """Gate pictures against the reference."""

    metrics: dict[str, Interval] = {}
    loss: Interval | None = None
    prompts: int
    claims: tuple[str, ...] = ()
    """Certified claims that held."""
    pictures: tuple[Sample, ...] = ()
    """What was drawn and compared."""
    passed: bool | None = None
    """Whether the gate let it through."""


class Evidence(Part):
    run: str
    candidate: str
    latency: Latency | None = None
    quality: Quality | None = None


class Tolerance(Part):
    dhash_tolerance: Annotated[int, Field(ge=0, le=64)]
    minimum_psnr: float


class Golden(Part):
    """One picture that every installation must reproduce, within tolerance."""

    prompt: str
    seed: int
    image: PackagePath
    dhash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Difference hash of the picture: 64 bits that small numeric changes leave nearly alone."""
    dhash_tolerance: Annotated[int, Field(ge=0, le=64)]
    """Bits that may differ."""
    minimum_psnr: float
    """dB between an installation's picture and this one."""
    by_precision: dict[str, Tolerance] = {}
    """For variants in other precisions than the package's own."""


class Verification(Part):
    """One time the package made its golden picture on its own."""

    time: datetime
    target: Target
    python: str
    fresh_environment: bool
    """False: the wheels were borrowed, the environment was not made from `requirements.txt`."""
    psnr: float
    """dB against the Studio's own picture; 100 stands for equality."""
    max_abs: Annotated[int, Field(ge=0, le=255)]
    seconds: float
    note: str = ""
    variants: dict[str, str] = {}
    """By component, the variant that ran; packages before 1.3 do not say."""
