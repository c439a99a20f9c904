"""The datasets of a job, loaded when it first asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from descent.core.errors import ConfigError, DataError


class Datasets(Mapping):
    """The datasets of a job, loaded and checked at first use; a job sees only those that it declares.

    stand_ins: dataset -> the one that takes its place (at smoke, where an import may be absent).
    """

    def __init__(self, hashes: Mapping[str, str], stand_ins: Mapping[str, str]):
        self.hashes, self.stand_ins, self._loaded = hashes, stand_ins, {}

    def __getitem__(self, name: str) -> Any:
        from descent.data.loaders import load

        if name not in self.hashes:
            raise ConfigError(f"the job reads the dataset {name} but its `datasets` do not declare it")
        if name not in self._loaded:
            dataset = load(self.stand_ins.get(name, name))
            if self.hashes[name] != dataset.hash:
                raise DataError(f"dataset {name} has hash {dataset.hash}, the job was planned for {self.hashes[name]}")
            self._loaded[name] = dataset
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.hashes)

    def __len__(self) -> int:
        return len(self.hashes)
