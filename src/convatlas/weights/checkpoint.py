"""Reading checkpoints: tensors by name, and nothing that could run code."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convatlas.errors import ConvatlasError

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
"""Under which of its keys a training checkpoint holds the network."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and trainers write before every name."""


def read(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: safetensors, torch files, or a pickle of numpy arrays.

    Torch files are read with ``weights_only=True``, pickles by a reader that can make nothing but numpy arrays.  A
    state dict inside a training checkpoint is found, and what DataParallel or torch.compile put before the names is
    taken off.  Arrays as TensorFlow has them (H, W, in, out) become (out, in, H, W).

    Raises ConvatlasError for what is no checkpoint, is damaged, or holds anything else than tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
        content = _content(path, start)
    except OSError as error:
        raise ConvatlasError(f"{path} cannot be read: {error.strerror or error}") from error
    return _plain(_unwrapped(content), path)


def _content(path: Path, start: bytes) -> Any:
    if not start:
        raise ConvatlasError(f"{path} is empty")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _safetensors(path)
    if start.startswith(TORCH_BEFORE_1_6) or zipfile.is_zipfile(path):
        return _torch(path)
    if start.startswith(b"PK"):
        raise ConvatlasError(f"{path} is cut off")
    if start[:1] == b"\x80":
        return _numpy_pickle(path)
    raise ConvatlasError(f"{path} is no checkpoint (safetensors, or a file that torch.save wrote)")


TORCH_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise ConvatlasError(f"{path} is a damaged safetensors file: {_reason(error)}") from error


def _torch(path: Path) -> Any:
    import torch

    if zipfile.is_zipfile(path) and any("/code/" in name for name in zipfile.ZipFile(path).namelist()):
        raise ConvatlasError(f"{path} is a TorchScript archive, which holds code; save the network's state_dict()")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConvatlasError(
            f"{path} is no plain checkpoint: it holds Python objects, and loading those could run code; "
            "save the network's state_dict() alone"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError … for damaged files
        raise ConvatlasError(f"{path} is damaged, or no checkpoint: {_reason(error)}") from error


# ---- pickles of numpy arrays ------------------------------------------------------------------------------


class _OnlyArrays(pickle.Unpickler):
    """Unpickles numpy arrays in plain containers; any other class or function in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numeric", "_frombuffer"): _array_from_buffer,
            ("_codecs", "encode"): _latin1,  # how protocol 2 writes bytes
        }
        inside = re.sub(r"^numpy\._?core\.", "", module)  # renamed in numpy 2
        if (inside, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return known[inside, name]


def _array_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, axis: Any = None) -> Any:
    import numpy as np

    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _numpy_pickle(path: Path) -> dict[str, Tensor]:
    """{name: array} or {name: [weight, bias]} -> tensors in torch's layout, named name.weight and name.bias."""
    try:
        with path.open("rb") as file:
            content = _OnlyArrays(file).load()
    except Exception as error:  # a pickle that is none fails in all kinds of ways
        raise ConvatlasError(
            f"{path} is no checkpoint: only numpy arrays are read from a pickle, not {error}"
        ) from error
    tensors: dict[str, Tensor] = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, list | tuple):
            tensors |= {f"{name}.{part}": _tensor(array, path) for part, array in zip(("weight", "bias"), value)}
        else:
            tensors[name] = _tensor(value, path)
    return tensors


def _tensor(array: Any, path: Path) -> Tensor:
    import numpy as np
    import torch

    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ConvatlasError(f"{path} holds a {type(array).__name__} where an array of numbers was expected")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array))


# ---- what is inside ---------------------------------------------------------------------------------------


def _unwrapped(content: Any) -> Any:
    """The state dict inside a training checkpoint."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def _plain(content: Any, path: Path) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, Mapping) or not content:
        raise ConvatlasError(f"{path} holds no state dict: tensors by name")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ConvatlasError(f"{path} holds no state dict: {key!r} is a {type(value).__name__}, not a tensor")
    names = dict(content)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
