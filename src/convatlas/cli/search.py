"""convatlas search"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from convatlas.cli import output
from convatlas.cli.studying import folder_of, running, worked
from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from convatlas.scaling.results import Result

Flag = Annotated[bool, Parameter(negative=())]


def search(
    *,
    data: str,
    space: str = "mbconv",
    target_macs: str | None = None,
    target_ms: float | None = None,
    trials: output.Whole = 64,
    sampler: str = "tpe",
    epochs: float | None = None,
    halving: Flag = False,
    front: Flag = False,
    weight: float = -0.07,
    over: float = 1.5,
    input: output.Whole | None = None,
    width: float | None = None,
    engine: str = "onnxruntime",
    recipe: str = "general",
    seed: output.Whole = 0,
    out: Path | None = None,
    storage: str | None = None,
    study: str | None = None,
    readers: output.Whole = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> int:
    """Search for a network: block, kernel, gate, width and depth of every stage, for your pictures and your target.

    Examples:

    `convatlas search --data cifar10 --target-macs 50M --trials 64`

    `convatlas search --data folder:photos --target-ms 5 --halving --epochs 9`

    `convatlas search --data digits --target-macs 300K --trials 100 --storage postgresql://me@host/studies`

    Parameters
    ----------
    data
        As for `convatlas train`. The test pictures are not looked at.
    space
        mbconv: stages of inverted residuals, separable and plain convolutions, as MnasNet's, from whose space
        EfficientNet's baseline came too.
    target_macs
        Multiply-adds that the network should have: 50M.
    target_ms
        Or milliseconds for a picture, as predicted for this machine (`convatlas calibrate`).
    trials
        Networks that are trained.
    sampler
        Who proposes them: tpe (the default), evolution or random.
    epochs
        Of each training; by default the recipe's.
    halving
        End poor networks early, by successive halving.
    front
        Accuracy and cost are two goals: the outcome is a front. Else the reward is accuracy x (cost / target)^weight.
    weight
        Of the reward, MnasNet's by default.
    over
        How many times the target a network may cost: what costs more is thrown out untrained.
    input
        Side of the pictures; by default that of the data.
    width
        Of the whole space, times MobileNetV2's channels; by default so that the target lies in its middle.
    engine
        Whose time is predicted: onnxruntime or eager.
    recipe
        As for `convatlas train`; the same for all.
    seed
        Decides what is drawn and how networks begin.
    out
        The study's folder; by default studies/SPACE-DATA.
    storage
        The study's database: sqlite:///FILE (by default in the folder), or postgresql://USER@HOST/NAME for many
        machines.
    study
        Its name there; by default the folder's.
    readers
        Processes that read pictures from files.
    quiet
        No progress.
    json
        Print the result as JSON.

    Start the same command several times, on one machine or many, and they share the study; end any, and start it again
    to go on. The best network is written as found.py, a table as those of the atlas (`convatlas show found.py:found`),
    and as found.json (`convatlas train mnasnet_a1 --design found.json --data …`): train it anew before you believe it.
    """
    from convatlas.scaling.place import Place
    from convatlas.scaling.search import Aim
    from convatlas.scaling.search import search as work_off
    from convatlas.scaling.training import Budget

    if target_macs is None and target_ms is None and not front:
        raise ConvatlasError("for which target? --target-macs 50M, or --target-ms 5; or --front, for all of them")
    aim = Aim(None if target_macs is None else output.count(target_macs),
              None if target_ms is None else target_ms / 1000, weight, over, front, engine)  # fmt: skip
    place = Place(out or folder_of(space, data), storage, study)

    def work(watch: Any) -> Result:
        return work_off(Budget(data, recipe, epochs, running=running(readers)), place, aim, trials=trials, kind=space,
                        by=sampler, side=input, width=width, halving=halving, seed=seed, watch=watch)  # fmt: skip

    return worked(work, place.folder, quiet, json)
