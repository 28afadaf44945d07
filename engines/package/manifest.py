"""The manifest of a package: what it is, where it comes from, and what was measured.

Layout and top-level keys are those of the ONNX Runtime model package, schema
1.0: `manifest.json` -> components -> variants, each variant in a
content-addressed folder `shared_assets/sha256-<hex>`.  What that format leaves
free (`additional_metadata`, `executor_info`) is strict here too.  The package's
id is the digest of `SHA256SUMS`, which covers the manifest; so the manifest
cannot hold it.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from engines.errors import PackageError
from engines.hostloop.settings import LoopSettings
from engines.package.evidence import (
    Digest,
    Evidence,
    Golden,
    Interval,
    PackagePath,
    Parity,
    Part,
    Target,
    Verification,
)
from engines.package.sums import AGAIN

SCHEMA_VERSION: Final = "1.4"
MAJOR, MINOR = (int(part) for part in SCHEMA_VERSION.split("."))


class File(Part):
    """A file of a variant."""

    path: PackagePath
    """Relative to the variant's folder."""
    sha256: Digest
    bytes: Annotated[int, Field(ge=0)]


class Tensor(Part):
    """One named array of a component's interface; a dimension is a number or a symbol."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Engine(Part):
    """What this package's runner needs to load a variant."""

    engine: Literal["openvino", "onnxruntime", "mlx", "coreml", "tensorrt", "eager", "compile", "aoti"]
    """The last three are torch: a captured program as it is, compiled when first called, or ahead of time."""
    model_file: PackagePath
    """Where it is a folder, such as a Core ML package, a file inside it."""
    precision: Literal["fp32", "fp16", "bf16", "int8", "fp8", "w8", "w6", "w4"]
    device: str = "cpu"
    """What it was built for; whether it was verified there, `verified_on` says."""
    options: dict[str, str] = Field(default={})
    """Runtime properties, given to the engine as they are."""


class OrtInfo(Part):
    """ONNX Runtime's own slot, so that it can open the package by itself."""

    model_file: PackagePath


class ExecutorInfo(Part):
    studio: Annotated[Engine, Field(alias="pareto-studio")]
    ort: OrtInfo | None = None


class Format(Part):
    """What an engine's files are written in."""

    name: str
    """`ONNX`, `OpenVINO IR`, `Core ML`, `MLX graph`, `TensorRT-RTX plan`, `ATen graph` or `AOTInductor`."""
    version: str = ""
    opset: int | None = None


class VariantFacts(Part):
    files: tuple[File, ...]
    built_for: Target
    format: Format | None = None
    build_options: dict[str, str] = Field(default={})
    """What the builder was told beside precision and device, for example which cards it shall serve."""
    native_code: tuple[PackagePath, ...] = ()
    """Those of `files` that are or hold machine code: loaded only if the maker is known or it is allowed."""
    parity: Parity | None = None
    fallbacks: tuple[str, ...] = ()
    """What was lowered while building, with the reason."""
    excluded_layers: tuple[str, ...] = ()
    """Layers kept in a higher precision."""


class Variant(Part):
    variant_directory: PackagePath
    ep: str | None = None
    device: Literal["cpu", "gpu", "npu"]
    compatibility_string: str | None = None
    """Of machine code: what it was compiled for, checked before it is loaded."""
    executor_info: ExecutorInfo
    additional_metadata: VariantFacts


class Batch(Part):
    """Sizes of the first dimension; all others are as `shape` says, unless a variant says less."""

    least: Annotated[int, Field(ge=1)] = 1
    best: Annotated[int, Field(ge=1)]
    """That the engines were chosen for."""
    largest: Annotated[int, Field(ge=1)]
    """That the host loop asks for at once."""


class ComponentContract(Part):
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    order: tuple[str, ...]
    """Variants, preferred first: the fall-back order.  A runner takes the first that loads, and says why it
    passed others over."""
    batch: Batch | None = None


class Component(Part):
    component_name: str
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    additional_metadata: ComponentContract


class Tool(Part):
    name: str
    version: str


class SourceModel(Part):
    name: str
    source: str
    """As a person knows it: hub id or folder name, never a path of the machine that made the package."""
    hash: str
    """Digest of all weights and settings."""
    licence: str
    family: str
    revision: str = ""
    """Of a model from a hub: the commit."""
    files: tuple[File, ...] = ()
    """Every file that it was read from, relative to its folder."""
    added: tuple[File, ...] = ()
    """Files that were given beside it (LoRA, student, decoder) as they were: beginning of digest/name."""
    added_licences: dict[str, str] = Field(default={})
    """By path of `added`, the licence that the file or its repository states; others state none."""


class Output(Part):
    """The package as a whole: prompts and seeds in, pictures out."""

    height: int
    width: int
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    max_batch: int
    latent_shape: tuple[int, ...]
    """(C, h, w), of video (C, F, h, w)"""
    prompt_tokens: int
    frames: int | None = None
    """Of a video; the golden picture then shows them below each other."""
    pixels_per_latent: int | None = None
    """Along each side."""
    latent_scale: float | None = None
    """By which the decoder divides latents; done inside its engine."""
    latent_shift: float | None = None


class Technique(Part):
    technique: str
    parameters: dict[str, int | float | str | bool] = Field(default={})


class Calibration(Part):
    """The data that quantisation was calibrated on."""

    id: str
    """Digest of what decides the data: model, prompts, schedule."""
    source: str
    prompts: int
    batches: int
    texts: tuple[str, ...] = ()
    """The prompts themselves."""
    seeds: tuple[int, ...] = ()
    """Of the noise, one for each prompt."""
    sampler: str = ""
    steps: int | None = None
    guidance: float | None = None
    timesteps: tuple[float, ...] = ()
    """At which the denoiser was called, in the schedule's order."""


class Operation(Part):
    """A cascade at one threshold, measured on pairs."""

    threshold: float
    share: float
    """Deferred, 0 to 1."""
    seconds: Interval
    """Mean per picture, at batch 1."""
    quality: Interval


class Discriminator(Part):
    """What gives light pictures their scores: the component `discriminator`."""

    side: int
    """Pixels of the square that it looks at."""
    words: int
    """Width of the hashed bag of words."""
    target: str
    """What a score is the probability of."""
    metric: str
    margin: float
    """By which the heavy picture must be better to count as better."""
    samples: int
    """Pairs that it was trained on."""
    auc: Interval | None = None
    brier: float
    """Mean squared error of the scores as probabilities; 0.25 is a coin."""
    seconds: float
    """Of one score, eager, on the machine that trained it."""
    golden_score: float
    """Of the light golden picture."""
    score_tolerance: float


class CascadeFacts(Part):
    """Light and discriminator of a cascade; everything else in the package is about the heavy model."""

    light: Facts
    discriminator: Discriminator
    threshold: float
    """A light picture with a lower score is deferred."""
    share: float
    """Deferred at the threshold, of the measured pairs."""
    curve: tuple[Operation, ...]
    """The calibration: what other thresholds defer, cost and are worth."""
    guarded: float | None = None
    """The lowest threshold with at most `guarded_rate` bad pictures among the kept, with 95 % confidence."""
    guarded_rate: float | None = None

    @field_validator("light")
    @classmethod
    def _one_deep(cls, light: Facts) -> Facts:
        if light.cascade is not None:
            raise ValueError("the light model is itself a cascade")
        return light


class Wheel(Part):
    """One entry of the package's bill of materials."""

    name: str
    version: str
    licence: str = ""
    marker: str = ""
    """Which systems and versions of Python need it (PEP 508); empty: all."""


def _loop(data: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        LoopSettings.from_json(data)
    except (TypeError, KeyError) as error:
        raise ValueError(f"host loop settings: {error}") from None
    return data


def _loop_schema() -> dict[str, Any]:
    """Of `LoopSettings`, in one piece: a schema inside another cannot have definitions of its own."""
    whole = TypeAdapter(LoopSettings).json_schema()
    definitions = whole.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(one) for one in part]
        if not isinstance(part, dict):
            return part
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        if name in definitions:
            return resolved(definitions[name]) | {key: part[key] for key in part if key != "$ref"}
        return {key: resolved(value) for key, value in part.items()}

    found: dict[str, Any] = resolved(whole) | {"additionalProperties": False}
    return found


HostLoop = Annotated[dict[str, JsonValue], AfterValidator(_loop), WithJsonSchema(_loop_schema())]


class Facts(Part):
    """`additional_metadata` of the whole package."""

    created: datetime
    tool: Tool
    source_model: SourceModel
    task: Literal["text-to-image", "text-to-video", "image-to-video", "upscaling", "super-resolution"]
    output: Output
    host_loop: HostLoop
    tokenizer: PackagePath | None = None
    """Folder-qualified path of `tokenizer.json`, where there is a text encoder."""
    tokenizers: dict[str, PackagePath] = Field(default={})
    """Those of further text encoders, by the names that the host loop gives them."""
    techniques: tuple[Technique, ...]
    """In the order in which they were applied."""
    title: str = ""
    seed: int | None = None
    """The run's seed, from which prompts and calibration were drawn."""
    calibration: Calibration | None = None
    built_for: Target
    verified_on: tuple[Verification, ...] = ()
    evidence: Evidence
    golden: Golden
    wheels: tuple[Wheel, ...]
    more_wheels: dict[str, tuple[Wheel, ...]] = Field(default={})
    """Of variants on other runtimes: by engine, or `ENGINE-DEVICE` where a device has wheels of its own (such
    as `onnxruntime-cuda`); each has its `requirements-RUNTIME.txt`."""
    python: str
    """Versions of Python that the wheels are known to serve, for example `>=3.11`."""
    prompt_cache_key: str = ""
    """Digest of tokenizers and text encoders: embeddings kept under it fit every package that has it."""
    sbom: PackagePath | None = None
    """Software bill of materials, CycloneDX JSON."""
    cascade: CascadeFacts | None = None
    """Of a cascade: these facts are the heavy model's, its light one's are in here."""


class Manifest(Part):
    schema_version: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = SCHEMA_VERSION
    package_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    package_version: str = "1"
    description: str = ""
    layout: Literal["portable"] = "portable"
    components: Annotated[dict[str, Component], Field(min_length=1)]
    shared_assets: dict[str, PackagePath] = Field(default={})
    additional_metadata: Facts

    @field_validator("components")
    @classmethod
    def _ordered(cls, components: dict[str, Component]) -> dict[str, Component]:
        for name, component in components.items():
            if sorted(component.additional_metadata.order) != sorted(component.variants):
                raise ValueError(f"the order of {name} does not name its variants")
        return components

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2) + "\n"


class _Ambiguous(Exception):
    """JSON that two programs may read differently."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Ambiguous(f"says {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _no_number(text: str) -> float:
    raise _Ambiguous(f"holds {text}, which is no number in JSON")


def read(text: str | bytes) -> Manifest:
    """Parse a manifest.

    A newer minor version may add keys: they are ignored.  In a known version
    an unknown key is refused.

    Raises:
        PackageError: no manifest, a newer major version, or a key or value that does not belong.
    """
    try:
        data: Any = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except _Ambiguous as error:
        raise PackageError(f"manifest.json {error}; {AGAIN}.") from None
    except (ValueError, UnicodeDecodeError, RecursionError):
        raise PackageError(f"manifest.json is no JSON; {AGAIN}.") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"\d{1,6}\.\d{1,6}", version):
        raise PackageError(f"manifest.json names no schema version; {AGAIN}.")
    major, minor = (int(part) for part in version.split("."))
    if major != MAJOR:
        raise PackageError(
            f"The package uses schema {version} and this program reads {MAJOR}.x; "
            + ("update Pareto Studio." if major > MAJOR else "export it again.")
        )
    try:
        return Manifest.model_validate_json(text, strict=True, extra="ignore" if minor > MINOR else None)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest.json"
        raise PackageError(
            f"The manifest does not fit its schema at {where}: {first['msg']}; do not use it."
        ) from None


def schema() -> dict[str, Any]:
    """JSON Schema of the manifest, as published in `docs/package.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Pareto Studio package manifest {SCHEMA_VERSION}",
    } | {key: value for key, value in Manifest.model_json_schema(by_alias=True).items() if key != "title"}


def main() -> None:
    """`python -m engines.package.manifest > docs/package.schema.json`"""
    print(json.dumps(schema(), indent=2))


if __name__ == "__main__":
    main()
