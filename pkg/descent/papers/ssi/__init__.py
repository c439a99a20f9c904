"""ssi: SGD in sequence single-index models and single-layer attention (Arnaboldi et al., arXiv 2506.02651).

- links.py        what a chain does with a fresh sequence: students, targets, the slopes dl/ds
- single.py       the exact reduced simulator of one tied vector w = (m, e, residual)
- plain.py        the exact reduced simulator of the untied network, a vector a token
- direct.py       the d-dimensional simulator that both are held against
- chains.py       many chains as one program: noise in blocks, chunks of steps as one launch, finished chains dropped
- quadrature.py   Gauss-Hermite expectations: population loss, its gradient, the noise term, the tables of the phase diagram
- gradient_flow.py  the ordinary differential equations, escape times, growth rates
- gain, exponent, transition, equations, trajectory, encoding, law, phase, cost: the experiments

Sources and derivations: docs/papers/ssi.md.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "simulate": "chains",
        "single_vector": "single",
        "plain_network": "plain",
        "Direct": "direct",
        "population": "quadrature",
        "loss": "quadrature",
        "Tables": "quadrature",
        "flow": "gradient_flow",
        "escape_time": "gradient_flow",
    },
)
