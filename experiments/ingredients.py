"""What an ingredient buys at equal budget: python -m experiments.ingredients

Squeeze-and-excitation on ResNet-20, 5,000 pictures of CIFAR-10 at 16 x 16 for 12 epochs; batch norm, the initialisation
and the auxiliary heads on GoogLeNet, 500 of them at 96 x 96 for 10 epochs.  Within each of the two groups everything
else is equal: pictures, order, epochs, and the schedule; the rate is the same but for GoogLeNet without batch norm,
which at the other's does not learn, and He's initialisation has its gradients clipped at 1, without which its loss is
not a number after two steps.  Best in validation, on the test pictures; mean, standard deviation and each seed.
"""

from __future__ import annotations

from experiments.pictures import small
from experiments.study import Study, Trial, by_group, options, spread, write

SMALL = "--recipe paper --epochs 12 --steps 6,9 --warmup 2 --warmup-from 0.1 --size 16 --padding 2".split()
LARGE = (
    "--recipe general --epochs 10 --schedule one_cycle --warmup 0 --size 96 --crop resized --scale 0.5,1 --flip true "
    "--batch 32 --reference-batch 32 --dropout 0.2"
).split()
PLAIN, NORMED = ["--learning-rate", "0.01"], ["--learning-rate", "0.05"]
GROUPS: dict[str, tuple[str, list[str]]] = {
    "ResNet-20": ("16", ["resnet20_cifar", *SMALL]),
    "ResNet-20 with squeeze-and-excitation": ("16", ["resnet20_cifar", "--attention", "se", *SMALL]),
    "GoogLeNet, Caffe's xavier": ("96", ["googlenet", *LARGE, *PLAIN, "--aux-weight", "0"]),
    "GoogLeNet, He's initialisation": (
        "96",
        ["googlenet", *LARGE, *PLAIN, "--aux-weight", "0", "--init", "he", "--clip", "1"],
    ),
    "GoogLeNet, Gaussian of 0.01": ("96", ["googlenet", *LARGE, *PLAIN, "--aux-weight", "0", "--init", "gaussian"]),
    "GoogLeNet with batch norm": ("96", ["googlenet_bn", *LARGE, *NORMED, "--aux-weight", "0"]),
    "GoogLeNet with batch norm and auxiliary heads": ("96", ["googlenet_bn", *LARGE, *NORMED, "--aux-weight", "0.3"]),
}


def main() -> None:
    parser = options(__doc__, "ingredients")
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: cifar10, or folder:PATH")
    given = parser.parse_args()
    specs = {
        "16": small(given.data, given.out / "cifar10_16px.npz", side=16, train=500, validation=100),
        "96": small(given.data, given.out / "cifar10_96px.npz", side=96, train=50, validation=40, test=100),
    }
    trials = [Trial(group, seed, [*words, "--data", specs[side]])
              for seed in range(given.seeds) for group, (side, words) in GROUPS.items()]  # fmt: skip
    outcomes = Study(given.out, given.jobs).run(trials)
    tests = by_group(outcomes, lambda outcome: outcome.test)
    losses = by_group(outcomes, lambda outcome: outcome.training(figure="loss")[-1])
    findings = [f"{group}: test accuracy {spread(tests[group])}; training loss in the last epoch "
                f"{', '.join(f'{loss:.2f}' for loss in losses[group])}" for group in GROUPS]  # fmt: skip
    write("ingredients", str(__doc__).strip(), outcomes, findings)


if __name__ == "__main__":
    main()
