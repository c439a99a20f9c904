"""The unregularised limit of stochastic gradients for Wasserstein distributionally robust optimisation (Tam Le, arXiv 2506.04948).

On your own problem: `RobustLoss` (any network and loss), `RobustLinearRegression`, `RobustLogisticRegression`. The research
code: the problems `Regression` and `Classification` with exact objectives, the method `psgd` and its `Schedule`, the baselines
`saa` and `library`, and `limit`, the exact solution.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Regression": "regression",
        "Classification": "classification",
        "Point": "point",
        "Schedule": "projected",
        "psgd": "projected",
        "saa": "sample_average",
        "library": "library_steps",
        "limit": "newton",
        "sampled": "sampling",
        "RobustLoss": "public",
        "RobustLinearRegression": "estimators",
        "RobustLogisticRegression": "estimators",
    },
)
