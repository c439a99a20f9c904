"""Policy optimisation for linear-quadratic graphon mean field games (Plank and Zhang, arXiv 2506.05894).

The game: `Game` (scalar or matrix-valued states), `Players` (a graphon, or several, on its grid), `nash` and
`best_response` (exact oracles), `outer_rate`. The method: `pg`, the paper's bilevel policy gradient; its baselines
`vanilla`, `unscaled`, `single`, `picard`, `damped` and `naive`; `sampled`, its model-free version.
Sources and derivations: docs/papers/gmfg.md.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Game": "game",
        "Players": "players",
        "players_on": "players",
        "population": "players",
        "kernel": "graphons",
        "nash": "oracles",
        "best_response": "oracles",
        "outer_rate": "oracles",
        "Policy": "policy_gradient",
        "pg": "policy_gradient",
        "vanilla": "policy_gradient",
        "unscaled": "policy_gradient",
        "single": "policy_gradient",
        "picard": "exact_response",
        "damped": "exact_response",
        "naive": "naive_slope",
        "sampled": "model_free",
    },
)
