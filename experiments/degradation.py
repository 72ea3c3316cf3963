"""Degradation: do deeper plain networks train worse, and residual ones not?  python -m experiments.degradation

He et al. 2015 (arXiv 1512.03385), Figure 6, in small: plain-20, plain-56, ResNet-20 and ResNet-56 on 10,000 pictures of
CIFAR-10 at 16 x 16, 30 epochs of SGD by the paper's recipe (batch 128, crops and flips), the rate of 0.1 warmed up from
0.01 in the first three epochs and divided by ten after half and three quarters of the training.  What is compared is
the error on the **training** pictures, over the last epoch, as the networks see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.pictures import small
from experiments.study import RESULTS, Outcome, Study, Trial, by_group, options, spread, write

NETWORKS = ("plain20_cifar", "plain56_cifar", "resnet20_cifar", "resnet56_cifar")
RECIPE = (
    "--recipe paper --epochs 30 --steps 15,22.5 --warmup 3 --warmup-from 0.1 --size 16 --padding 2 --channels-last true"
).split()


def figure(outcomes: Sequence[Outcome], path: Path) -> None:
    """Error on the training pictures by epoch: a line a run, networks by colour, depth by the kind of line."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(7, 4.2), layout="constrained")
    panel = made.subplots()
    for outcome in outcomes:
        group = outcome.trial.group
        colour = "#b5532a" if group.startswith("plain") else "#2a6f97"
        errors = [100 * (1 - value) for value in outcome.training()]
        panel.plot(range(1, len(errors) + 1), errors, color=colour, linewidth=1.4 if "56" in group else 1,
                   linestyle="-" if "56" in group else (0, (4, 2)),
                   label=group.removesuffix("_cifar") if outcome.trial.seed == 0 else None)  # fmt: skip
    panel.set(xlabel="epoch", ylabel="error on the training pictures, %", xlim=(1, None), ylim=(0, None))
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e4e4e8")
    panel.legend(frameon=False)
    made.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = options(__doc__, "degradation")
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: cifar10, or folder:PATH")
    given = parser.parse_args()
    spec = small(given.data, given.out / "cifar10_16px.npz", side=16, train=1000, validation=100)
    trials = [Trial(network, seed, [network, "--data", spec, *RECIPE])
              for seed in range(given.seeds) for network in reversed(NETWORKS)]  # fmt: skip
    outcomes = Study(given.out, given.jobs).run(trials)
    last = by_group(outcomes, lambda outcome: 1 - outcome.training()[-1])
    tests = by_group(outcomes, lambda outcome: 1 - outcome.test)
    findings = [f"{name}: training error {spread(last[name])}, test error {spread(tests[name])}" for name in NETWORKS]
    for kind in ("plain", "resnet"):
        shallow, deep = (sum(last[f"{kind}{depth}_cifar"]) / given.seeds for depth in (20, 56))
        findings.append(f"{kind}: 56 layers have a training error {100 * (deep - shallow):+.2f} points from 20 layers'")
    write("degradation", str(__doc__).strip(), outcomes, findings)
    figure(outcomes, RESULTS / "degradation.svg")


if __name__ == "__main__":
    main()
