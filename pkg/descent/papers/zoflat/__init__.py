"""Zeroth-order optimisation finds flat minima (Zhang et al., arXiv 2506.05454, NeurIPS 2025).

The methods: `zo` (two-point zeroth order, the paper's), its control `dd` (no smoothing), `gd` and `sam`, each a builder
from a problem and its settings to a step. The problems: `Bilinear` (the test function of Fig. 1), `LiftedModel` (the
over-parameterised SVM and logistic regression of Fig. 2, reduced exactly) and `ExplicitModel` (the same, all D weights). For
language models (Fig. 3) ZO works in place: `buffered` and `regenerating`; the models are `LastLayer` and `PromptRoberta`.
Sources and derivations: docs/papers/zoflat.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.zoflat.bilinear import Bilinear as Bilinear
    from descent.papers.zoflat.explicit import ExplicitModel as ExplicitModel
    from descent.papers.zoflat.gradient_descent import gd as gd
    from descent.papers.zoflat.last_layer import LastLayer as LastLayer
    from descent.papers.zoflat.lifted import LiftedModel as LiftedModel
    from descent.papers.zoflat.lifted import lift as lift
    from descent.papers.zoflat.mezo import buffered as buffered
    from descent.papers.zoflat.mezo import regenerating as regenerating
    from descent.papers.zoflat.roberta import PromptRoberta as PromptRoberta
    from descent.papers.zoflat.sharpness_aware import sam as sam
    from descent.papers.zoflat.two_point import dd as dd
    from descent.papers.zoflat.two_point import zo as zo

__getattr__, __dir__, __all__ = exports(__name__)
