"""Semi-implicit variational inference by kernelised path gradients (Pielok, Bischl, Ruegamer, arXiv 2506.05088).

The methods, each a builder from a Problem and its settings to a step: `kpg` and `kpgis` (the paper's), `asvgd`, `ksivi`, `sivi`,
`bsivi`, `uivi`, `sivism`, `aisivi`. A `Problem` is a target (`Banana`, `Mixture`, `LogisticRegression`, `Diffusion`, or anything
with `log_prob`, `score` and `score_pull`), a `Family` and the seeds' random numbers.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "kpg": "kernelised",
        "asvgd": "kernelised",
        "asvgd_released": "kernelised",
        "kpgis": "importance",
        "ksivi": "stein",
        "sivi": "bound",
        "bsivi": "posterior_score",
        "uivi": "posterior_score",
        "aisivi": "posterior_score",
        "sivism": "critic",
        "Problem": "problem",
        "Family": "family",
        "Banana": "targets",
        "Mixture": "targets",
        "LogisticRegression": "targets",
        "Diffusion": "targets",
        "fit": "public",
        "Fit": "public",
        "Posterior": "public",
    },
)
