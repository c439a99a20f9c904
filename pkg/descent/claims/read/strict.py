"""What every model of the grammar is: strict, closed, with a sentence of documentation on each field."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from descent.claims.expression import Expression, ExpressionError


class Strict(BaseModel):
    """Unknown keys and values of another type are faults, never read as something near."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


def constant(value: Any) -> Any:
    """A number, also written as constant arithmetic: `log(0.8)`, `2 / 3`, `1.0e4` (which YAML takes for text)."""
    if not isinstance(value, str):
        return value
    try:
        number = Expression(value).constant
    except ExpressionError as fault:
        raise ValueError(f"a number, {fault}") from None
    if math.isnan(number):
        raise ValueError(f"a number, `{value}` is none")
    return number


def doc(description: str, **options: Any) -> Any:
    """A field with the sentence that documents it."""
    return Field(description=description, **options)


Number = Annotated[float, BeforeValidator(constant)]
Finite = Annotated[float, BeforeValidator(constant), Field(allow_inf_nan=False)]
Scalar = str | bool | int | float | None
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Scales = Annotated[list[str], Field(min_length=1)]
