"""Semi-implicit variational inference by kernelised path gradients (Pielok, Bischl, Ruegamer, arXiv 2506.05088).

`fit` fits a log density of one's own. The methods behind it, each a builder from a Problem and its settings to a step: `kpg` and
`kpgis` (the paper's), `asvgd`, `ksivi`, `sivi`, `bsivi`, `uivi`, `sivism`, `aisivi`. A `Problem` is a target (`Banana`, `Mixture`,
`LogisticRegression`, `Diffusion`, or anything with `log_prob`, `score` and `score_pull`), a `Family` and the seeds' random numbers.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.kpgsivi.bound import sivi as sivi
    from descent.papers.kpgsivi.critic import sivism as sivism
    from descent.papers.kpgsivi.family import Family as Family
    from descent.papers.kpgsivi.importance import kpgis as kpgis
    from descent.papers.kpgsivi.kernelised import asvgd as asvgd, asvgd_released as asvgd_released, kpg as kpg
    from descent.papers.kpgsivi.posterior_score import aisivi as aisivi, bsivi as bsivi, uivi as uivi
    from descent.papers.kpgsivi.problem import Problem as Problem
    from descent.papers.kpgsivi.public import Fit as Fit, Posterior as Posterior, fit as fit
    from descent.papers.kpgsivi.stein import ksivi as ksivi
    from descent.papers.kpgsivi.targets import (
        Banana as Banana,
        Diffusion as Diffusion,
        LogisticRegression as LogisticRegression,
        Mixture as Mixture,
    )

__getattr__, __dir__, __all__ = exports(__name__)
