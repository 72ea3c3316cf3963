"""Small sets of pictures for studies: so many of each class of a data set, at a smaller size, in one npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from convatlas.data import Arrays, Files, load


def small(spec: str, path: Path, *, side: int, train: int, validation: int, test: int | None = None) -> str:
    """Write ``path``, where it is not there yet, and give its spec.

    spec: of the data set, every picture of one size; side: of the pictures written; train, validation: how many of each
    class; test: the same, None for all.  Always the same pictures.
    """
    if not path.exists():
        data = load(spec, holdout=validation * len(load(spec).classes))
        assert data.test is not None
        parts = {"train": chosen(data.train, train), "val": chosen(data.validation, validation),
                 "test": chosen(data.test, test)}  # fmt: skip
        arrays = {}
        for name, (split, places) in parts.items():
            arrays[f"{name}_images"] = resized(split, places, side)
            arrays[f"{name}_labels"] = split.labels[places].numpy()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part.npz")
        np.savez(beside, classes=np.array(data.classes), **arrays)
        beside.replace(path)
    return f"npz:{path}"


def chosen(split: Arrays | Files, each: int | None) -> tuple[Arrays | Files, torch.Tensor]:
    """The places of so many pictures of each class, by chance that is always the same."""
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(split)))
    if each is None:
        return split, order.sort().values
    taken = [order[split.labels[order] == label][:each] for label in split.labels.unique()]
    return split, torch.cat(taken).sort().values


def resized(split: Arrays | Files, places: torch.Tensor, side: int) -> np.ndarray:
    """(N, side, side, C) uint8: by the mean of the pixels in each new one's place."""
    pictures = np.stack([split.picture(int(place)) for place in places])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    parts = [F.interpolate(part.float(), (side, side), mode="area") if side < images.shape[-1] else
             F.interpolate(part.float(), (side, side), mode="bicubic", antialias=True)
             for part in images.split(1024)]  # fmt: skip
    return torch.cat(parts).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
