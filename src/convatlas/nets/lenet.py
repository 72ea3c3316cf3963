"""LeNet-5.  LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition" (Proc. IEEE 86(11)),
section II.B; as it is written today; and Caffe's."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import init

from convatlas.blocks import ConvNormAct
from convatlas.blocks.init import caffe_xavier, initialiser, xavier
from convatlas.net import ConvNet
from convatlas.registry import network

# Table I: the maps of S2 that each of the 16 maps of C3 reads
C3 = [(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
      (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
      (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
      (0, 1, 2, 3, 4, 5)]

# The target of each output unit: a digit drawn in 7 x 12 pixels, +1 where there is ink
DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...##..  .#####.  .#####.  ....##.  .######  ..####.  #######  .#####.  .#####.
.#...#.  ..###..  ##...##  ##...##  ...###.  .##....  .##...#  #.....#  ##...##  ##...##
##...##  .####..  ##...##  .....##  ..####.  .##....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  .....##  .....##  .##.##.  .##....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  ....##.  ..####.  ##..##.  .#####.  ######.  ....##.  .#####.  ##...##
##...##  ...##..  ...##..  .....##  ##..##.  .....##  ##...##  ...##..  ##...##  .######
##...##  ...##..  ..##...  .....##  #######  .....##  ##...##  ...##..  ##...##  .....##
##...##  ...##..  .##....  ##...##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.#...#.  ...##..  ##.....  ##...##  ....##.  ##...##  ##...##  ..##...  ##...##  #...##.
..###..  .######  #######  .#####.  ....##.  .#####.  .#####.  ..##...  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


class ScaledTanh(nn.Module):
    """A tanh(S a) with A = 1.7159 and S = 2/3, so that f(1) = 1 and f(-1) = -1: any shape -> same.  Appendix A."""

    graph_op = "scaled_tanh"

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class ChannelAffine(nn.Module):
    """One coefficient and one bias a map, both trained: (N, C, H, W) -> same shape.  S2 and S4 of section II.B."""

    graph_op = "channel_affine"

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the plain average."""
        init.ones_(self.weight)
        init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class SparseConv(nn.Module):
    """One small convolution for each map, on the maps that it reads: (N, C, H, W) -> (N, len(table), H - 4, W - 4)."""

    def __init__(self, table: list[tuple[int, ...]], kernel: int):
        super().__init__()
        self.table = table
        self.maps = nn.ModuleList(nn.Conv2d(len(reads), 1, kernel) for reads in table)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x[:, index : index + 1] for index in range(1 + max(map(max, self.table)))]
        return torch.cat(
            [conv(torch.cat([maps[index] for index in reads], 1)) for conv, reads in zip(self.maps, self.table)], 1
        )


class RBF(nn.Module):
    """Euclidean radial basis units with fixed codes: (N, 84) -> (N, 10), each minus the squared distance to its code.

    The paper's units give the distance, of which the least is the answer; with the sign turned, the largest is, as
    for any logits.  Nothing is trained.
    """

    graph_op = "rbf"

    def __init__(self) -> None:
        super().__init__()
        rows = [line.split() for line in DIGITS.split("\n") if line]
        codes = [[1.0 if ink == "#" else -1.0 for row in rows for ink in row[digit]] for digit in range(10)]
        self.register_buffer("codes", torch.tensor(codes))
        self.in_features, self.out_features = self.codes.shape[1], self.codes.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        return -(x.unsqueeze(1) - self.codes).square().sum(2)


@network({"lenet5": {}})
def lenet5(*, channels: int = 1, input_size: int = 32) -> ConvNet:
    """The network of 1998: sparse C3, trained subsampling, scaled tanh, and RBF units on bitmaps of the digits.

    The squashing function follows each convolution and each subsampling, F6's included; C5 sees all of S4.
    """

    def subsampled(channels: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict(pool=nn.AvgPool2d(2), affine=ChannelAffine(channels), act=ScaledTanh())
        )

    trunk = OrderedDict(
        c1=ConvNormAct(channels, 6, 5, padding=0, norm=None, act=ScaledTanh),
        s2=subsampled(6),
        c3=nn.Sequential(OrderedDict(conv=SparseConv(C3, 5), act=ScaledTanh())),
        s4=subsampled(16),
        c5=ConvNormAct(16, 120, 5, padding=0, norm=None, act=ScaledTanh),
    )
    head = OrderedDict(
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), f6=nn.Linear(120, 84), act=ScaledTanh(), classifier=RBF()
    )
    return ConvNet(trunk, head, input_size=(channels, input_size, input_size), init=fan_in_uniform)


def fan_in_uniform(path: str, layer: nn.Module) -> None:
    """Uniform within 2.4 / fan-in, biases too.  Appendix A."""
    bound = 2.4 / math.prod(layer.weight.shape[1:])
    init.uniform_(layer.weight, -bound, bound)
    init.uniform_(layer.bias, -bound, bound)


#                       C1  C3  hidden      act         pool
MODERN = {
    "lenet5_modern": dict(c1=6, c3=16, hidden=(120, 84), act=nn.Tanh, input_size=32),
    "lenet_caffe":   dict(c1=20, c3=50, hidden=(500,), act=None, input_size=28),
}


@network(MODERN)
def lenet(
    *,
    c1: int,
    c3: int,
    hidden: tuple[int, ...],
    act: type[nn.Module] | None,
    input_size: int,
    classes: int = 10,
    channels: int = 1,
) -> ConvNet:
    """Two full convolutions with max pools, and dense layers.

    With an ``act``, it follows every layer, and 28 pixels are padded to 32.  Without one, as in Caffe's example, only
    the hidden dense layer is rectified, and 28 pixels are taken as they are.
    """
    padding = 2 if act and input_size == 28 else 0
    trunk = OrderedDict(
        c1=ConvNormAct(channels, c1, 5, padding=padding, norm=None, act=act),
        s2=nn.MaxPool2d(2),
        c3=ConvNormAct(c1, c3, 5, padding=0, norm=None, act=act),
        s4=nn.MaxPool2d(2),
    )
    size = 5 if act else 4
    head, inputs = OrderedDict(pool=nn.AdaptiveAvgPool2d(size), flatten=nn.Flatten()), c3 * size * size
    for number, width in enumerate(hidden, 5):
        head |= {f"f{number}": nn.Linear(inputs, width), f"act{number}": (act or nn.ReLU)()}
        inputs = width
    head["classifier"] = nn.Linear(inputs, classes)
    fill = xavier if act else caffe_xavier
    return ConvNet(
        trunk, head, input_size=(channels, input_size, input_size), init=initialiser(conv=fill, linear=fill)
    )
