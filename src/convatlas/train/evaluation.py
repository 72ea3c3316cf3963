"""evaluate: a network, or a run's best, on a data set."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from convatlas import heap
from convatlas.data import Data, load
from convatlas.data.trained import as_trained, matched
from convatlas.deploy.engine import engine
from convatlas.errors import ConvatlasError
from convatlas.train.feed import Feed
from convatlas.train.recipe import Recipe
from convatlas.train.running import PLAINLY, Running, accelerator_for
from convatlas.weights import Source
from convatlas.weights.loading import told_of
from convatlas.weights.source import BEST


def scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Loss, top-1 and, with more than five classes, top-5 accuracy, each from 0 to 1."""
    found = {
        "loss": float(F.cross_entropy(logits, labels)),
        "accuracy": float((logits.argmax(1) == labels).float().mean()),
    }
    if logits.shape[1] > 5:
        found["top5"] = float((logits.topk(5, 1).indices == labels[:, None]).any(1).float().mean())
    return found


@heap.kept()
def evaluate(
    network: str,
    data: str,
    *,
    weights: str = "default",
    split: str | None = None,
    size: int | None = None,
    batch: int = 100,
    bad_images: str = "stop",
    kind: str = "auto",
    running: Running = PLAINLY,
) -> dict[str, Any]:
    """Test a network, or a run's best: {"loss", "accuracy", "top5", "split", "pictures", "skipped", "seconds"}.

    network: a registered name with ``weights`` (an id, a file, a run's folder), or a run's folder or an exported file,
    which carry their own.
    split: "test" by default where there is one; "validation" or "train" otherwise.
    size: side of the pictures in pixels; by default that of the weights.
    kind: of the engine that runs it (``convatlas.deploy.engine``); the figures are the same.
    skipped: how many pictures of the data were left out because they cannot be read.

    The data that a run was trained on is divided as it was then; any other folder that is not divided is taken whole.
    Classes are matched by their names where the network's are known, else by their order.  Raises ConvatlasError where
    they do not match.
    """
    if batch < 1:
        raise ConvatlasError(f"batch is at least 1, not {batch}")
    split = "validation" if split == "val" else split
    accelerator = accelerator_for("float32", running)
    device = None if accelerator.device.type == "cpu" else str(accelerator.device)
    made = engine(network, kind, weights=weights, input_size=size, device=device)
    known = made.known
    preprocess, told = known.preprocess, told_of(known.source)
    opened = as_trained(told, data, _run_of(known.source)) or load(data, bad_images=bad_images, split=split or "test")
    split = split or ("test" if opened.test is not None else "validation")
    chosen = _split(opened, split)
    order = torch.from_numpy(matched(opened, known.labels))
    nothing = Recipe.model_validate({"epochs": 1, "learning_rate": 1})  # a test asks nothing of it
    feed = Feed(nothing, preprocess, accelerator.device, running.readers)
    logits, answers = [], []
    start = time.perf_counter()
    with torch.no_grad(), closing(feed.testing(chosen, batch)) as batches:
        for pictures, truth in batches:
            logits.append(made(pictures).float().cpu())
            answers.append(order[truth.cpu()])
    figures: dict[str, Any] = scores(torch.cat(logits), torch.cat(answers))
    counts = {"split": split, "pictures": len(chosen), "skipped": len(opened.skipped)}
    return {**figures, **counts, "seconds": time.perf_counter() - start}


def _run_of(source: Source) -> Path:
    """The run's folder, or the file that was exported from it."""
    path = Path(source.where)
    return path.parent if path.name == BEST else path


def _split(data: Data, wanted: str) -> Any:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    if splits.get(wanted) is None:
        raise ConvatlasError(
            f"{data.spec} has no split {wanted!r}; it has {', '.join(k for k, v in splits.items() if v)}"
        )
    return splits[wanted]
