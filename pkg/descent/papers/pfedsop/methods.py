"""The methods by name: how each is built on a federation from its own settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from descent.core.method import Method
from descent.papers.pfedsop.adaptive import fedala
from descent.papers.pfedsop.averaging import fedavg, fedavg_ft, fedprox, local
from descent.papers.pfedsop.regularised import ditto, pfedme
from descent.papers.pfedsop.second_order import after_step, carry, even, first_order, own_only, pfedsop, shared_only
from descent.papers.pfedsop.split_model import fedrep

METHODS: Mapping[str, Callable[..., Method]] = {
    "local": local,
    "fedavg": fedavg,
    "fedavg_ft": fedavg_ft,
    "fedprox": fedprox,
    "ditto": ditto,
    "fedrep": fedrep,
    "pfedme": pfedme,
    "fedala": fedala,
    "pfedsop": pfedsop,
    "carry": carry,
    "after_step": after_step,
    "first_order": first_order,
    "first_matched": first_order,
    "own_only": own_only,
    "even": even,
    "shared_only": shared_only,
}
SECOND_ORDER = ("pfedsop", "carry", "after_step", "first_order", "first_matched", "own_only", "even", "shared_only")
"""Those that are pFedSOP with something changed."""


def built(name: str, federation: Any, evaluated: tuple[int, ...], **own: Any) -> Method:
    """The method `name`; evaluated: numbers of the rounds after which it will be tested."""
    if name == "fedavg_ft":
        return fedavg_ft(federation, evaluated, **own)
    return METHODS[name](federation, **own)
