"""Compound scaling against one dimension alone, at equal multiply-adds: EfficientNet's question, on small pictures.

MobileNetV2 at half its width reads CIFAR-10 at 17 pixels, about half of what the pictures have, and is scaled to 1.75
times its counted multiply-adds (32 pixels alone give these): by four networks of the grid, and by depth, width and
resolution alone; three seeds each.  Start it as many times as there are cores: the processes share the study.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import describe
from convatlas.scaling.compound import train_grid
from convatlas.scaling.networks import Base
from convatlas.scaling.place import Place
from convatlas.scaling.report import figure
from convatlas.scaling.results import mean_and_spread, ordered
from convatlas.scaling.training import Budget
from experiments.pictures import small
from experiments.study import RESULTS

BASE = Base("mobilenet_v2_x1_0", side=17, width=0.5)
TIMES, MOST = 1.75, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: cifar10, or folder:PATH")
    parser.add_argument("--out", type=Path, default=Path("studies/compound"))
    parser.add_argument("--storage", help="postgresql://…; by default SQLite in the folder")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    spec = small(given.data, given.out / "cifar10_32px.npz", side=32, train=600, validation=300, test=100)
    found = train_grid(
        BASE, Budget(spec, epochs=given.epochs), Place(given.out, given.storage), times=TIMES, counted=True, most=MOST,
        seeds=range(given.seeds), watch=told,
    )  # fmt: skip
    lines = [describe(), found.title, *found.about, ""]
    lines.append(f"{'candidate':18}{'kind':12}{'multiply-adds':>14}{'parameters':>12}{'accuracy':>18}")
    for one in ordered(found.candidates):
        lines.append(f"{one.name:18}{one.kind:12}{one.macs:>14,}{one.params:>12,}{mean_and_spread(one):>18}")
    lines += ["", *found.notes, f"trials: {dict(found.counts)}"]
    (RESULTS / "compound.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    figure(found, "cost", RESULTS / "compound.svg")
    print("\n".join(lines))


def told(event: str, figures: dict[str, object]) -> None:
    if event in ("candidate", "finished"):
        print(event, figures, flush=True)


if __name__ == "__main__":
    main()
