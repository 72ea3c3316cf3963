"""What bends a gradient beside rectifiers, found in the graph that autograd keeps, where little can hide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from convatlas.errors import ConvatlasError
from convatlas.visualize.rules import _Bent


def refuse_what_bends(answer: Tensor, method: str, hidden: Iterable[str] = ()) -> None:
    """Raise ConvatlasError where anything but rectifiers under a rule bends the gradient of ``answer``, by its name.

    hidden: what is known to bend it and is not in the graph, as ``Rectifiers`` has it.
    """
    found = None
    waiting, seen = [answer.grad_fn], set()
    while waiting and found is None:
        step: Any = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        found = _bending(step)
        waiting += [source for source, _ in step.next_functions]
    found = found or next(iter(hidden), None)
    if found is not None:
        raise ConvatlasError(
            f"{method} is defined for networks of rectifiers: this one has {found} on the way, and what comes through "
            "that would be its plain gradient. saliency, smoothgrad, grad-cam and occlusion take any network"
        )


def _bending(step: Any) -> str | None:
    """What a step of autograd's graph is, in words, where it is neither linear nor a rectifier under a rule."""
    name = re.sub(r"Backwards?\d*$", "", type(step).__name__)
    if isinstance(step, BackwardCFunction):  # written by someone: its name says nothing
        return None if getattr(step, "_forward_cls", None) is _Bent else name
    if name in ("AccumulateGrad", *LINEAR):
        return None
    carries = [source is not None for source, _ in step.next_functions]
    if name in NORMS:
        return f"{NORMS[name]} by the picture's own statistics" if step._saved_training else None
    if name in PRODUCTS:
        first, second = PRODUCTS[name]
        return WORDS.get(name, "a product of two of its own maps") if carries[first] and carries[second] else None
    if name in CONSTANT:
        return WORDS.get(name, name) if carries[1] else None
    return WORDS.get(name, name)


LINEAR = frozenset(
    """
    Add Sub Rsub Neg Sum Mean Cat Stack Clone Copy CopySlices ToCopy
    AdaptiveAvgPool2D AvgPool2D AvgPool3D MkldnnAdaptiveAvgPool2D
    MaxPool2D MaxPool2DWithIndices MaxPool3DWithIndices AdaptiveMaxPool2D FractionalMaxPool2D MkldnnMaxPool2D Amax Max
    ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D ReplicationPad2D
    UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D UpsampleBicubic2D UpsampleBilinear2DAa
    UpsampleBicubic2DAa PixelShuffle PixelUnshuffle ChannelShuffle Im2Col Col2Im
    Alias AsStrided Chunk Diagonal Expand Flip Gather Index IndexSelect Narrow Permute Repeat Reshape ReshapeAlias Roll
    Select Slice Split SplitWithSizes Squeeze SwapAxes T Transpose Unbind Unfold UnsafeSplit UnsafeSplitWithSizes
    UnsafeView Unsqueeze View MkldnnReshape ToDense ToMkldnn
""".split()
)
"""What gives gradients on as they are, by autograd's names: linear, or a maximum with its switches."""

PRODUCTS = {
    **dict.fromkeys("Mul Mm Bmm Mv Dot Convolution ConvolutionOverrideable MkldnnConvolution CudnnConvolution".split(),
                    (0, 1)),
    **dict.fromkeys("Addmm Addmv Addbmm Baddbmm".split(), (1, 2)),
}  # fmt: skip
"""Linear where at most one of these two inputs comes from the picture, and the other is a weight."""

CONSTANT = frozenset("Div GridSampler2D".split())
"""Linear where the second input, the divisor or the grid, does not come from the picture."""

NORMS = {"NativeBatchNorm": "a norm", "CudnnBatchNorm": "a norm", "MiopenBatchNorm": "a norm"}
"""Linear in evaluation, with running statistics; instance norm is this with the picture's own."""

WORDS = {"Mul": "a gate (one map times another, as in squeeze-and-excitation)", "Div": "a division by its own values",
         "GridSampler2D": "a grid of its own making", "Silu": "SiLU", "Gelu": "GELU", "Sigmoid": "a sigmoid",
         "Tanh": "tanh", "Hardswish": "hard swish", "Hardsigmoid": "hard sigmoid", "Softmax": "a softmax",
         "LogSoftmax": "a softmax", "LeakyRelu": "leaky ReLU", "Elu": "ELU", "Celu": "CELU", "PreluKernel": "PReLU",
         "Mish": "Mish", "Softplus": "softplus", "NativeLayerNorm": "layer norm", "NativeGroupNorm": "group norm",
         "Relu": "a ReLU out of reach", "Hardtanh": "a clamp that is no rectifier",
         "Clamp": "a clamp that is no rectifier", "Threshold": "a threshold that is no rectifier",
         "Maximum": "a maximum of two of its maps", "Where": "a choice between two of its maps",
         "MaskedFill": "a mask", "Pow": "a power"}  # fmt: skip
