"""Networks in 8 bits beside themselves in float: python -m benchmarks.quantization [--cifar FOLDER] [--run RUN]

--cifar: a folder with cifar10_jpeg.tar.xz (train/CLASS/*.jpg, test/CLASS/*.jpg), resnet20-12fca82f.th and
resnet56-4bfd9763.th, by default that of CONVATLAS_TEST_DATA; without it the networks for CIFAR-10 are left out.  Its
pictures are JPEGs, on which the networks lose about ten points: the accuracies are to be compared with each other.
--run: a run of MobileNetV3 as ``mobile`` trains it, about eight minutes on two cores; by default it is trained.

Every network is calibrated on 200 training pictures, a method is chosen on validation pictures, and both are tested on
all test pictures.  EfficientNet-Lite0 sees cuts of photographs that come with scikit-image, without classes: its figure
is of how many pictures the first class is the same.  Latency is of one picture, the median of turns.
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe
from convatlas.deploy.eightbit import METHODS
from convatlas.deploy.quantize import Quantized, quantize
from convatlas.errors import ConvatlasError

RESULTS = Path(__file__).parent / "results" / "quantization.txt"
EACH = {"train": 2000, "test": 500}
"""Pictures of each class of CIFAR-10 on which MobileNetV3 is trained and tested."""
FEWER = 3000
"""Test pictures, where each method is tested by itself."""
HEADS = f"{'network':24} {'data':12} {'float':>8} {'8 bits':>8} {'lost':>6} {'MB':>13} {'ms':>13} {'pictures/s':>13}  "


def photographs(folder: Path) -> Path:
    """Nine cuts of each of scikit-image's photographs, in colours."""
    import skimage

    folder.mkdir()
    for path in sorted(Path(skimage.data_dir).iterdir()):
        if path.suffix not in (".png", ".jpg"):
            continue
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        side = min(photo.size) * 2 // 3
        for place in range(9 if side > 130 else 0):
            left, top = (photo.width - side) * (place % 3) // 2, (photo.height - side) * (place // 3) // 2
            photo.crop((left, top, left + side, top + side)).save(folder / f"{path.stem}-{place}.png")
    return folder


def mobile(cifar: Path, scratch: Path) -> Path:
    """A MobileNetV3, twelve epochs long."""
    from convatlas.train import train

    parts: dict[str, Any] = {}
    classes = sorted(path.name for path in (cifar / "train").iterdir())
    for part, each in EACH.items():
        files = [path for name in classes for path in sorted((cifar / part / name).iterdir())[:each]]
        parts[f"{part}_images"] = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
        parts[f"{part}_labels"] = np.repeat(np.arange(len(classes)), each)
    np.savez(scratch / "cifar.npz", classes=np.array(classes), **parts)
    run = scratch / "mobile"
    train("mobilenet_v3_small_x1_0", f"npz:{scratch / 'cifar.npz'}", values={"epochs": 12}, out=run)
    return run


def subjects(cifar: Path | None, run: Path | None, scratch: Path) -> list[tuple[str, str, str, str, str | None]]:
    """The network, what its data is called, MODEL, --weights and --data."""
    photos = photographs(scratch / "photographs")
    found: list[tuple[str, str, str, str, str | None]] = [
        ("lenet5_modern", "MNIST", "lenet5_modern", "default", "mnist"),
        ("efficientnet_lite0", "photographs", "efficientnet_lite0", "default", f"folder:{photos}"),
    ]
    if cifar is None:
        return found
    with tarfile.open(cifar / "cifar10_jpeg.tar.xz") as archive:
        archive.extractall(scratch / "cifar", filter="data")
    for name, file in (("resnet20_cifar", "resnet20-12fca82f.th"), ("resnet56_cifar", "resnet56-4bfd9763.th")):
        found.append((name, "CIFAR-10", name, str(cifar / file), f"folder:{scratch / 'cifar'}"))
    trained = run or mobile(scratch / "cifar", scratch)
    return [*found, ("mobilenet_v3_small_x1_0", "CIFAR-10", str(trained), "default", None)]


def line(network: str, data: str, made: Quantized) -> str:
    before, after = made.before, made.after
    first, second = before.accuracy, after.accuracy
    if first is None or second is None:
        first, second = 1.0, made.agreement
    verdict = "kept" if made.kept else "not kept"
    disturbed = "".join(f" [{note}]" for note in made.notes if "disturbed" in note)
    return (
        f"{network:24} {data:12} {100 * first:7.2f}% {100 * second:7.2f}% {made.drop:6.2f} "
        f"{before.size / 1e6:5.2f} > {after.size / 1e6:5.2f} {1e3 * before.latency:5.2f} > {1e3 * after.latency:5.2f} "
        f"{before.rate:5.0f} > {after.rate:5.0f}  {made.method}; {verdict}: {made.reason}{disturbed}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, default=os.environ.get("CONVATLAS_TEST_DATA"))
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        compare(given.cifar and Path(given.cifar), given.run, Path(scratch))


def compare(cifar: Path | None, run: Path | None, scratch: Path) -> None:
    import onnxruntime

    lines: list[str] = []

    def say(text: str = "") -> None:
        print(text, flush=True)
        lines.append(text)

    say(f"{describe()}, ONNX Runtime {onnxruntime.__version__}")
    say()
    say("As `convatlas quantize` does it, at most 1 point lost:")
    say(HEADS)
    chosen = subjects(cifar, run, scratch)
    for network, data, model, weights, spec in chosen:
        try:
            made = quantize(model, spec, scratch / "out.onnx", weights=weights)
        except ConvatlasError as error:
            say(f"{network:24} {data:12} left out: {error}".replace(str(scratch), "…"))
            continue
        say(line(network, data, made))
    say()
    say("Each method by itself: points of accuracy lost (without classes: expected to be lost), and answers that are")
    say("the same, on 3,000 pictures at most; two again with weights of 7 bits, for processors without VNNI")
    ways = [*((name, 8) for name in METHODS), ("whole", 7), ("first6entropy", 7)]
    say(f"{'network':24} " + " ".join(f"{name + ('' if bits == 8 else ', 7'):>16}" for name, bits in ways))
    for network, _, model, weights, spec in chosen[1:]:
        cells = []
        for name, bits in ways:
            made = quantize(model, spec, scratch / "out.onnx", weights=weights, method=name, weight_bits=bits,
                            tested=FEWER, allow_busy=True)  # fmt: skip
            cells.append(f"{made.drop:8.2f} {100 * made.agreement:6.1f}%")
        say(f"{network:24} " + " ".join(cells))
    RESULTS.write_text("\n".join(text.rstrip() for text in lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
