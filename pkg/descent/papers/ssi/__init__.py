"""ssi: SGD in sequence single-index models and single-layer attention (Arnaboldi et al., arXiv 2506.02651).

- links.py        what a chain does with a fresh sequence: students, targets, the slopes dl/ds
- single.py       the exact reduced simulator of one tied vector w = (m, e, residual)
- plain.py        the exact reduced simulator of the untied network, a vector a token
- direct.py       the d-dimensional simulator that both are held against
- noise.py        the random numbers of chains
- chains.py       many chains as one program: chunks of steps as one launch, finished chains dropped
- public.py       `simulate` and `flow` on a loss of one's own
- quadrature.py   Gauss-Hermite expectations: population loss, its gradient, the noise term, the tables of the phase diagram
- gradient_flow.py  the ordinary differential equations, escape times, growth rates
- gain, exponent, transition, equations, trajectory, encoding, law, phase, cost: the experiments

Sources and derivations: docs/papers/ssi.md.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.ssi.direct import Direct as Direct
    from descent.papers.ssi.gradient_flow import escape_time as escape_time
    from descent.papers.ssi.plain import plain_network as plain_network
    from descent.papers.ssi.public import Flow as Flow
    from descent.papers.ssi.public import Run as Run
    from descent.papers.ssi.public import flow as flow
    from descent.papers.ssi.public import simulate as simulate
    from descent.papers.ssi.quadrature import Tables as Tables
    from descent.papers.ssi.quadrature import loss as loss
    from descent.papers.ssi.quadrature import mixed as mixed
    from descent.papers.ssi.quadrature import population as population
    from descent.papers.ssi.quadrature import traced as traced
    from descent.papers.ssi.single import single_vector as single_vector

__getattr__, __dir__, __all__ = exports(__name__)
