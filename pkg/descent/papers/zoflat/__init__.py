"""Zeroth-order optimisation finds flat minima (Zhang et al., arXiv 2506.05454, NeurIPS 2025).

The methods: `zo` (two-point zeroth order, the paper's), its control `dd` (no smoothing), `gd` and `sam`, each a builder
from a problem and its settings to a step. The problems: `Bilinear` (the test function of Fig. 1), `LiftedModel` (the
over-parameterised SVM and logistic regression of Fig. 2, reduced exactly) and `ExplicitModel` (the same, all D weights). For
language models (Fig. 3) ZO works in place: `buffered` and `regenerating`; the models are `LastLayer` and `PromptRoberta`.
Sources and derivations: docs/papers/zoflat.md.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "zo": "two_point",
        "dd": "two_point",
        "gd": "gradient_descent",
        "sam": "sharpness_aware",
        "Bilinear": "bilinear",
        "LiftedModel": "lifted",
        "ExplicitModel": "explicit",
        "lift": "lifted",
        "buffered": "mezo",
        "regenerating": "mezo",
        "LastLayer": "last_layer",
        "PromptRoberta": "roberta",
    },
)
