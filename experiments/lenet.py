"""LeNet-5 of 1998 and its modern reading on MNIST, to their published accuracy: python -m experiments.lenet

The paper has 0.95 % of errors on the digits as they are, 0.8 % with distorted ones added (LeCun et al. 1998, section
III), each on 60,000; here are 55,000 to learn from, or 50,000 where MNIST comes through pip.  `convatlas recipe show
lenet5 --recipe paper`, and `modern`, say what was changed from its optimizer.
"""

from __future__ import annotations

from experiments.study import Study, Trial, by_group, options, spread, write

GROUPS = {
    "LeNet-5 of 1998 near its paper": ["lenet5", "--data", "mnist", "--recipe", "paper"],
    "LeNet-5 of 1998 with AdamW": ["lenet5", "--data", "mnist"],
    "LeNet-5 of today": ["lenet5_modern", "--data", "mnist"],
}


def main() -> None:
    given = options(__doc__, "lenet").parse_args()
    trials = [Trial(group, seed, words) for seed in range(given.seeds) for group, words in GROUPS.items()]
    outcomes = Study(given.out, given.jobs).run(trials)
    tests = by_group(outcomes, lambda outcome: outcome.test)
    taken = by_group(outcomes, lambda outcome: outcome.told["seconds"])
    findings = [f"{group}: test accuracy {spread(tests[group])}, in {min(taken[group]):.0f} s" for group in GROUPS]
    write("lenet", str(__doc__).strip(), outcomes, findings)


if __name__ == "__main__":
    main()
