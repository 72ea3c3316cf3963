"""Whether what was exported answers as the network itself does: on noise, and on real photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convatlas.errors import ConvatlasError
from convatlas.numbers import counted
from convatlas.weights import Preprocess, read_picture

BESIDE_ITS_OWN = 4
"""How many times the error of its own float32 an answer may be off."""
TOLERANCE = 1e-4
"""The largest error of a logit at most, in parts of the largest logit of its picture."""

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, C, H, W) -> logits (N, classes)."""


@dataclass(frozen=True)
class Agreement:
    """error: the largest, over all pictures, of max |ours - theirs| / max |theirs|.  same_top1: of how many pictures
    the first class is the same; noise, pictures: how many inputs of each kind.

    own: the same error of the network itself, in float32 beside float64, where it was asked for: a network of hundreds
    of blocks with fresh weights has one that no engine can go below.
    """

    error: float
    tolerance: float
    same_top1: int
    noise: int
    pictures: int
    own: float | None = None

    @property
    def holds(self) -> bool:
        return self.error <= max(self.tolerance, BESIDE_ITS_OWN * (self.own or 0.0))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        noise = counted(self.noise, "input")
        pictures = f"and {counted(self.pictures, 'picture')}" if self.pictures else "alone, no pictures were checked"
        own = "" if self.own is None else f"; float32 itself is off by {self.own:.1e}"
        error = f"largest error of a logit {self.error:.1e} (at most {self.tolerance:.0e}{own})"
        return f"same answers on {noise} of noise {pictures}: {error}"


def agreement(
    reference: Answer,
    answer: Answer,
    inputs: tuple[NDArray[np.float32], int],
    tolerance: float = TOLERANCE,
    exact: Callable[[], Answer] | None = None,
) -> Agreement:
    """Compare two ways of running a network on ``inputs_for``'s inputs, one at a time and two at once.

    exact: the network in float64, which is asked where the two do not agree.

    Raises ConvatlasError where they give other shapes, or what is no number.
    """
    given, noise = inputs
    wanted = np.concatenate([reference(one[None]) for one in given])
    found = np.concatenate([answer(given[:1]), *(answer(given[i : i + 2]) for i in range(1, len(given), 2))])
    if found.shape != wanted.shape:
        raise ConvatlasError(f"the exported network gives {found.shape[1:]} for a picture, not {wanted.shape[1:]}")
    if not np.isfinite(wanted).all():
        raise ConvatlasError("the network itself gives what is no number: its weights are damaged")
    error, own = _error(found, wanted), None
    if error > tolerance and exact is not None:
        run = exact()
        own = _error(wanted, np.concatenate([run(one[None]) for one in given]))
    same = int((found.argmax(1) == wanted.argmax(1)).sum())
    return Agreement(error, tolerance, same, noise, len(given) - noise, own)


def _error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest, over all pictures, of max |found - wanted| / max |wanted|."""
    axes = tuple(range(1, wanted.ndim))
    largest = np.maximum(np.abs(wanted).max(axes), np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.abs(found - wanted).max(axes) / largest, nan=np.inf).max())


def inputs_for(
    input_size: tuple[int, int, int],
    preprocess: Preprocess | None,
    pictures: Sequence[Any] = (),
    noise: int = 3,
    unread: list[str] | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Inputs to compare on, (N, C, H, W), and how many of them are noise; the others are pictures as the network sees
    them: those given, or the photographs that come with scikit-learn.

    unread: where it is said what is wrong with those that cannot be read.
    Raises ConvatlasError where all those given are among them.
    """
    made = [np.random.default_rng(n).standard_normal(input_size).astype(np.float32) for n in range(noise)]
    channels, height, width = input_size
    fits = preprocess is not None and height == width and preprocess.channels == channels
    if fits and preprocess is not None:
        seen = preprocess if preprocess.crop == height else preprocess.at(height)
        wrong = [] if unread is None else unread
        for picture in pictures or photographs():
            try:
                made.append(seen(read_picture(picture)))
            except ConvatlasError as error:
                wrong.append(str(error))
        if pictures and len(wrong) == len(pictures):
            raise ConvatlasError(wrong[0] if len(wrong) == 1 else f"none of the {len(wrong)} pictures can be read")
    return np.stack(made), noise


def photographs() -> list[Path]:
    """scikit-learn's two: a temple and a flower."""
    found = find_spec("sklearn")
    folder = Path(found.origin).parent / "datasets" / "images" if found and found.origin else None
    return sorted(folder.glob("*.jpg")) if folder is not None else []
