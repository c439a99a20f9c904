"""What an estimate may not be, though its words are all in place. Each sentence says what to write instead."""

from __future__ import annotations

from collections.abc import Iterator

from descent.claims.read.claim import Quantity
from descent.claims.read.model import Against
from descent.core.errors import nearest

AUDIT_OPERANDS = {
    "audit": ("correct", "guesses", "canaries"),
    "rates": ("true_positives", "positives", "false_positives", "negatives"),
}
Fault = tuple[str, str]  # key path below the claim, what is wrong with it


def faults_of_quantity(q: Quantity) -> Iterator[Fault]:
    """Faults of one instance of an estimate."""
    path, model, kind = f"estimates.{q.name}", q.model, q.kind
    takes = kind.takes
    if takes in ("two", "counts"):
        if model.value is not None:
            yield f"{path}.value", f"is not needed: {kind.name} reads its operands themselves; leave it out"
        if takes == "two" and len(model.operands) != 2:
            yield f"{path}.operands", f"must be two: {kind.name} compares two samples, got {len(model.operands)}"
        if takes == "counts":
            names = AUDIT_OPERANDS[kind.name]
            if set(model.operands) != set(names):
                yield (
                    f"{path}.operands",
                    f"must be {', '.join(names)}: an audit reads counts; got {', '.join(model.operands)}",
                )
        if model.contrast is not None:
            yield f"{path}.contrast", f"does not go with {kind.name}"
        return
    yield from _value(q, path)
    yield from _records(q, path)


def _value(q: Quantity, path: str) -> Iterator[Fault]:
    model, share = q.model, q.kind.name == "share"
    across = {name for name, o in model.operands.items() if o.across}
    axes = {axis for o in model.operands.values() for axis in o.across}
    vector = False
    for label, expression in q.value.items():
        here = f"{path}.value.{label}" if label else f"{path}.value"
        unknown = [name for name in expression.names if name not in model.operands and name not in axes]
        if unknown:
            known = [*model.operands, *sorted(axes)]
            yield (
                here,
                f"reads `{unknown[0]}`, which is no operand{nearest(unknown[0], known)}; operands: {', '.join(known)}",
            )
        if share and not expression.is_condition:
            yield (
                here,
                f"must be a condition, such as `x >= 1`: a share counts the seeds for which it holds; got `{expression.text}`",
            )
        if not any(name in model.operands or name in axes for name in expression.names) and not unknown:
            yield here, f"reads no operand, got `{expression.text}`"
        if model.scale == "log" and expression.is_log:
            yield (
                here,
                f"is a logarithm already; with `scale: log` write the positive quantity itself, got `{expression.text}`",
            )
        if q.kind.name == "t" and model.scale == "linear" and expression.is_ratio:
            yield (
                here,
                f"is a ratio, whose mean is dominated by its tail: write `scale: log` (for positive numbers) or a difference, got `{expression.text}`",
            )
        vector = vector or expression.is_vector(across | axes)
    unused = [name for name in model.operands if not any(name in e.names for e in q.value.values())]
    unused = [name for name in unused if not any(name in e.names for e in q.levels.values())]
    unused = [name for name in unused if not _abscissa(name, q)]
    if unused and all(name in model.operands or name in axes for e in q.value.values() for name in e.names):
        yield f"{path}.operands.{unused[0]}", "is read by nothing; leave it out, or use it in `value`"
    for name, level in q.levels.items():
        bad = [n for n in level.names if n not in model.operands or n == name]
        if bad:
            yield (
                f"{path}.operands.{name}.read",
                f"takes its level from `{bad[0]}`, which is no other operand{nearest(bad[0], model.operands)}",
            )
    many = len(q.value) > 1 or vector
    if many and len(q.value) > 1 and vector:
        yield f"{path}.value", "has labels and vectors at once; reduce each (mean, max, slope, ...) to one number"
    elif many and model.contrast is None:
        yield (
            f"{path}.value",
            "gives several numbers a seed: reduce them (mean, max, slope, ...), or say which are compared by `contrast: adjacent` or `contrast: {against: x}`",
        )
    elif model.contrast is not None and not many:
        yield (
            f"{path}.contrast",
            "needs several numbers to compare: a mapping label -> arithmetic as `value`, or an operand `across` settings",
        )
    elif isinstance(model.contrast, Against) and model.contrast.against not in q.labels:
        yield (
            f"{path}.contrast.against",
            f"must be one of {', '.join(q.labels)}, got {model.contrast.against!r}{nearest(model.contrast.against, q.labels)}",
        )
    if q.kind.takes == "jackknife" and model.contrast is not None:
        yield f"{path}.contrast", "does not go with jackknife: write the contrast into `value`"


def _abscissa(name: str, q: Quantity) -> bool:
    """Whether an operand is named by `axis(name)`; its numbers are then not read, but its settings are."""
    return any(f"axis({name})" in e.text.replace(" ", "") for e in q.value.values())


def _records(q: Quantity, path: str) -> Iterator[Fault]:
    model = q.model
    rows = model.replicate == "record" or q.kind.unit == "block"
    if model.replicate == "record" and model.data == "clustered":  # docs/error-rates.md: wrong 37 times in 100
        yield (
            f"{path}.replicate",
            "`record` needs independent records; those of a seed share its effect: read one number a seed",
        )
    for name, operand in model.operands.items():
        here = f"{path}.operands.{name}"
        if (operand.read == "all") != rows and not operand.exact:
            yield (f"{here}.read", "must be `all`: every record is a replicate here") if rows else (
                f"{here}.read", "`all` goes with `replicate: record` or the estimator bench; read one number a seed")  # fmt: skip
        if operand.pairs is not None and q.kind.takes != "jackknife":
            yield f"{here}.pairs", "goes with the estimator jackknife: numbers of two seeds are not independent"
        if operand.method is None and "method" not in operand.where and "method" not in operand.across:
            yield f"{here}.method", "is missing"
        if operand.method is not None and ("method" in operand.where or "method" in operand.across):
            yield f"{here}.method", "is given twice"
        if twice := [axis for axis in operand.where if axis in operand.across]:
            yield f"{here}.across", f"fixes the axis `{twice[0]}` in `where` as well; name it once"
    if q.kind.decides == "exact" and model.scale == "log":
        yield f"{path}.scale", "is linear for an exact quantity: it has no interval"
