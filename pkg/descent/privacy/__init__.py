"""Differential privacy: what a run spends, how much noise a budget needs, and what an attacker can prove.

Accountants (`renyi`, `prv`, `gaussian`), the noise for a budget (`calibrate`), the entry a run keeps (`ledger`), what its
sampler and noise really did (`witness`) and audits that bound epsilon from below (`audit`). NumPy and torch only, so training jobs may call all of it.

Throughout, a record is added or removed (not replaced), sampling is Poisson with rate q (`rate`), noise has standard
deviation sigma * C (`noise_multiplier` times the clip norm) on the SUM of clipped gradients.
"""

from descent.core.public import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "rdp": "renyi",
        "rdp_epsilon": "renyi",
        "INTEGER_ORDERS": "renyi",
        "OPACUS_ORDERS": "renyi",
        "prv_epsilon": "prv",
        "gaussian_delta": "gaussian",
        "gaussian_epsilon": "gaussian",
        "epsilon": "calibrate",
        "noise_multiplier": "calibrate",
        "ACCOUNTANTS": "calibrate",
        "Ledger": "ledger",
        "auc": "audit",
        "clopper_pearson": "audit",
        "one_run_bound": "audit",
        "one_run_correct": "audit",
        "one_run_p_value": "audit",
        "tpr_fpr_bound": "audit",
        "Witness": "witness",
    },
)
