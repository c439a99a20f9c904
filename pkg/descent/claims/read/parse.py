"""`claims:` of a YAML -> typed claims, or one ConfigError with every fault in it, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from descent.claims.expression import RESERVED, Expression, ExpressionError
from descent.claims.read.claim import Quantity, TypedClaim, levels
from descent.claims.read.expand import combinations, filled, unfilled
from descent.claims.read.messages import sentences
from descent.claims.read.model import Claim, Estimate
from descent.claims.read.sense import faults_of_quantity
from descent.claims.read.sense_of_claims import faults_of_claim
from descent.core.errors import ConfigError


def parse_claims(mapping: Any, where: str = "config/papers/x.yaml") -> dict[str, TypedClaim]:
    """The claims of one paper.

    mapping: the value of the key `claims`. where: the file, for messages. Raises ConfigError holding every fault.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: claims must be a mapping from names to claims, got {mapping!r}")
    found: dict[str, TypedClaim] = {}
    faults: dict[str, None] = {}
    for name, raw in mapping.items():
        claim, wrong = _claim(str(name), raw, where)
        faults.update(dict.fromkeys(wrong))
        if claim is not None:
            found[claim.name] = claim
    if faults:
        raise ConfigError(faults)
    return found


def _claim(name: str, raw: Any, where: str) -> tuple[TypedClaim | None, list[str]]:
    path, faults = f"claims.{name}", []
    if not isinstance(raw, Mapping):
        return None, [f"{where}: {path} must be a mapping, got {raw!r}"]
    estimates = raw.get("estimates")
    quantities: dict[str, tuple[Quantity, ...]] = {}
    first: dict[Any, Any] = {}
    for key, body in estimates.items() if isinstance(estimates, Mapping) else ():
        here = f"{path}.estimates.{key}"
        instances, wrong = _instances(str(key), body, where, here)
        faults += wrong
        if instances is not None:
            quantities[str(key)] = instances
            first[key] = instances[0].model
        else:
            first[key] = body
    try:
        # Estimates that have been read are handed in typed, so that their faults are not told twice.
        model = Claim.model_validate({**raw, "estimates": first} if isinstance(estimates, Mapping) else dict(raw))
    except ValidationError as error:
        told = [s for s in sentences(error, raw, where, path) if not faults or f"{path}.estimates." not in s]
        return None, list(dict.fromkeys(faults + told))
    claim = TypedClaim(name, model, quantities)
    if not faults:
        faults += [f"{where}: {path}.{key} {text}" for key, text in faults_of_claim(claim)]
    return claim, list(dict.fromkeys(faults))


def _instances(name: str, raw: Any, where: str, path: str) -> tuple[tuple[Quantity, ...] | None, list[str]]:
    if not isinstance(raw, Mapping):
        return None, [f"{where}: {path} must be a mapping, got {raw!r}"]
    sets = combinations(raw.get("over"))
    if isinstance(sets, str):
        return None, [f"{where}: {path}.over {sets}"]
    body = {key: item for key, item in raw.items() if key != "over"}
    if unknown := [axis for axis in unfilled(body) if axis not in sets[0]]:
        return None, [f"{where}: {path} uses {{{unknown[0]}}}, which `over` does not give"
                      + (f"; it gives {', '.join(sets[0])}" if sets[0] else "")]  # fmt: skip
    faults: list[str] = []
    quantities = []
    for values in sets:
        written = filled(body, values)
        try:
            model = Estimate.model_validate(written)
            quantity = _quantity(name, values, model)
        except ValidationError as error:
            faults += sentences(error, written, where, path)
            continue
        except ExpressionError as error:
            faults.append(f"{where}: {path} is wrong: {error}")
            continue
        claim = path.split(".estimates.")[0]
        faults += [f"{where}: {claim}.{key} {text}" for key, text in faults_of_quantity(quantity)]
        quantities.append(quantity)
    return (tuple(quantities) if not faults else None), list(dict.fromkeys(faults))


def _quantity(name: str, values: Mapping[str, Any], model: Estimate) -> Quantity:
    if bad := [operand for operand in model.operands if operand in RESERVED]:
        raise ExpressionError(f"an operand may not be called `{bad[0]}`, a function")
    written = (
        model.value if model.value is not None else next(iter(model.operands)) if len(model.operands) == 1 else None
    )
    quantity = Quantity(name, values, model, {}, levels(model))
    if quantity.kind.takes in ("two", "counts"):
        return quantity
    if written is None:
        raise ExpressionError(f"`value` is missing: arithmetic over {', '.join(model.operands)}")
    condition = quantity.kind.name == "share"
    texts = written if isinstance(written, Mapping) else {"": written}
    return Quantity(
        name,
        values,
        model,
        {label: Expression(text, condition=condition) for label, text in texts.items()},
        quantity.levels,
    )
