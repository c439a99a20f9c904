"""Dual-Priv Pruning (Wei et al., arXiv 2506.07077): differentially private fine-tuning of a vision-language model.

The methods: `prune` (mechanism 1: visual tokens), `dpsgd` (DP-SGD and DP-Adam; with `keep` below 1 mechanism 2:
blocks of the update), `dpzero` (the zeroth-order baseline). What they train: LoRA adapters (`layout`, `initial`) of
the frozen decoder of a small LLaVA (`Sizes`, `initial_parameters`) on synthetic visual questions (`draw_scenes`).
Sources and derivations: docs/papers/dualpriv.md.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Features": "problem",
        "Problem": "problem",
        "Sizes": "model",
        "dpsgd": "first_order",
        "dpzero": "zeroth_order",
        "initial": "lora",
        "initial_parameters": "model",
        "layout": "lora",
        "prune": "tokens",
        "draw_scenes": "scenes",
    },
)
