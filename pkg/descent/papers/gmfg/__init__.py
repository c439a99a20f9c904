"""Policy optimisation for linear-quadratic graphon mean field games (Plank and Zhang, arXiv 2506.05894).

On your own problem: `solve`, with a graphon as a function or a matrix. The game: `Game` (scalar or matrix-valued states), `Players` (a graphon, or several, on its grid), `nash` and
`best_response` (exact oracles), `outer_rate`, `exploitability`. The method: `pg`, the paper's bilevel policy gradient; its baselines
`vanilla`, `unscaled`, `single`, `picard`, `damped` and `naive`; `sampled`, its model-free version.
Sources and derivations: docs/papers/gmfg.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.gmfg.exact_response import damped as damped
    from descent.papers.gmfg.exact_response import picard as picard
    from descent.papers.gmfg.game import Game as Game
    from descent.papers.gmfg.graphons import kernel as kernel
    from descent.papers.gmfg.model_free import Sampled as Sampled
    from descent.papers.gmfg.model_free import sampled as sampled
    from descent.papers.gmfg.model_free import world as world
    from descent.papers.gmfg.naive_slope import naive as naive
    from descent.papers.gmfg.oracles import best_response as best_response
    from descent.papers.gmfg.oracles import nash as nash
    from descent.papers.gmfg.oracles import outer_rate as outer_rate
    from descent.papers.gmfg.players import Players as Players
    from descent.papers.gmfg.players import players_on as players_on
    from descent.papers.gmfg.players import population as population
    from descent.papers.gmfg.policy_gradient import Policy as Policy
    from descent.papers.gmfg.policy_gradient import pg as pg
    from descent.papers.gmfg.policy_gradient import single as single
    from descent.papers.gmfg.policy_gradient import unscaled as unscaled
    from descent.papers.gmfg.policy_gradient import vanilla as vanilla
    from descent.papers.gmfg.public import Equilibrium as Equilibrium
    from descent.papers.gmfg.public import solve as solve
    from descent.papers.gmfg.regret import exploitability as exploitability

__getattr__, __dir__, __all__ = exports(__name__)
