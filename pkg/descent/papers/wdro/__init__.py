"""The unregularised limit of stochastic gradients for Wasserstein distributionally robust optimisation (Tam Le, arXiv 2506.04948).

On your own problem: `RobustLoss` (any network and loss), `RobustLinearRegression`, `RobustLogisticRegression`. The research
code: the problems `Regression` and `Classification` with exact objectives, the method `psgd` and its `Schedule`, the baselines
`saa` and `library`, and `limit`, the exact solution.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.wdro.classification import Classification as Classification
    from descent.papers.wdro.estimators import RobustLinearRegression as RobustLinearRegression
    from descent.papers.wdro.estimators import RobustLogisticRegression as RobustLogisticRegression
    from descent.papers.wdro.library_steps import library as library
    from descent.papers.wdro.newton import limit as limit
    from descent.papers.wdro.point import Point as Point
    from descent.papers.wdro.projected import Schedule as Schedule
    from descent.papers.wdro.projected import psgd as psgd
    from descent.papers.wdro.public import RobustLoss as RobustLoss
    from descent.papers.wdro.regression import Regression as Regression
    from descent.papers.wdro.sample_average import saa as saa
    from descent.papers.wdro.sampling import sampled as sampled

__getattr__, __dir__, __all__ = exports(__name__)
