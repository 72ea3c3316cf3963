"""DenseNet against ResNet on few pictures: python -m experiments.small_sets

DenseNet-40 (k = 12, 1.02 M parameters) and ResNet-56 (0.85 M) on 50 and 200 pictures of each class of CIFAR-10 at
16 x 16, by one recipe, 20 epochs.  DenseNet's paper (arXiv 1608.06993, section 5) sees its networks overfit less.  Best
in validation, on the test pictures; mean, standard deviation and each seed.
"""

from __future__ import annotations

from experiments.pictures import small
from experiments.study import Study, Trial, by_group, options, spread, write

NETWORKS = {"DenseNet-40": "densenet40_k12_cifar", "ResNet-56": "resnet56_cifar"}
EACH = (50, 200)
RECIPE = (
    "--recipe general --schedule steps --epochs 20 --steps 10,15 --warmup 2 --warmup-from 0.1 --size 16 --crop pad "
    "--padding 2 --flip true"
).split()


def main() -> None:
    parser = options(__doc__, "small_sets")
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: cifar10, or folder:PATH")
    given = parser.parse_args()
    trials, rows = [], []
    for each in EACH:
        spec = small(given.data, given.out / f"cifar10_{each}_16px.npz", side=16, train=each, validation=20)
        rows += [(name, each) for name in NETWORKS]
        trials += [Trial(f"{name}, {each} of each class", seed, [network, "--data", spec, *RECIPE])
                   for seed in range(given.seeds) for name, network in NETWORKS.items()]  # fmt: skip
    outcomes = Study(given.out, given.jobs).run(trials)
    tests = by_group(outcomes, lambda outcome: outcome.test)
    trained = by_group(outcomes, lambda outcome: outcome.training()[-1])
    findings = [f"{group}: test accuracy {spread(tests[group])}, training accuracy {spread(trained[group])}"
                for group in (f"{name}, {each} of each class" for name, each in rows)]  # fmt: skip
    write("small_sets", str(__doc__).strip(), outcomes, findings)


if __name__ == "__main__":
    main()
