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
    from descent.papers.kpgsivi.kernelised import asvgd as asvgd
    from descent.papers.kpgsivi.kernelised import asvgd_released as asvgd_released
    from descent.papers.kpgsivi.kernelised import kpg as kpg
    from descent.papers.kpgsivi.posterior_score import aisivi as aisivi
    from descent.papers.kpgsivi.posterior_score import bsivi as bsivi
    from descent.papers.kpgsivi.posterior_score import uivi as uivi
    from descent.papers.kpgsivi.problem import Problem as Problem
    from descent.papers.kpgsivi.public import Fit as Fit
    from descent.papers.kpgsivi.public import Posterior as Posterior
    from descent.papers.kpgsivi.public import fit as fit
    from descent.papers.kpgsivi.stein import ksivi as ksivi
    from descent.papers.kpgsivi.targets import (
        Banana as Banana,
    )
    from descent.papers.kpgsivi.targets import (
        Diffusion as Diffusion,
    )
    from descent.papers.kpgsivi.targets import (
        LogisticRegression as LogisticRegression,
    )
    from descent.papers.kpgsivi.targets import (
        Mixture as Mixture,
    )

__getattr__, __dir__, __all__ = exports(__name__)
