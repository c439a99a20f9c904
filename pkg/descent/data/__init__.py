"""The data layer: cards, presence, loading, fetching and building of every dataset.

`load(name)` gives verified read-only arrays; `present(name)` says cheaply whether jobs may count on a dataset;
`stand_in(name)` names what takes its place at smoke; `fetch()` brings everything into place. The command line is
`python -m descent.data fetch|status|build|cards`. Loading needs numpy and yaml alone.
"""

from descent.core.public import exports
from descent.data.cards import Card, card, cards, stand_in
from descent.data.loaders import Dataset, load, minilm_folder

# pyright: reportUnsupportedDunderAll=false
# Found on first use, and so no part of the source that a training job's hash covers.
__getattr__, *_ = exports(
    __name__, {"Presence": "presence", "fetch": "fetching", "present": "presence", "present_all": "presence"}
)
__all__ = [
    "Card", "Dataset", "Presence", "card", "cards", "fetch", "load", "minilm_folder", "present", "present_all",
    "stand_in",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
