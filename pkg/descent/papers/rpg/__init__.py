"""Reusing trajectories in policy gradients (Montenegro et al., arXiv 2506.06178, ICML 2026).

`train` is the method on an environment of one's own (Gymnasium's vector protocol); the rest is what the study is made of.

The methods, each a builder from a policy and its settings: `rpg` (the paper's), its estimator ablations `mis` and `bh`,
`gpomdp`, and the gradient-reuse baselines `svrpg`, `srvrpg`, `storm`, `page` and `defensive`. The problems: `CartPole`, `LQR`
(with its exact return and gradient) and `Gymnasium` (MuJoCo, an optional extra). The policies: `LinearGaussian`, which keeps 28
numbers of a Cart Pole trajectory, `NetworkGaussian`, and `ModuleGaussian` for a module of one's own. `ascend` runs several
`Entry`, a method with its seeds each, in lock step.

Sources and derivations: docs/papers/rpg.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.rpg.linear import LinearGaussian as LinearGaussian
    from descent.papers.rpg.lockstep import Entry as Entry
    from descent.papers.rpg.lockstep import ascend as ascend
    from descent.papers.rpg.modules import ModuleGaussian as ModuleGaussian
    from descent.papers.rpg.network import NetworkGaussian as NetworkGaussian
    from descent.papers.rpg.on_policy import gpomdp as gpomdp
    from descent.papers.rpg.physics import Gymnasium as Gymnasium
    from descent.papers.rpg.problem import LQR as LQR
    from descent.papers.rpg.problem import CartPole as CartPole
    from descent.papers.rpg.public import Trained as Trained
    from descent.papers.rpg.public import train as train
    from descent.papers.rpg.reuse import bh as bh
    from descent.papers.rpg.reuse import mis as mis
    from descent.papers.rpg.reuse import rpg as rpg
    from descent.papers.rpg.variance_reduced import (
        defensive as defensive,
    )
    from descent.papers.rpg.variance_reduced import (
        page as page,
    )
    from descent.papers.rpg.variance_reduced import (
        srvrpg as srvrpg,
    )
    from descent.papers.rpg.variance_reduced import (
        storm as storm,
    )
    from descent.papers.rpg.variance_reduced import (
        svrpg as svrpg,
    )

__getattr__, __dir__, __all__ = exports(__name__)
