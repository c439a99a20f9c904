"""Zeroth-order optimisation finds flat minima (Zhang et al., arXiv 2506.05454, NeurIPS 2025).

On your own network: `ZO`, its control `DD` and `SAM`, torch optimisers that take a closure; `hessian_trace`.
The research code. Methods, each a builder from a problem and its settings to a step: `zo`, `dd`, `gd`, `sam`. Problems: `Bilinear`
with its `direction` (the test function of Fig. 1), `LiftedModel` with `lift` and `LOSSES` (the over-parameterised SVM and logistic
regression of Fig. 2, reduced exactly), `ExplicitModel` (the same, all D weights), `Differentiable` (a function of yours).
Sources and derivations: docs/papers/zoflat.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.zoflat.bilinear import Bilinear as Bilinear
    from descent.papers.zoflat.bilinear import direction as direction
    from descent.papers.zoflat.curvature import TraceEstimate as TraceEstimate
    from descent.papers.zoflat.explicit import ExplicitModel as ExplicitModel
    from descent.papers.zoflat.gradient_descent import gd as gd
    from descent.papers.zoflat.lifted import LiftedModel as LiftedModel
    from descent.papers.zoflat.lifted import lift as lift
    from descent.papers.zoflat.losses import LOSSES as LOSSES
    from descent.papers.zoflat.problem import Differentiable as Differentiable
    from descent.papers.zoflat.public import DD as DD
    from descent.papers.zoflat.public import SAM as SAM
    from descent.papers.zoflat.public import ZO as ZO
    from descent.papers.zoflat.public import hessian_trace as hessian_trace
    from descent.papers.zoflat.sharpness_aware import sam as sam
    from descent.papers.zoflat.two_point import dd as dd
    from descent.papers.zoflat.two_point import zo as zo

__getattr__, __dir__, __all__ = exports(__name__)
