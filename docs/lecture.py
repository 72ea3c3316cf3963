"""The lecture's pictures of what a network has learned, remade: python -m docs.lecture [--network N] [--weights W]

The lecture shows AlexNet's: neurons and channels of the first convolution, channels of the fifth, the objectives side
by side, and the full sheet.  Here they are made on EfficientNet-Lite0, whose weights come with the installation;
`--network alexnet --weights FILE` makes them on AlexNet where its weights are at hand.  Each picture says which network
it is of.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import convatlas
from convatlas.visualize import filters, fullsheet, objectives, sheet, visualize
from convatlas.visualize.finding import shape_at
from convatlas.visualize.sheets import INK, WORDS, font, grid
from convatlas.visualize.shown import Shown

NEURONS, CHANNELS = 12, 24
CLASS = 285
"""Egyptian cat."""


def titled(picture: Image.Image, title: str, foot: str) -> Image.Image:
    """With a line above and one below."""
    page = Image.new("RGB", (max(picture.width, 300) + 24, picture.height + 62), "white")
    draw = ImageDraw.Draw(page)
    draw.text((12, 9), title, fill=INK, font=font(15))
    page.paste(picture.convert("RGB"), (12, 34))
    draw.text((12, picture.height + 41), foot, fill=WORDS, font=font(11))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--fifth", help="a layer in place of the fifth convolution; conv5 or stage5 by default")
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    given = parser.parse_args()
    net = convatlas.pretrained(given.network, given.weights)
    first, fifth = net.stages[0], given.fifth or ("conv5" if "conv5" in net.stages else "stage5")
    foot = f"{given.network}, {net.weights.source.id} weights"
    given.out.mkdir(parents=True, exist_ok=True)

    def keep(name: str, picture: Image.Image, title: str) -> None:
        titled(picture, title, foot).save(given.out / f"{name}.png", optimize=True)
        print(given.out / f"{name}.png", flush=True)

    def made(objective: Any, count: int, size: int) -> list[Image.Image]:
        found = visualize(net, objective, count=count, size=size, steps=given.steps)
        if found.interrupted:
            raise KeyboardInterrupt
        return found.images

    def some(layer: str, count: int) -> list[int]:
        channels = shape_at(net, layer, Shown(net))[0]
        return sorted(random.Random(0).sample(range(channels), min(count, channels)))

    filters(net).image.save(given.out / "first-filters.png", optimize=True)
    units = some(first, NEURONS)
    keep("first-neurons", grid(made(objectives.neuron(first, units), len(units), 64), 6), f"Neurons of {first}")
    keep("first-channels", grid(made(objectives.channel(first, units), len(units), 64), 6), f"Channels of {first}")
    units = some(fifth, CHANNELS)
    parts = [units[n : n + 8] for n in range(0, len(units), 8)]
    pictures = [one for part in parts for one in made(objectives.channel(fifth, part), len(part), 96)]
    keep("fifth-channels", grid(pictures, 8), f"Channels of {fifth}")
    unit = units[0]
    five = {
        f"neuron: {fifth}[x,y,{unit}]": objectives.neuron(fifth, unit),
        f"channel: {fifth}[:,:,{unit}]": objectives.channel(fifth, unit),
        f"layer: {fifth}[:,:,:]^2": objectives.layer(fifth),
        f"class logit: pre_softmax[{CLASS}]": objectives.logit(CLASS),
        f"class probability: softmax[{CLASS}]": objectives.probability(CLASS),
    }
    side = 192
    row = Image.new("RGB", (5 * (side + 8) - 8, side + 20), "white")
    for place, (words, objective) in enumerate(five.items()):
        row.paste(made(objective, 1, side)[0], (place * (side + 8), 0))
        ImageDraw.Draw(row).text((place * (side + 8), side + 4), words, fill=INK, font=font(12))
    keep("objectives", row, "The objectives")
    rows = sheet(net, columns=6, size=96, steps=given.steps)
    fullsheet.drawn(rows, foot).save(given.out / "sheet.png", optimize=True)
    print(given.out / "sheet.png")


if __name__ == "__main__":
    main()
