"""How a run is run, which changes nothing that is learned: device, readers, checkpoints, who watches; and how the
processes that share it meet."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from convatlas.errors import ConvatlasError, UnknownName

if TYPE_CHECKING:
    from accelerate import Accelerator

Watch = Callable[[str, dict[str, Any]], None]
"""Told of ("about" | "begin" | "step" | "epoch", figures)."""

PORT = "29500"
"""Where processes meet unless MASTER_PORT says otherwise: torch's own."""


@dataclass(frozen=True)
class Running:
    """device: "auto", or "cpu".  readers: processes that read pictures from files.
    save_every, save_minutes: checkpoints beside one an epoch, every so many steps or minutes.
    tensorboard: write the figures for TensorBoard too.  timeout: seconds to wait for the processes that share the run.
    """

    device: str = "auto"
    readers: int = 2
    save_every: int | None = None
    save_minutes: float | None = None
    tensorboard: bool = False
    timeout: float = 600
    watch: Watch | None = None

    def __post_init__(self) -> None:
        if self.tensorboard and find_spec("tensorboard") is None:
            raise ConvatlasError("TensorBoard is not installed: pip install 'convatlas[tensorboard]'")


PATIENCE = timedelta(hours=6)
"""How long processes wait for each other once they have met: for the first, while it tests, too."""

PLAINLY = Running()


def accelerator_for(precision: str, running: Running = PLAINLY) -> Accelerator:
    """Accelerate's view of this process, when all that share the run have met.

    Raises ConvatlasError where the device cannot compute so, or where processes are missing.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if running.device not in ("auto", "cpu"):
        raise UnknownName("device", running.device, ["auto", "cpu"])
    if running.readers < 0:
        raise ConvatlasError(f"readers is at least 0, not {running.readers}")
    mixed = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision]
    # Without this, Accelerate does not see that there are other processes where there is no GPU.
    plain = running.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    meet(running.timeout, "gloo" if plain else "nccl")
    AcceleratorState._reset_state(reset_partial_state=True)  # of another run of this process
    try:
        made = Accelerator(mixed_precision=mixed, cpu=plain)
    except (RuntimeError, ValueError) as error:
        raise ConvatlasError(f"{precision} on this device: {str(error).splitlines()[0]}") from None
    if mixed != "no" and not made.native_amp:  # Accelerate would go on in float32
        raise ConvatlasError(f"{made.device} does not compute in {precision}; bfloat16 and float32 are everywhere")
    return made


def meet(timeout: float, backend: str) -> None:
    """Join the processes that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT tell of, if they tell of more than one.

    Raises ConvatlasError where the port is taken, or where some are missing after ``timeout`` seconds: it names them.
    """
    import torch.distributed as dist

    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world == 1 or dist.is_initialized():
        return
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT", PORT)
    launched = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun has a store of its own
    master = rank == 0 and not launched
    if not master and not _answers(host, int(port), timeout):  # torch's own store would say so in a hundred lines
        raise ConvatlasError(f"rank {rank} of {world} on {socket.gethostname()} found nobody at {host}:{port} within "
                             f"{timeout:g} s: rank 0 is missing")  # fmt: skip
    try:
        store: Any = dist.TCPStore(host, int(port), world, master, timedelta(seconds=timeout), wait_for_workers=False)
    except RuntimeError as error:
        if "EADDRINUSE" not in str(error) and "already in use" not in str(error):
            raise ConvatlasError(f"the processes cannot meet at {host}:{port}: {str(error).splitlines()[0]}") from None
        raise ConvatlasError(f"port {port} is in use on {socket.gethostname()}; choose another MASTER_PORT "
                             "(torchrun --master-port)") from None  # fmt: skip
    store = dist.PrefixStore(f"convatlas/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    try:
        _arrived(store, rank, world, timeout)
    except dist.DistError:
        raise ConvatlasError(f"rank 0 left before all {world} processes met") from None
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)


def _answers(host: str, port: int, timeout: float) -> bool:
    """Whether anybody listens there, before the time is over."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            with socket.create_connection((host, port), timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def _arrived(store: Any, rank: int, world: int, timeout: float) -> None:
    """Wait until every rank has said that it is there."""
    store.set(f"here/{rank}", socket.gethostname())
    waited = time.monotonic() + timeout
    missing = list(range(world))
    while missing and time.monotonic() < waited:
        missing = [other for other in missing if not store.check([f"here/{other}"])]
        if missing:
            time.sleep(0.05)
    if missing:
        here = {other: store.get(f"here/{other}").decode() for other in range(world) if other not in missing}
        hosts = ", ".join(f"{other} on {host}" for other, host in here.items())
        raise ConvatlasError(f"{len(here)} of {world} processes arrived within {timeout:g} s (rank {hosts}); missing: "
                             f"rank {', '.join(map(str, missing))}")  # fmt: skip
    if rank == 0:
        store.set("met", "yes")
    store.wait(["met"], timedelta(seconds=timeout))
