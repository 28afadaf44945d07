"""A plan: everything that decides how a pipeline will run, before anything is built.

Techniques turn one plan into the next; `engines.pipeline.build` makes it run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from engines import students
from engines.hostloop.settings import LoopSettings

Backend = Literal["torch", "compile", "onnxruntime", "openvino", "tensorrt", "mlx", "coreml"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "w8", "w6", "w4"]
"""`w8`, `w6`, `w4`: weights in so many bits, arithmetic in fp16 (in fp32 on a CPU)."""
NARROW: Final[tuple[Precision, ...]] = ("w8", "w6", "w4")
Attention = Literal["auto", "flash", "efficient", "cudnn", "math", "sage", "skip"]
"""Kernels for attention in eager torch; `auto`: torch chooses."""
Offload = Literal["none", "model", "group"]
Units = Literal["all", "gpu", "neural-engine", "cpu"]
"""The parts of an Apple chip that Core ML may use."""


@dataclass(frozen=True, slots=True)
class DenoiserStructure:
    """What changes the denoiser's graph or weights; each combination has a capture of its own."""

    student: bool = False
    """The few-step student's LoRA is fused into the weights."""
    merge_ratio: float = 0.0
    """Share of the tokens that token merging removes in self-attention."""
    fused_qkv: bool = False
    cached: bool = False
    """Split for feature caching into `denoiser_full` and `denoiser_shallow`."""
    gated: bool = False
    """Split at cross-attention: `denoiser_full` returns its answers too, `denoiser_shallow` is given them;
    where it is cached as well, `denoiser_gated` and `denoiser_gated_shallow` are."""
    staged: bool = False
    """Split after its first block: `denoiser_first`, `denoiser_rest`, `denoiser_last`."""
    modulated: bool = False
    """Of a staged transformer: split before its first block, whose modulated input is the probe."""
    front: float = 0.0
    """Of a staged transformer: share of the blocks in `denoiser_first` (0: one block)."""
    back: float = 0.0
    """Of a staged transformer: share of the blocks in `denoiser_last` (0: none)."""
    pruned: float = 0.0
    """Share of the inner channels that is removed."""
    sparse: bool = False
    """Two of every four neighbouring weights of a matrix product are zero."""
    low_rank: int = 0
    """Rank of the branch beside matrix products that holds what few bits lose most of (0: none)."""
    fused_norm: bool = False
    """Group norm and SiLU of residual blocks are one kernel where there is one."""


@dataclass(frozen=True, slots=True)
class TorchWays:
    """How eager torch runs what it is given; other engines choose for themselves."""

    attention: Attention = "auto"
    """Of the denoiser."""
    skip: float = 0.0
    """Where that is `skip`: blocks of keys are left out whose weights are below this, over their number."""
    cast: bool = False
    """The denoiser's weights are kept as 8-bit floats and widened layer by layer."""
    tf32: bool = False
    """Products of fp32 numbers on a card are computed in TF32."""
    offload: Offload = "none"
    """Weights wait in the host's memory: of whole components, or of groups of layers."""

    def facts(self) -> dict[str, object]:
        """What differs from torch's own way."""
        return {name: value for name, value in asdict(self).items() if value != getattr(USUAL, name)}


USUAL = TorchWays()


@dataclass(frozen=True, slots=True)
class Plan:
    """Immutable; change it with `dataclasses.replace`."""

    model: str
    """Model source as given: a folder, a file, a hub id or `tiny-scenes`."""
    device: str
    loop: LoopSettings
    denoiser: DenoiserStructure = field(default_factory=DenoiserStructure)
    student: str = students.OWN
    """Of which kind the model's student is (`engines.students`); of no matter where it has none."""
    decoder: Literal["vae", "tiny"] = "vae"
    backend: Backend = "torch"
    precision: Precision = "fp32"
    """Of the denoiser and the decoder; text encoders stay in fp32."""
    channels_last: bool = False
    graphs: bool = False
    """Whether eager torch's launches on a card are recorded and replayed."""
    ways: TorchWays = USUAL
    units: Units = "all"
