"""All that a job may use beside its parameters: device, random streams, data, the outputs of other jobs, a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from descent.core.checkpoint import Checkpoint, NoCheckpoint
from descent.core.errors import ConfigError
from descent.core.job import Variant
from descent.core.streams import Streams

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


@dataclass(frozen=True)
class Need:
    """What a job reads of another: its records, its named arrays, what it chose."""

    records: pd.DataFrame
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    chosen: tuple[Mapping[str, Any], ...] = ()

    def choose(self, variant: Variant, setting: str) -> Any:
        """The value that a `select` job chose for `setting`, for the group that `variant` belongs to."""
        own = {"method": variant.method, **variant.params}
        for choice in self.chosen:
            if all(own.get(name) == value for name, value in choice["group"].items()) and setting in choice["values"]:
                return choice["values"][setting]
        raise ConfigError(
            f"nothing was chosen for `{setting}` of {variant.key}: its `select` experiment has no such group"
        )


@dataclass
class Context:
    """All that a job may use beside its parameters."""

    device: torch.device
    streams: Streams
    data: Mapping[str, Any]
    needs: Mapping[str, Need] = field(default_factory=dict)
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    say: Callable[[str], None] = lambda text: None
