"""Guess & Check against gradient descent in matrix factorisation (Alexander et al., arXiv 2506.03931).

On one's own measurements: `guess_and_check`, what weights are like that were drawn at random until they fit; `descend`,
where gradient descent goes from a small start.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.guesscheck.posterior import Posterior as Posterior
    from descent.papers.guesscheck.public import Descent as Descent
    from descent.papers.guesscheck.public import descend as descend
    from descent.papers.guesscheck.public import guess_and_check as guess_and_check

__getattr__, __dir__, __all__ = exports(__name__)
