"""A journey as one HTML page that needs nothing else: its data, and the template beside this file."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convatlas.visualize.sheets import COLD, WARM

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from convatlas.visualize.sights import Sight
    from convatlas.visualize.travelling import Journey, Stage

TEMPLATE = Path(__file__).with_suffix(".html")
WHOLE = 2**15 - 1
"""Values travel as 16-bit whole numbers; this is the stage's largest magnitude."""
ROOM = 112 * 112
"""Units of a map; of larger ones fewer channels travel."""


def write(journey: Journey, channels: int) -> str:
    """See ``Journey.page``."""
    data = {
        "network": journey.network,
        "picture": _data_uri(journey.picture),
        "size": [journey.picture.height, journey.picture.width],
        "stages": [_stage(stage, channels) for stage in journey.stages],
        "labels": journey.labels,
        "answers": journey.answers,
        "colours": {"warm": WARM, "cold": COLD},
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{network}}", escape(journey.network)).replace("{{data}}", text)


def _stage(stage: Stage, channels: int) -> dict[str, Any]:
    of = stage.activations
    shown: list[int] = []
    values = of.values
    if of.maps:
        units = values[0].numel()
        shown = list(of.channels[: max(1, min(channels, channels * ROOM // units))])
        values = values[shown]
    return {
        "name": stage.name,
        "shape": list(of.values.shape),
        "channels": shown,
        "signed": of.scale.signed,
        "limit": of.scale.limit,
        "peak": of.scale.peak,
        "values": _packed(values, of.scale.peak),
        "sight": None if stage.sight is None else _sight(stage.sight),
        "answer": stage.answer,
    }


def _packed(values: Tensor, peak: float) -> str:
    """Little-endian 16-bit whole numbers in base64, the peak as ``WHOLE``: off by at most half a 32767th of it."""
    whole = (values / (peak or 1.0) * WHOLE).round().to(torch.int16)
    return base64.b64encode(whole.numpy().astype("<i2").tobytes()).decode("ascii")


def _sight(sight: Sight) -> dict[str, Any]:
    of = sight.field
    return {"rows": sight.rows, "columns": sight.columns, "size": [float(n) for n in of.size],
            "jump": [float(n) for n in of.jump], "exact": of.status == "exact", "whole": of.whole}  # fmt: skip


def _data_uri(picture: Image.Image) -> str:
    stored = io.BytesIO()
    picture.save(stored, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode('ascii')}"
