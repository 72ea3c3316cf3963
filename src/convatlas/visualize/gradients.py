"""Attribution by a gradient: saliency, SmoothGrad, Grad-CAM.  They take any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas.errors import ConvatlasError
from convatlas.visualize.shown import Shown
from convatlas.visualize.taps import OUTPUT, Taps, name_of, path_of, unread
from convatlas.visualize.targets import Aim

TRIES = 32
"""So many maps are tried for the last that everything goes through."""

Watch = Callable[[int, int], None]
"""(done, of how many)."""


def gradient(taps: Taps, aim: Aim, shown: Shown, pixels: Tensor) -> Tensor:
    """What ``aim`` gains from each value of pictures (N, C, H, W) in [0, 1]: the same shape."""
    pixels = pixels.detach().requires_grad_()
    answer = aim.of(taps(shown(pixels))[aim.layer])
    return back(answer, pixels, aim.label)


def back(answer: Tensor, to: Tensor, label: str, start: Tensor | None = None) -> Tensor:
    """The gradient of ``answer`` (N,); start: what comes in from above, by default 1 each.

    Raises ConvatlasError where none arrives.
    """
    found = None
    if answer.requires_grad:
        (found,) = torch.autograd.grad(answer, to, torch.ones_like(answer) if start is None else start,
                                       allow_unused=True)  # fmt: skip
    if found is None:
        raise ConvatlasError(f"no gradient of {label} arrives: it does not depend on it, or its network cuts it off")
    return found


def strongest(signal: Tensor) -> Tensor:
    """(C, H, W) -> (H, W): at each pixel the value of the colour where it is largest, with its sign."""
    return signal.gather(0, signal.abs().argmax(0, keepdim=True))[0]


def saliency(taps: Taps, aim: Aim, shown: Shown, pixels: Tensor) -> Tensor:
    """max_c |dS/dx|, (H, W).  Simonyan, Vedaldi and Zisserman 2013 (arXiv 1312.6034), section 3."""
    return gradient(taps, aim, shown, pixels)[0].abs().amax(0)


def smoothgrad(taps: Taps, aim: Aim, shown: Shown, pixels: Tensor, samples: int, noise: float, seed: int, batch: int,
               watch: Watch | None = None) -> Tensor:  # fmt: skip
    """Saliency of the mean gradient of noisy copies, (H, W).  Smilkov et al. 2017 (arXiv 1706.03825), section 2.

    noise: the standard deviation, as a part of the picture's range.  Each copy's noise is the same for any batch.
    """
    if samples < 1 or not noise >= 0:
        raise ConvatlasError(f"smoothgrad needs at least 1 sample and noise of 0 or more, not {samples} and {noise:g}")
    draw = torch.Generator().manual_seed(seed)
    deviation = noise * (pixels.max() - pixels.min())
    total = torch.zeros_like(pixels)
    for first in range(0, samples, batch):
        copies = [pixels + deviation * torch.randn(pixels.shape, generator=draw, dtype=pixels.dtype)
                  for _ in range(min(batch, samples - first))]  # fmt: skip
        total += gradient(taps, aim, shown, torch.cat(copies)).sum(0, keepdim=True)
        if watch is not None:
            watch(first + len(copies), samples)
    return (total / samples)[0].abs().amax(0)


def grad_cam(taps: Taps, aim: Aim, shown: Shown, pixels: Tensor, layer: str) -> Tensor:
    """ReLU of the layer's channels, each weighed by the mean of dS/dA over its map; (H, W), its magnitude kept.

    Selvaraju et al. 2016 (arXiv 1610.02391), equations 1 and 2; enlarged bilinearly to the picture's size.
    Raises ConvatlasError for a layer without a map of more than one unit, and one that the score does not depend on.
    """
    given = taps.shapes[layer]
    if len(given) != 4 or given[2] * given[3] < 2:
        shape = " x ".join(map(str, given[1:]))
        raise ConvatlasError(f"grad-cam weighs the channels of a map, and {layer} gives {shape}: name a layer before "
                             "its map is pooled")  # fmt: skip
    seen = taps(shown(pixels.detach().requires_grad_()))
    maps = seen[layer]
    weights = back(aim.of(seen[OUTPUT]), maps, f"{aim.label} at {layer}").mean((2, 3), keepdim=True)
    cam = (weights * maps).sum(1, keepdim=True).detach().clamp(min=0)
    return F.interpolate(cam, pixels.shape[2:], mode="bilinear", align_corners=False)[0, 0]


def last_map(net: nn.Module, x: Tensor) -> str:
    """The path of the last module that gives a map of more than one unit for x through which everything goes.

    So a branch or a block's inside is none.  Of modules that give the very same map, the outermost in the network.
    Raises ConvatlasError where no module gives a map, where everything goes through none of the last 32, and where the
    network does not run on x.
    """
    found: list[tuple[str, Tensor, int]] = []

    def keep(path: str, out: Any) -> None:
        if isinstance(out, Tensor) and out.dim() == 4 and out.shape[2] * out.shape[3] > 1:
            found.append((path, out, out._version))

    parts = {path: module for path, module in net.named_modules() if path not in ("", "trunk")}
    with torch.no_grad():
        _hooked(net, x, {path: (module, keep) for path, module in parts.items()})
    same: dict[tuple[int, int], list[str]] = {}
    for path, out, version in found:
        same.setdefault((id(out), version), []).append(path)
    if not same:
        raise ConvatlasError(f"no layer of {name_of(net)} gives a map of more than one unit: grad-cam has nothing to "
                             "weigh")  # fmt: skip
    outermost = [min(paths, key=lambda path: path.count(".")) for paths in same.values()][::-1]
    for path in outermost[:TRIES]:
        answer = _hooked(net, x.detach().requires_grad_(), {path: (parts[path], lambda _, out: out.detach())})
        if not getattr(answer, "requires_grad", False):
            return path_of(net, path)
    raise ConvatlasError(f"{name_of(net)} has no one last map that everything goes through: name a layer")


def _hooked(net: nn.Module, x: Tensor, hooks: dict[str, tuple[nn.Module, Callable[[str, Any], Any]]]) -> Any:
    """What the network gives while each of these modules' outputs passes through (path, output) -> output or None."""

    def hook(path: str, act: Callable[[str, Any], Any]) -> Any:
        return lambda module, given, out: act(path, out)

    handles = [module.register_forward_hook(hook(path, act)) for path, (module, act) in hooks.items()]
    try:
        return net(x.clone())
    except ConvatlasError:
        raise
    except Exception as error:  # whatever a stranger's forward does
        raise unread(net, x, error) from error
    finally:
        for handle in handles:
            handle.remove()
