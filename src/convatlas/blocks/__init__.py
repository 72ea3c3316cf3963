"""Bricks that several papers share."""

from convatlas.blocks.attention import Gate, SqueezeExcite, gate
from convatlas.blocks.conv import ConvNormAct, SamePad2d, make_divisible
from convatlas.blocks.head import dense_head, pooled_head
from convatlas.blocks.inverted import InvertedResidual, PlainConv
from convatlas.blocks.norm import local_response_norm
from convatlas.blocks.residual import DropPath, linear_decay, shortcut
from convatlas.blocks.scale import deepen, scale_depth, scale_width

__all__ = [
    "ConvNormAct",
    "DropPath",
    "Gate",
    "InvertedResidual",
    "PlainConv",
    "SamePad2d",
    "SqueezeExcite",
    "deepen",
    "dense_head",
    "gate",
    "linear_decay",
    "local_response_norm",
    "make_divisible",
    "pooled_head",
    "scale_depth",
    "scale_width",
    "shortcut",
]
