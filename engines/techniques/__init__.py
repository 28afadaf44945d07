"""Acceleration techniques: one file each, a value with typed parameters that turns one plan into the next."""

from __future__ import annotations

from engines.techniques.adaptive_guidance import AdaptiveGuidance
from engines.techniques.attention_backend import AttentionBackend
from engines.techniques.attention_gate import AttentionGate
from engines.techniques.base import (
    Parameter,
    Step,
    Technique,
    all_techniques,
    from_step,
    register,
    technique,
    to_step,
)
from engines.techniques.bf16 import BFloat16
from engines.techniques.channels_last import ChannelsLast
from engines.techniques.compute_units import ComputeUnits
from engines.techniques.cuda_graphs import CudaGraphs
from engines.techniques.dbcache import DBCache
from engines.techniques.engine import Engine
from engines.techniques.feature_cache import FeatureCache
from engines.techniques.feature_forecast import FeatureForecast
from engines.techniques.fewer_steps import FewerSteps
from engines.techniques.fp8 import Float8
from engines.techniques.fp32 import Float32
from engines.techniques.fused_norm import FusedNorm
from engines.techniques.fused_qkv import FusedQKV
from engines.techniques.guidance_cutoff import GuidanceCutoff
from engines.techniques.guidance_interval import GuidanceInterval
from engines.techniques.int8 import Int8
from engines.techniques.layerwise_casting import LayerwiseCasting
from engines.techniques.magcache import MagCache
from engines.techniques.offload import Offloading
from engines.techniques.progressive_resolution import ProgressiveResolution
from engines.techniques.prompt_cache import PromptCache
from engines.techniques.pruning import Pruning
from engines.techniques.sage_attention import SageAttention
from engines.techniques.scheduler import Scheduler
from engines.techniques.sequential_guidance import SequentialGuidance
from engines.techniques.skip_softmax import SkipSoftmax
from engines.techniques.sparse_24 import Sparse24
from engines.techniques.student import Student
from engines.techniques.svdquant import SVDQuant
from engines.techniques.teacache import TeaCache
from engines.techniques.tf32 import TensorFloat32
from engines.techniques.threshold_cache import ThresholdCache
from engines.techniques.tiny_decoder import TinyDecoder
from engines.techniques.token_merging import TokenMerging
from engines.techniques.vae_slicing import VaeSlicing
from engines.techniques.vae_tiling import VaeTiling
from engines.techniques.weight_bits import WeightBits

__all__ = [
    "AdaptiveGuidance",
    "AttentionBackend",
    "AttentionGate",
    "BFloat16",
    "ChannelsLast",
    "ComputeUnits",
    "CudaGraphs",
    "DBCache",
    "Engine",
    "FeatureCache",
    "FeatureForecast",
    "FewerSteps",
    "Float8",
    "Float32",
    "FusedNorm",
    "FusedQKV",
    "GuidanceCutoff",
    "GuidanceInterval",
    "Int8",
    "LayerwiseCasting",
    "MagCache",
    "Offloading",
    "Parameter",
    "ProgressiveResolution",
    "PromptCache",
    "Pruning",
    "SVDQuant",
    "SageAttention",
    "Scheduler",
    "SequentialGuidance",
    "SkipSoftmax",
    "Sparse24",
    "Step",
    "Student",
    "TeaCache",
    "Technique",
    "TensorFloat32",
    "ThresholdCache",
    "TinyDecoder",
    "TokenMerging",
    "VaeSlicing",
    "VaeTiling",
    "WeightBits",
    "all_techniques",
    "from_step",
    "register",
    "technique",
    "to_step",
]
