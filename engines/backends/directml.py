"""What DirectML computes: the operators of its ONNX Runtime provider, and a check of a file against them.

An operator that it lacks is computed on the CPU, with a copy of its inputs and
outputs each time: correct, and slow.  The table is that of ONNX Runtime's
docs/OperatorKernels.md, section DmlExecutionProvider, as of 2026.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

OPSET: Final = 18
"""Of the files made for DirectML.  Every operator of the table has a kernel of this opset, or an older one
that still holds; newer versions of some have none."""

_OPERATORS: Final = """
    Abs Acos Acosh Add Affine And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Col2Im Concat
    ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh Crop CumSum DFT
    DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
    EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid Hardmax Identity If ImageScaler
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization Min Mod Mul Neg NonZero Not OneHot OptionalGetElement OptionalHasElement Or
    PRelu Pad ParametricSoftplus Pow QLinearConv QLinearMatMul QuantizeLinear RNN Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round STFT ScaledTanh Scatter
    ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert
    SequenceLength Shape Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose
    Trilu Unsqueeze Upsample Where Xor
"""
_MICROSOFT: Final = """
    Attention BiasAdd BiasGelu BiasSplitGelu ConvTransposeWithDynamicPads DequantizeLinear
    DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedMatMul FusedMatMulActivation Gelu
    GroupNorm GroupQueryAttention MatMulIntegerToFloat MatMulNBits MultiHeadAttention NhwcConv QAttention
    QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearSigmoid QuantizeLinear
    QuickGelu RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization
"""

OPERATORS: Final = frozenset(_OPERATORS.split())
MICROSOFT: Final = frozenset(_MICROSOFT.split())
"""Of the domain `com.microsoft`."""


def lacking(path: Path) -> list[str]:
    """Operators of an ONNX file that DirectML leaves to the CPU, by name; local functions are looked into."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    local = {(function.domain, function.name) for function in model.functions}
    found: set[str] = set()
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    for nodes in bodies:
        for node in nodes:
            if (node.domain, node.op_type) in local:
                continue
            if node.domain in ("", "ai.onnx"):
                known = node.op_type in OPERATORS
            else:
                known = node.domain == "com.microsoft" and node.op_type in MICROSOFT
            if not known:
                found.add(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")
    return sorted(found)
