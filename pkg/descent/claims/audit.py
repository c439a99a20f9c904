"""The first edition's name of `descent.privacy.audit`; goes with it."""

from descent.privacy.audit import (
    EPSILON_LIMIT,
    auc,
    auc_interval,
    clopper_pearson,
    delong,
    one_run_bound,
    one_run_p_value,
    tpr_fpr_bound,
)

__all__ = [
    "EPSILON_LIMIT", "auc", "auc_interval", "clopper_pearson", "delong", "one_run_bound", "one_run_p_value",
    "tpr_fpr_bound",
]  # fmt: skip
