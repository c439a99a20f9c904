"""Guess & Check against gradient descent in matrix factorisation (Alexander et al., arXiv 2506.03931)."""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "guess_and_check": "public",
        "descend": "public",
        "Posterior": "public",
        "Descent": "public",
    },
)
