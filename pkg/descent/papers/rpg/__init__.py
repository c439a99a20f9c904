"""Reusing trajectories in policy gradients (Montenegro et al., arXiv 2506.06178, ICML 2026).

The methods, each a builder from a policy and its settings to a `Method`: `rpg` (the paper's), its estimator ablations
`mis` and `bh`, `gpomdp`, and the gradient-reuse baselines `svrpg`, `srvrpg`, `storm`, `page` and `defensive`. The problems:
`CartPole`, `LQR` (with its exact return and gradient) and `Gymnasium` (MuJoCo, an optional extra). The policies:
`LinearGaussian`, which keeps 28 numbers of a trajectory, and `NetworkGaussian`. `ascend` runs methods in lock step.
Sources and derivations: docs/papers/rpg.md.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "rpg": "reuse",
        "mis": "reuse",
        "bh": "reuse",
        "gpomdp": "on_policy",
        "svrpg": "variance_reduced",
        "srvrpg": "variance_reduced",
        "storm": "variance_reduced",
        "page": "variance_reduced",
        "defensive": "variance_reduced",
        "CartPole": "problem",
        "LQR": "problem",
        "Gymnasium": "physics",
        "LinearGaussian": "linear",
        "NetworkGaussian": "network",
        "ascend": "lockstep",
    },
)
