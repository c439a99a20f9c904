"""From estimates to an outcome (holds, fails, undecided) and the sentence that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from descent.claims.decide import Outcome, all_of, at_least, best, condition_holds, interval_holds, ordered
from descent.claims.estimate import Estimate, quantity
from descent.claims.model import Condition, Predicate
from descent.claims.table import OK, Sample, Table

# word -> what is said when it holds, fails, is undecided
_SAID = {
    "below": ("lies below {0}", "lies at or above {0}", "reaches {0}"),
    "above": ("lies above {0}", "lies at or below {0}", "reaches down to {0}"),
    "at_most": ("does not exceed {0}", "lies above {0}", "reaches beyond {0}"),
    "at_least": ("does not fall short of {0}", "lies below {0}", "reaches below {0}"),
    "inside": ("lies inside [{0}, {1}]", "lies outside [{0}, {1}]", "is partly outside [{0}, {1}]"),
    "near": ("lies inside [{0}, {1}]", "lies outside [{0}, {1}]", "is partly outside [{0}, {1}]"),
    "equals": ("is {0}", "is not {0}", "contains more than {0}"),
    "contains": ("contains {0}", "does not contain {0}", ""),
    "excludes": ("excludes {0}", "contains {0}", ""),
    "narrower": ("is narrower than +-{0}", "is not narrower than +-{0}", ""),
}
_SHORT = {
    "below": "< {0}", "above": "> {0}", "at_most": "<= {0}", "at_least": ">= {0}", "inside": "in [{0}, {1}]",
    "near": "in [{0}, {1}]", "equals": "= {0}", "contains": "contains {0}", "excludes": "excludes {0}",
    "narrower": "half-width < {0}", "p_below": "p < {0}", "p_above": "p > {0}",
}  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """outcome: True, False or None; reason: a sentence without its full stop; part: the estimate it rests on."""

    outcome: Outcome
    reason: str
    part: Estimate | None = None


def number(value: float) -> str:
    """A number for a sentence."""
    return f"{value:.4g}"


def threshold(predicate: Predicate | None) -> str:
    """The predicate in short, for a table: `< 0.5`, `in [0.7, 1.1]`, `< 0.01 in every unit`."""
    if predicate is None:
        return ""
    said = []
    for c in predicate.conditions:
        if c.word == "ordered":
            slack = f" within a factor {number(predicate.slack)}" if predicate.slack != 1 else ""
            said.append(f"{c.name}{slack}")
        elif c.word == "best":
            said.append(f"{c.name} {predicate.best_is}")
        else:
            said.append(_SHORT[c.word].format(*map(number, c.bounds)))
    tail = {"every_unit": " in every unit", "fraction": f" in {predicate.share or 0:.0%} of units"}.get(
        predicate.on, ""
    )
    return " and ".join(said) + tail


def decide(
    predicate: Predicate,
    parts: Sequence[Estimate],
    table: Table | None,
    adjusted: Sequence[tuple[float, float, str]] | None = None,
) -> Decision:
    """The outcome of a predicate.

    parts: one Estimate a label. table: the per-unit statistic behind them. adjusted: for each part (p, p of the opposite,
    how they were corrected) where the check belongs to a family.
    """
    vector = [c for c in predicate.conditions if c.word in ("ordered", "best")]
    scalar = tuple(c for c in predicate.conditions if c not in vector)
    decisions = []
    if predicate.on in ("every_unit", "fraction") or (parts[0].exact and predicate.on == "interval"):
        return _every_unit(predicate, parts, table)
    if predicate.on == "p":
        corrected = adjusted or [None] * len(parts)
        decisions += [_on_p(c, part, p) for part, p in zip(parts, corrected, strict=True) for c in scalar]
    elif scalar:
        decisions += [_on_ends(predicate.on, c, part) for part in parts for c in scalar]
    decisions += [_on_vector(c, predicate, parts) for c in vector]
    return _joined(decisions)


def _joined(decisions: list[Decision]) -> Decision:
    """All of them; the sentence is about the weakest."""
    outcome = all_of(d.outcome for d in decisions)
    shown = [d for d in decisions if d.outcome is outcome]
    reason = shown[0].reason if outcome is not True else " and ".join(dict.fromkeys(d.reason for d in shown[:3]))
    if outcome is True and len(shown) > 3:
        reason += f", and so on for all {len(shown)}"
    return Decision(outcome, reason, shown[0].part)


def _subject(part: Estimate) -> str:
    return f"{part.label}: {part.what}" if part.label else part.what


def _undecided(part: Estimate, fallback: str) -> Decision:
    return Decision(None, f"{part.label}: {part.why or fallback}" if part.label else part.why or fallback, part)


def _on_ends(on: str, condition: Condition, part: Estimate) -> Decision:
    """A condition on the interval, on one of its ends, or on the estimate."""
    low, high = {
        "interval": (part.low, part.high), "low": (part.low, part.low), "high": (part.high, part.high),
        "estimate": (part.value, part.value),
    }[on]  # fmt: skip
    if low is None or high is None or not part.decides:
        return _undecided(part, f"{part.what} has no {'value' if on == 'estimate' else 'interval'}")
    outcome = interval_holds(condition, low, high)
    said = _SAID[condition.word][{True: 0, False: 1, None: 2}[outcome]].format(*map(number, condition.bounds))
    level = f"{100 * part.level:g} % interval" if part.level else "range"
    span = f"[{number(part.low)}, {number(part.high)}]" if part.low is not None and part.high is not None else ""
    label = f"{part.label}: " if part.label else ""
    if on == "estimate":
        return Decision(outcome, f"{_subject(part)}, {number(low)}, {said}", part)
    end = "" if on == "interval" else f"the {'lower' if on == 'low' else 'upper'} end of "
    return Decision(outcome, f"{label}{end}the {level} {span} of {part.what} {said}", part)


def _on_p(condition: Condition, part: Estimate, adjusted: tuple[float, float, str] | None) -> Decision:
    """p_below: holds below the level, is decided against when the opposite alternative is. p_above: holds or fails."""
    p, reverse, how = (part.p, part.p_reverse, "") if adjusted is None else adjusted
    if p is None or part.p is None or not part.decides:
        return _undecided(part, f"there is no test of {part.what}")
    level = condition.bounds[0]
    about = f"{_subject(part)}{f' is {number(part.value)}' if part.value is not None else ''}"
    shown = f"p = {number(p)}{f' ({how})' if how else ''}"
    if condition.word == "p_above":
        return Decision(p > level, f"{about}, {shown} is {'above' if p > level else 'not above'} {number(level)}", part)
    if p < level:
        return Decision(True, f"{about}, {shown} is below {number(level)}", part)
    if reverse is not None and reverse < level:
        return Decision(False, f"{about}, and the opposite is significant (p = {number(reverse)})", part)
    return Decision(None, f"{about}, {shown} is not below {number(level)}", part)


def _on_vector(condition: Condition, predicate: Predicate, parts: Sequence[Estimate]) -> Decision:
    """ordered and best: of the estimates, or of the intervals (which must then not overlap)."""
    ends = [(p.low, p.high) if predicate.on == "interval" else (p.value, p.value) for p in parts]
    for part, (low, high) in zip(parts, ends, strict=True):
        if low is None or high is None or not part.decides:
            return _undecided(part, f"{part.what} has no {'interval' if predicate.on == 'interval' else 'value'}")
    if len(parts) < 2:
        return Decision(None, "there is only one value to compare", parts[0])
    outcome, position, words = _compare(condition, predicate, [p.label for p in parts], ends)
    if predicate.on == "interval":
        shown = ", ".join(f"{p.label} [{number(a)}, {number(b)}]" for p, (a, b) in zip(parts, ends, strict=True))
        tail = {True: "", False: " not", None: " not beyond their intervals"}[outcome]
    else:
        shown = ", ".join(f"{p.label} {number(p.value)}" for p in parts)
        tail = {True: "", False: " not", None: " not"}[outcome]
    return Decision(outcome, f"{shown}:{tail} {words}", parts[position])


def _compare(condition: Condition, predicate: Predicate, labels: list[str], ends: list) -> tuple[Outcome, int, str]:
    if condition.word == "ordered":
        return ordered(condition.name, predicate.slack, ends), len(labels) - 1, condition.name
    names = [label if label == condition.name else label.rsplit("=", 1)[-1] for label in labels]
    position = names.index(condition.name) if condition.name in names else None
    if position is None:
        return None, 0, f"{predicate.best_is}, since `{condition.name}` is not among them"
    return best(position, predicate.best_is, ends), position, f"{condition.name} {predicate.best_is}"


def _every_unit(predicate: Predicate, parts: Sequence[Estimate], table: Table | None) -> Decision:
    """Every unit, or a share of them. One unit that breaks the condition decides, whatever the others are."""
    samples = [part.units for part in parts]
    if any(sample is None or not sample.n for sample in samples):
        return _undecided(parts[0], "no unit is left")
    scalar = tuple(c for c in predicate.conditions if c.word not in ("ordered", "best"))
    vector = [c for c in predicate.conditions if c.word in ("ordered", "best")]
    if vector:
        outcomes = _unit_orders(vector, predicate, table, [p.label for p in parts])
        sample, part = Sample(np.zeros(len(outcomes)), np.zeros(len(outcomes), np.int8), samples[0].noun), parts[0]
        if scalar:
            outcomes = outcomes + [
                condition_holds(scalar, v, r) for s in samples for v, r in zip(s.value, s.rank, strict=True)
            ]
        return _counted(predicate, outcomes, sample, part, "", extra="")
    decisions = []
    for part, sample in zip(parts, samples, strict=True):
        outcomes = [condition_holds(scalar, v, r) for v, r in zip(sample.value, sample.rank, strict=True)]
        decisions.append(_counted(predicate, outcomes, sample, part, part.label, _worst(sample, outcomes)))
    return _joined(decisions)


def _worst(sample: Sample, outcomes: list[Outcome]) -> str:
    """The largest offending value, or the range of the values."""
    wrong = [v for v, o in zip(sample.value, outcomes, strict=True) if o is False]
    if wrong:
        return f" (in another {number(max(wrong, key=abs))})"
    known = sample.value[~np.isnan(sample.value)]
    return f" (from {number(known.min())} to {number(known.max())})" if len(known) > 1 else (
        f" ({number(known[0])})" if len(known) else "")  # fmt: skip


def _unit_orders(
    conditions: list[Condition], predicate: Predicate, table: Table | None, labels: list[str]
) -> list[Outcome]:
    """For each unit whether its numbers are in the order asked for."""
    outcomes: list[Outcome] = []
    for value, rank in zip(table.cells.value, table.cells.rank, strict=True) if table is not None else ():
        if (rank > OK).any() or len(value) < 2:
            outcomes.append(None)
            continue
        ends = [(float(v), float(v)) for v in value]
        outcomes.append(all_of(_compare(c, predicate, labels, ends)[0] for c in conditions))
    return outcomes or [None]


def _counted(predicate, outcomes, sample, part, label, extra) -> Decision:
    n, held, unknown = len(outcomes), outcomes.count(True), outcomes.count(None)
    words = threshold(Predicate(predicate.conditions, "units", None, predicate.slack, predicate.best_is))
    shown = Sample(np.zeros(n), np.zeros(n, np.int8), sample.noun)
    start = f"{label}: " if label else ""
    order = all(c.word in ("ordered", "best") for c in predicate.conditions)
    tail = f"; of {unknown} it is not known" if unknown else ""
    if part.why and unknown:
        tail += f" ({part.why})"
    said = f"{start}the value{' is' if not order else 's are'} {words} in {held} of {quantity(shown)}{extra}{tail}"
    if predicate.on == "fraction":
        need = predicate.share * n
        outcome = at_least(need - 1e-9, outcomes)
        return Decision(outcome, f"{said}; {predicate.share:.0%} are asked for", part)
    return Decision(all_of(outcomes), said, part)
