"""Audits of a mechanism that claims to be private: what an attacker can prove about it.

The bounds themselves are the claims engine's (`descent.claims.audit`), so a job and a verdict use one formula; here is
what only the job may do, since only it knows who was a member: count the attacker's right guesses. Callers keep
memberships and scores to themselves and record counts.
"""

from __future__ import annotations

import numpy as np

from descent.claims.audit import auc, clopper_pearson, one_run_bound, one_run_p_value, tpr_fpr_bound

__all__ = ["auc", "clopper_pearson", "one_run_bound", "one_run_correct", "one_run_p_value", "tpr_fpr_bound"]


def one_run_correct(scores: np.ndarray, included: np.ndarray, guesses: int) -> int:
    """How many of `guesses` guesses are right: the guesses/2 highest scores "in", the guesses/2 lowest "out".

    scores: (m,), larger means more likely included. included: (m,) bool, the coins. `guesses` must be even, at most m,
    and fixed before looking (Steinke et al., arXiv 2305.08846). Ties keep the order of the canaries, which is
    independent of the coins.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise ValueError(f"guesses must be even and lie in [2, {len(scores)}], got {guesses}")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int(included[order[-half:]].sum() + (~included[order[:half]]).sum())
