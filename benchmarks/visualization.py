"""Feature visualization: is what it draws what the network looks for?  python -m benchmarks.visualization [PART …]

units:   the picture made for each of 10 channels, taken at random from all stages of EfficientNet-Lite0, against 2,000
         random crops of photographs: the channel's mean on the picture as it was saved, the 99.9th percentile of its
         mean on the crops, and the best crop's.
classes: pictures made for the logits of 20 classes of EfficientNet-Lite0: what Lite1 and Lite2 take them for.
lucent:  three channels of a middle and of a deep layer by torch-lucent and by us, turn about, each first as often as
         the other: seconds for equal steps at equal size, and what the channel is worth on either's picture, at rest.
         pip install --no-deps torch-lucent==0.1.8 kornia, and kornia_rs and decorator; two functions that kornia has
         moved are put back where lucent looks for them.  About 4 minutes on two cores.

The photographs are those that scikit-image, scikit-learn and matplotlib bring along.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import sys
import time
import types
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import convatlas
from benchmarks.machine import describe
from convatlas.visualize import objectives
from convatlas.visualize.optimize import visualize
from convatlas.visualize.sheets import tensor
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import Taps
from convatlas.weights import read_picture

NETWORK, SIZE, STEPS, CROPS, UNITS, CLASSES = "efficientnet_lite0", 128, 256, 2000, 10, 20
RESULTS = Path(__file__).parent / "results" / "visualization.txt"
PICTURES = Path(__file__).parent / "results" / "visualization"


def photographs() -> list[Image.Image]:
    """The photographs, in colour and of at least SIZE pixels each way, of the three packages."""
    found = []
    for package, folder in (
        ("skimage", "data"),
        ("sklearn", "datasets/images"),
        ("matplotlib", "mpl-data/sample_data"),
    ):
        spec = importlib.util.find_spec(package)
        root = Path(str(spec.origin)).parent / folder if spec else None
        for path in sorted(root.rglob("*")) if root else []:
            if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                picture = read_picture(path)
                pixels = np.asarray(picture.resize((32, 32))).astype(int)
                if min(picture.size) >= SIZE and np.ptp(pixels, axis=2).max() > 16:
                    found.append(picture)
    return found


def crops(count: int) -> Iterator[torch.Tensor]:
    """Squares at random, from SIZE pixels up to the whole picture, as (64, 3, SIZE, SIZE) at a time."""
    chance, pictures = random.Random(0), photographs()
    print(f"{len(pictures)} photographs", flush=True)
    for start in range(0, count, 64):
        batch = []
        for _ in range(min(64, count - start)):
            picture = chance.choice(pictures)
            side = chance.randint(SIZE, min(picture.size))
            left, top = (chance.randint(0, most - side) for most in picture.size)
            batch.append(
                tensor(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))
            )
        yield torch.stack(batch)


def units() -> list[str]:
    net = convatlas.pretrained(NETWORK)
    shown, stages = Shown(net), list(net.stages)
    with torch.no_grad():
        taps = Taps(net, stages, torch.zeros(1, 3, SIZE, SIZE))
        parts = [{s: out.mean((2, 3)) for s, out in taps(shown(batch)).items()} for batch in crops(CROPS)]
    means = {stage: torch.cat([part[stage] for part in parts]) for stage in stages}
    everything = [(stage, unit) for stage in stages for unit in range(means[stage].shape[1])
                  if means[stage][:, unit].std() > 0]  # fmt: skip
    lines, above = [], 0
    for stage, unit in random.Random(1).sample(everything, UNITS):
        start = time.perf_counter()
        made = visualize(net, objectives.channel(stage, unit), size=SIZE, steps=STEPS, seed=0)
        taken = time.perf_counter() - start
        path = PICTURES / f"{stage}-{unit}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        made.images[0].save(path)
        with torch.no_grad():
            saved = tensor(Image.open(path))[None]
            value = float(taps(shown(saved))[stage][0, unit].mean())
        crop = means[stage][:, unit]
        high, best = float(crop.quantile(0.999)), float(crop.max())
        above += value > high and value > best
        lines.append(f"{stage:7} {unit:4}  picture {value:8.3f}   99.9 % of the crops below {high:8.3f}   best crop "
                     f"{best:8.3f}   {taken:5.1f} s")  # fmt: skip
        print(lines[-1], flush=True)
    return [f"units: {above} of {UNITS} above the best of {CROPS:,} crops", *lines]


def classes() -> list[str]:
    net = convatlas.pretrained(NETWORK)
    labels = net.weights.labels
    chosen = random.Random(2).sample(range(1000), CLASSES)
    images = []
    for start in range(0, CLASSES, 5):
        part = chosen[start : start + 5]
        images += visualize(net, objectives.logit(part), count=len(part), size=224, steps=STEPS, seed=0).images
        print(f"{len(images)} of {CLASSES} classes", flush=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for number, made in zip(chosen, images):
        made.save(PICTURES / f"class-{number}.png")
    lines = []
    for judge in ("efficientnet_lite1", "efficientnet_lite2"):
        answers = convatlas.predict(images, judge)
        names = [[guess.label for guess in answer.top] for answer in answers]
        first = sum(labels[number].name == said[0] for number, said in zip(chosen, names))
        five = sum(labels[number].name in said for number, said in zip(chosen, names))
        lines.append(f"classes: {judge} takes {first} of {CLASSES} for their class, {five} among its first five "
                     f"(chance: {CLASSES / 1000:g} and {5 * CLASSES / 1000:g})")  # fmt: skip
        print(lines[-1], flush=True)
    return lines


def lucents() -> Any:
    """lucent's modules, with what kornia no longer has where it had it."""
    if importlib.util.find_spec("IPython") is None:  # it shows pictures with it, which is not asked for here
        sys.modules |= {name: types.ModuleType(name) for name in ("IPython", "IPython.display")}
    import kornia
    from kornia.geometry import transform as moved

    kornia.get_rotation_matrix2d, kornia.warp_affine = moved.get_rotation_matrix2d, moved.warp_affine
    from lucent.optvis import param, render, transform

    return param, render, transform


def lucent(steps: int = 64) -> list[str]:
    """Beside three channels of a middle and of a deep layer, at 224 pixels and at 128, which lucent enlarges to 224.

    Each picture is judged at the size at which the network saw it while it was made.  Every figure is a median: of
    time over all pairs, of worth over those of a channel.
    """
    param, render, transform = lucents()
    net = convatlas.pretrained(NETWORK)
    shown, lines = Shown(net), []

    def by_lucent(layer: str, unit: int, size: int, seed: int, steps: int = steps) -> torch.Tensor:
        torch.manual_seed(seed)
        np.random.seed(seed)
        changes = [*transform.standard_transforms, shown]
        made = render.render_vis(net.requires_grad_(True), f"trunk_{layer}:{unit}", lambda: param.image(size),
                                 thresholds=(steps,), transforms=changes, preprocess=False, progress=False,
                                 show_image=False)  # fmt: skip
        for module in net.modules():  # its hooks stay
            module._forward_hooks.clear()
        net.zero_grad(set_to_none=True)
        return torch.from_numpy(made[0].transpose(0, 3, 1, 2).copy())

    def by_us(layer: str, unit: int, size: int, seed: int, steps: int = steps) -> torch.Tensor:
        return visualize(net, objectives.channel(layer, unit), size=size, steps=steps, seed=seed).pictures

    for layer, size in product(("stage4", "stage7"), (224, 128)):
        taps = Taps(net, [layer], torch.zeros(1, 3, size, size))
        others = [unit for unit in range(taps.shapes[layer][1]) if unit != 17]
        pairs: list[tuple[float, float]] = []
        worth: dict[int, list[tuple[float, float]]] = {}
        for make in (by_us, by_lucent):  # what is only done once is not timed
            make(layer, 17, size, 0, steps=2)
        for unit, seed in product([17, *random.Random(3).sample(others, 2)], range(2)):
            seconds, values = {}, {}
            for make in (by_us, by_lucent) if seed else (by_lucent, by_us):
                start = time.perf_counter()
                picture = make(layer, unit, size, seed)
                seconds[make] = time.perf_counter() - start
                if make is by_lucent:
                    picture = F.interpolate(picture, 224, mode="bilinear", align_corners=True)  # as it saw it
                with torch.no_grad():
                    values[make] = float(taps(shown(picture))[layer][0, unit].mean())
            pairs.append((seconds[by_us], seconds[by_lucent]))
            worth.setdefault(unit, []).append((values[by_us], values[by_lucent]))
        ours, theirs, ratio = map(statistics.median, zip(*((a, b, b / a) for a, b in pairs)))
        higher = sum(a >= b for of in worth.values() for a, b in of)
        means = "; ".join(f"{unit}: {statistics.median(a for a, _ in of):.2f} beside "
                          f"{statistics.median(b for _, b in of):.2f}" for unit, of in worth.items())  # fmt: skip
        lines.append(
            f"lucent: {layer} at {size}, {steps} steps: {ours:.1f} s beside {theirs:.1f} s, {ratio:.2f} times as fast "
            f"(least {min(b / a for a, b in pairs):.2f}); the channel's mean on the picture no lower in {higher} of "
            f"{len(pairs)}, {means}"
        )
        print(lines[-1], flush=True)
    return lines


PARTS = {"units": units, "classes": classes, "lucent": lucent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    for part in parts:
        lines = PARTS[part]()
        earlier = RESULTS.read_text().strip().split("\n\n") if RESULTS.exists() else []
        blocks = {block.splitlines()[1].partition(":")[0]: block for block in earlier}  # below its machine's line
        blocks[part] = "\n".join([describe(), *lines])
        RESULTS.write_text("\n\n".join(blocks[part] for part in PARTS if part in blocks) + "\n")


if __name__ == "__main__":
    main()
