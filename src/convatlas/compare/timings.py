"""Times of the networks on this machine: the one place where the comparison asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from convatlas.errors import ConvatlasError

NO_CALIBRATION = "no calibration of this machine; run convatlas calibrate"


def predicted(name: str, input_size: int) -> float:
    """Seconds for one picture, predicted from the network's graph and this machine's calibration.

    Raises ConvatlasError where the machine was not calibrated.
    """
    raise ConvatlasError(NO_CALIBRATION)


def measured(names: Sequence[str], input_size: int | None = None) -> dict[str, float]:
    """Seconds for one picture of each network, measured on this machine and remembered.

    Raises ConvatlasError where nothing can be measured.
    """
    raise ConvatlasError(NO_CALIBRATION)


def remembered(names: Sequence[str]) -> dict[str, float]:
    """Of these networks, the measured seconds that this machine's cache holds; nothing is measured."""
    return {}
