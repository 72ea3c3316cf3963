"""convatlas tour"""
from __future__ import annotations


def tour() -> None:
    """x"""
