"""Dual-Priv Pruning (Wei et al., arXiv 2506.07077): differentially private fine-tuning of a vision-language model.

On a network of one's own: `PrivateGradients`. The methods: `prune` (mechanism 1: visual tokens), `dpsgd` (DP-SGD and DP-Adam; with `keep` below 1 mechanism 2:
blocks of the update), `dpzero` (the zeroth-order baseline). What they train: LoRA adapters (`layout`, `initial`) of
the frozen decoder of a small LLaVA (`Sizes`, `initial_parameters`) on synthetic visual questions (`draw_scenes`).
Sources and derivations: docs/papers/dualpriv.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.dualpriv.first_order import dpsgd as dpsgd
    from descent.papers.dualpriv.lora import initial as initial
    from descent.papers.dualpriv.lora import layout as layout
    from descent.papers.dualpriv.model import Sizes as Sizes
    from descent.papers.dualpriv.model import initial_parameters as initial_parameters
    from descent.papers.dualpriv.problem import Features as Features
    from descent.papers.dualpriv.problem import Problem as Problem
    from descent.papers.dualpriv.public import PrivateGradients as PrivateGradients
    from descent.papers.dualpriv.scenes import draw_scenes as draw_scenes
    from descent.papers.dualpriv.tokens import prune as prune
    from descent.papers.dualpriv.zeroth_order import dpzero as dpzero

__getattr__, __dir__, __all__ = exports(__name__)
