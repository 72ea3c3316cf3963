"""A search against as many random networks: scikit-learn's digits, 250 K multiply-adds, three seeds each.

Every sampler trains as many networks of the same space, for as long; what it found is then trained anew three times,
with other seeds and for longer, and tested: the accuracy that a search reports of its best is the best of many.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.machine import describe
from convatlas.numbers import short
from convatlas.scaling.place import Place
from convatlas.scaling.results import Result
from convatlas.scaling.search import Aim, search
from convatlas.scaling.space import NETWORK
from convatlas.scaling.training import Budget, Trainer
from experiments.study import RESULTS

TARGET, AGAIN = 250e3, (101, 102, 103)
SAMPLERS = ("random", "evolution", "tpe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, default=Path("studies/search"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    budget, trainer = Budget(given.data, epochs=given.epochs), Trainer(Budget(given.data, epochs=3 * given.epochs))
    lines = [
        describe(),
        f"{given.data}, {short(TARGET)} multiply-adds, {given.trials} networks of {given.epochs:g} epochs a search, "
        f"{given.seeds} seeds; the best anew: {len(AGAIN)} trainings of {3 * given.epochs:g} epochs",
        "",
        f"{'sampler':12}{'seed':>5}{'best reward':>13}{'its accuracy':>14}{'multiply-adds':>15}{'anew':>18}",
    ]
    rewards: dict[str, list[float]] = {}
    anew: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        for by in SAMPLERS:
            found: Result = search(budget, Place(given.out / f"{by}-{seed}"), Aim(macs=TARGET), trials=given.trials,
                                   by=by, seed=seed)  # fmt: skip
            best = found.winner
            again = [trainer(NETWORK, best.options, other).accuracy for other in AGAIN]
            rewards.setdefault(by, []).append(best.reward or 0.0)
            anew.setdefault(by, []).append(statistics.fmean(again))
            lines.append(f"{by:12}{seed:>5}{best.reward:>13.4f}{100 * (best.accuracy or 0):>12.2f} %{best.macs:>15,}"
                         f"{100 * statistics.fmean(again):>10.2f} ± {100 * statistics.stdev(again):.2f} %")  # fmt: skip
            print(lines[-1], flush=True)
    lines.append("")
    for by in SAMPLERS:
        spread = statistics.stdev(rewards[by]) if given.seeds > 1 else 0.0
        lines.append(f"{by:12} best reward {statistics.fmean(rewards[by]):.4f} ± {spread:.4f}, anew "
                     f"{100 * statistics.fmean(anew[by]):.2f} %")  # fmt: skip
    base = statistics.fmean(rewards["random"])
    for by in SAMPLERS[1:]:
        gap, wins = statistics.fmean(rewards[by]) - base, sum(a > b for a, b in zip(rewards[by], rewards["random"]))
        spread = max(statistics.stdev(rewards[one]) for one in (by, "random")) if given.seeds > 1 else float("inf")
        said = "beats" if gap > spread else "does not beat"
        lines.append(f"{by} {said} the best of as many random ones: {gap:+.4f}, {wins} of {given.seeds} seeds, which "
                     f"differ by {spread:.4f}")  # fmt: skip
    (RESULTS / "search.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
