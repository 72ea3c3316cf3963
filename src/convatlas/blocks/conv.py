"""Convolution with its normalisation and activation, and the rules for padding and for rounding widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]
Norm = Callable[[int], nn.Module]
Act = Callable[[], nn.Module]


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def relu6() -> nn.Module:
    return nn.ReLU6(inplace=True)


def silu() -> nn.Module:
    return nn.SiLU(inplace=True)


class SamePad2d(nn.Module):
    """TensorFlow's SAME padding: (N, C, H, W) -> zeros added so that the output measures ceil(H / stride).

    The odd zero goes below and to the right, so the padding is asymmetric and depends on the input's size.
    """

    graph_op = "same_pad2d"

    def __init__(self, kernel: Size, stride: Size):
        super().__init__()
        self.kernel_size = pair(kernel)
        self.stride = pair(stride)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = same_padding(x.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(x.shape[-1], self.kernel_size[1], self.stride[1])
        return F.pad(x, (left, right, top, bottom))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class ConvNormAct(nn.Sequential):
    """[pad ->] conv -> [norm ->] [act]: (N, in, H, W) -> (N, out, H', W').

    padding: None keeps the size at stride 1 (kernel // 2 on every side); "tf" is TensorFlow's SAME; else as given.
    bias: by default only where no normalisation follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Size,
        stride: Size = 1,
        *,
        padding: Size | str | None = None,
        groups: int = 1,
        bias: bool | None = None,
        norm: Norm | None = nn.BatchNorm2d,
        act: Act | None = relu,
    ):
        kernel = pair(kernel)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if padding == "tf":
            if pair(stride) != (1, 1):
                layers["pad"] = SamePad2d(kernel, stride)
            padding = 0 if "pad" in layers else None
        if padding is None:
            padding = (kernel[0] // 2, kernel[1] // 2)
        layers["conv"] = nn.Conv2d(
            inputs, outputs, kernel, stride, padding, groups=groups, bias=norm is None if bias is None else bias
        )
        if norm is not None:
            layers["norm"] = norm(outputs)
        if act is not None:
            layers["act"] = act()
        super().__init__(layers)


def pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after along one axis, in TensorFlow's SAME."""
    outputs = (size + stride - 1) // stride  # not -(-size // stride): ONNX divides towards zero, Python downwards
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def make_divisible(width: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor`` that is not below 90 % of ``width`` (MobileNetV2's reference code)."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
