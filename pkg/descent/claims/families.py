"""P-values corrected together: Holm (1979) and Bonferroni, as in statsmodels' multipletests."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Step-down corrected p-values, in the order given, at most 1."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, highest = [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * p[i]))
        corrected[i] = highest
    return corrected


def bonferroni(p: Sequence[float]) -> list[float]:
    """Each p-value times their number, at most 1."""
    return [min(1.0, len(p) * value) for value in p]


METHODS = {"holm": holm, "bonferroni": bonferroni}
