"""Can e-prop match BPTT for neural similarity? (Liu, Yang and Cueva, arXiv 2506.06904)

`RateRNN`: a rate network as a module, whose backward pass is that of BPTT, e-prop, truncated BPTT, feedback alignment, RFLO or
ModProp. `train`: networks on one's own trials, compared with recordings at equal accuracy. `procrustes`, `cka`, `cca`, `dsa`,
`noise_floor`: the measures alone. `learner`: the study's own method.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.eprop.public import RateRNN as RateRNN
    from descent.papers.eprop.public import Trained as Trained
    from descent.papers.eprop.public import cca as cca
    from descent.papers.eprop.public import cka as cka
    from descent.papers.eprop.public import dsa as dsa
    from descent.papers.eprop.public import noise_floor as noise_floor
    from descent.papers.eprop.public import procrustes as procrustes
    from descent.papers.eprop.public import train as train
    from descent.papers.eprop.training import learner as learner

__getattr__, __dir__, __all__ = exports(__name__)
