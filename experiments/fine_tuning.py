"""Fine-tuning against training from scratch: python -m experiments.fine_tuning

EfficientNet-Lite0 on 50, 200 and 1,000 pictures of each class of CIFAR-10, enlarged from 32 to 64 pixels: from its
ImageNet weights and from scratch, by one schedule, for 12, 6 and 2 epochs.  Each begins at the rate that suits it: 0.01
for the trained weights, 0.05 for fresh ones.  Best in validation, on 1,000 test pictures; mean, standard deviation and
each seed; one seed for the largest.
"""

from __future__ import annotations

from experiments.pictures import small
from experiments.study import Study, Trial, by_group, options, spread, write

SETS = {50: ("12", 3), 200: ("6", 3), 1000: ("2", 1)}
"""Pictures of each class: epochs, and seeds at most."""
RECIPE = (
    "--recipe general --warmup 0.5 --batch 32 --reference-batch 32 --channels-last true --size 64 --crop resized "
    "--scale 0.5,1 --flip true --smoothing 0.1"
).split()
BEGINNINGS = {
    "fine-tuned": ["--weights", "default", "--learning-rate", "0.01"],
    "from scratch": ["--learning-rate", "0.05"],
}


def main() -> None:
    parser = options(__doc__, "fine_tuning")
    parser.add_argument("--data", default="cifar10", help="CIFAR-10: cifar10, or folder:PATH")
    given = parser.parse_args()
    trials = []
    for each, (epochs, seeds) in SETS.items():
        spec = small(given.data, given.out / f"cifar10_{each}_64px.npz", side=64, train=each, validation=40, test=100)
        trials += [Trial(f"{each} of each class, {beginning}", seed,
                         ["efficientnet_lite0", "--data", spec, *RECIPE, "--epochs", epochs, *words])
                   for seed in range(min(seeds, given.seeds)) for beginning, words in BEGINNINGS.items()]  # fmt: skip
    outcomes = Study(given.out, given.jobs).run(trials)
    tests = by_group(outcomes, lambda outcome: outcome.test)
    write("fine_tuning", str(__doc__).strip(), outcomes,
          [f"{group}: test accuracy {spread(values)}" for group, values in tests.items()])  # fmt: skip


if __name__ == "__main__":
    main()
