"""Every kind of estimator: importing this module fills the registry."""

from descent.claims.estimate import audits, counting, means, rank, rates
from descent.claims.estimate.base import KINDS

__all__ = ["KINDS", "audits", "counting", "means", "rank", "rates"]
