"""Safe arithmetic over the operands of an estimate: what the key `value` may say.

An expression is parsed once (`Expression(text)`, names and functions checked against a white list) and evaluated on
`Cells`: arrays whose last axis holds the settings of a vector operand (length 1 for a scalar operand), with a rank
beside every number that says whether it is ok, censored, undefined or diverged. Ranks travel: the result is as bad
as the worst number it used. Nothing here imports pandas or scipy, so that reading a configuration stays cheap.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property

import numpy as np

from descent.claims.logistic import half_point
from descent.claims.table import CENSORED, OK, Cells, settle
from descent.core.errors import listed, nearest

ELEMENTWISE: dict[str, Callable] = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
}  # fmt: skip
REDUCERS: dict[str, Callable] = {
    "min": np.min, "max": np.max, "mean": np.mean, "median": np.median, "sum": np.sum,
    "first": lambda v, axis, keepdims: v[..., :1], "last": lambda v, axis, keepdims: v[..., -1:],
}  # fmt: skip
FITS = ("slope", "r2", "spearman", "half")
CONSTANTS = {"pi": math.pi, "inf": math.inf}
FUNCTIONS = (*ELEMENTWISE, *REDUCERS, *FITS, "axis")
RESERVED = (*CONSTANTS, *FUNCTIONS)

_BINARY = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.float_power,
}  # fmt: skip
_COMPARE = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
    ast.Eq: np.equal, ast.NotEq: np.not_equal,
}  # fmt: skip


class ExpressionError(ValueError):
    """The text is not an expression of the white list; str() says what is allowed."""


class Expression:
    """One parsed expression.

    text: e.g. `log(zo) - log(gd)`, `max(steps) / min(steps)`, `slope(log(width), loss)`.
    condition: comparisons joined by `and`, `or`, `not` are allowed (the value of a share); the result is 0 or 1.
    names: the operands and axes it reads, in order of appearance.
    Raises ExpressionError.
    """

    def __init__(self, text: str | float | int, *, condition: bool = False):
        self.text = str(text)
        self._condition = condition
        try:
            self._tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError) as fault:
            raise ExpressionError(f"`{self.text}` is not an expression ({getattr(fault, 'msg', fault)})") from fault
        self.names: tuple[str, ...] = tuple(dict.fromkeys(self._check(self._tree)))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def evaluate(
        self, values: Mapping[str, Cells], axes: Mapping[str, Mapping[str, np.ndarray]] | None = None
    ) -> Cells:
        """The expression's Cells.

        values: operand name -> Cells of shape (..., C). axes: operand name -> {axis name: (C,) setting values}, which
        gives the axis names and `axis(operand)` their meaning. What is not finite without a reason becomes undefined.
        """
        axes = axes or {}
        with np.errstate(all="ignore"):
            result = self._value(self._tree, values, axes)
        return settle(result)

    @cached_property
    def constant(self) -> float:
        """The value of an expression that reads no operand. Raises ExpressionError when it does, or is NaN."""
        if self.names:
            raise ExpressionError(f"`{self.text}` must be a number, not a function of {listed(self.names)}")
        with np.errstate(all="ignore"):
            value = float(self._value(self._tree, {}, {}).value[..., 0])
        if math.isnan(value):
            raise ExpressionError(f"`{self.text}` is not a number")
        return value

    @property
    def is_condition(self) -> bool:
        """Whether the expression as a whole is true or false."""
        node = self._tree
        return isinstance(node, (ast.Compare, ast.BoolOp)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        )

    @property
    def is_log(self) -> bool:
        """Whether the outermost function is a logarithm, or a difference of logarithms."""
        return _is_log(self._tree)

    @property
    def is_ratio(self) -> bool:
        """Whether it is a quotient of two parts that both read operands."""
        node = self._tree
        return (
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            and bool(self._check(node.left)) and bool(self._check(node.right))
        )  # fmt: skip

    def is_vector(self, vectors: Collection[str]) -> bool:
        """Whether the result holds a number for each setting. vectors: the operands and axes that do."""
        return _vector(self._tree, vectors)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _check(self, node: ast.AST) -> list[str]:
        """The names under `node`, after refusing whatever is not on the white list."""
        match node:
            case ast.Constant(value=value) if isinstance(value, (int, float)) and not isinstance(value, bool):
                return []
            case ast.Name(id=name):
                return [] if name in CONSTANTS else [name]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
                return self._check(inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner) if self._condition:
                return self._check(inner)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._check(left) + self._check(right)
            case ast.Compare(left=left, ops=ops, comparators=others) if self._condition and all(
                type(op) in _COMPARE for op in ops
            ):
                return [name for part in (left, *others) for name in self._check(part)]
            case ast.BoolOp(values=parts) if self._condition:
                return [name for part in parts for name in self._check(part)]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._check_call(name, args)
        extra = ", comparisons, and, or, not" if self._condition else ""
        raise ExpressionError(
            f"`{self.text}` uses `{ast.unparse(node)}`; allowed: numbers, operand names, + - * / **{extra} "
            f"and the functions {', '.join(FUNCTIONS)}"
        )

    def _check_call(self, name: str, args: list[ast.expr]) -> list[str]:
        if name not in FUNCTIONS:
            raise ExpressionError(
                f"`{self.text}` calls the unknown function `{name}`{nearest(name, FUNCTIONS)}; "
                f"allowed: {', '.join(FUNCTIONS)}"
            )
        wanted = {**dict.fromkeys(ELEMENTWISE, 1), **dict.fromkeys(FITS, 2), "axis": 1}.get(name)
        if name in REDUCERS and name not in ("min", "max"):
            wanted = 1
        if not args or (wanted is not None and len(args) != wanted):
            raise ExpressionError(
                f"`{self.text}`: `{name}` takes {wanted or 'one or more'} argument(s), got {len(args)}"
            )
        if name == "axis" and not isinstance(args[0], ast.Name):
            raise ExpressionError(f"`{self.text}`: `axis` takes the name of an operand that has `across`")
        return [name for part in args for name in self._check(part)]

    # -- evaluating ---------------------------------------------------------------------------------------------------

    def _value(self, node: ast.AST, values: Mapping[str, Cells], axes: Mapping) -> Cells:
        match node:
            case ast.Constant(value=int() | float() as number):
                return Cells.exact(float(number))
            case ast.Name(id=name):
                return self._lookup(name, values, axes)
            case ast.UnaryOp(op=op, operand=inner):
                cells = self._value(inner, values, axes)
                sign = {ast.USub: np.negative, ast.UAdd: np.positive}.get(type(op))
                return Cells(sign(cells.value) if sign else (cells.value == 0) * 1.0, cells.rank)
            case ast.BinOp(left=left, op=op, right=right):
                return _join(_BINARY[type(op)], self._value(left, values, axes), self._value(right, values, axes))
            case ast.Compare(left=left, ops=ops, comparators=others):
                parts = [self._value(part, values, axes) for part in (left, *others)]
                pairs = [_join(_COMPARE[type(op)], a, b) for op, a, b in zip(ops, parts, parts[1:], strict=False)]
                return _fold(np.minimum, pairs)
            case ast.BoolOp(op=op, values=inner):
                how = np.minimum if isinstance(op, ast.And) else np.maximum
                return _fold(how, [self._value(part, values, axes) for part in inner])
            case ast.Call(func=ast.Name(id="axis"), args=[ast.Name(id=name)]):
                return _only_axis(name, axes)
            case ast.Call(func=ast.Name(id=name), args=args):
                return _call(name, [self._value(arg, values, axes) for arg in args])
        raise AssertionError(f"unchecked node in {self.text}")  # the white list above has let it through

    def _lookup(self, name: str, values: Mapping[str, Cells], axes: Mapping) -> Cells:
        if name in CONSTANTS:
            return Cells.exact(CONSTANTS[name])
        if name in values:
            return values[name]
        grids = [operand[name] for operand in axes.values() if name in operand]
        if not grids:
            raise ExpressionError(f"`{self.text}`: no operand or axis is called `{name}`")
        if any(len(grid) != len(grids[0]) or (grid != grids[0]).any() for grid in grids[1:]):
            raise ExpressionError(f"`{self.text}`: operands differ in their `{name}`; write `axis(operand)` instead")
        return _grid(name, grids[0])


def _is_log(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="log" | "log2" | "log10")):
            return True
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _is_log(left) and _is_log(right)
        case ast.UnaryOp(operand=inner):
            return _is_log(inner)
    return False


def _vector(node: ast.AST, vectors: Collection[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in vectors
        case ast.Call(func=ast.Name(id="axis")):
            return True
        case ast.Call(func=ast.Name(id=name), args=args) if name in FITS or (name in REDUCERS and len(args) == 1):
            return False
        case ast.Call(args=args):
            return any(_vector(arg, vectors) for arg in args)
    return any(_vector(child, vectors) for child in ast.iter_child_nodes(node))


def _join(function: Callable, left: Cells, right: Cells) -> Cells:
    return Cells(np.asarray(function(left.value, right.value), float), np.maximum(left.rank, right.rank))


def _fold(function: Callable, parts: list[Cells]) -> Cells:
    total = parts[0]
    for part in parts[1:]:
        total = _join(function, total, part)
    return total


def _call(name: str, args: list[Cells]) -> Cells:
    if name in ELEMENTWISE:
        return Cells(ELEMENTWISE[name](args[0].value), args[0].rank)
    if name in FITS:
        return _fit(name, *args)
    if len(args) > 1:  # min(a, b), max(a, b): across operands, not across settings
        return _fold(np.minimum if name == "min" else np.maximum, args)
    cells = args[0]
    rank = cells.rank[..., :1] if name == "first" else cells.rank[..., -1:] if name == "last" else None
    rank = cells.rank.max(-1, keepdims=True) if rank is None else rank
    return Cells(REDUCERS[name](cells.value, axis=-1, keepdims=True), rank)


def _fit(name: str, x: Cells, y: Cells) -> Cells:
    """Least-squares slope, its R2, Spearman's correlation or the logistic 50 % point of y (..., C) on x (..., C)."""
    shape = np.broadcast_shapes(x.value.shape, y.value.shape)
    a, b = np.broadcast_to(x.value, shape), np.broadcast_to(y.value, shape)
    rank = np.maximum(np.broadcast_to(x.rank, shape), np.broadcast_to(y.rank, shape)).max(-1, keepdims=True)
    if name == "half":
        return Cells(half_point(a, b), rank)
    if name == "spearman":
        a, b = _ranks(a), _ranks(b)
    a = a - a.mean(-1, keepdims=True)
    b = b - b.mean(-1, keepdims=True)
    sxx, syy, sxy = (a * a).sum(-1, keepdims=True), (b * b).sum(-1, keepdims=True), (a * b).sum(-1, keepdims=True)
    value = {"slope": sxy / sxx, "r2": sxy**2 / (sxx * syy), "spearman": sxy / np.sqrt(sxx * syy)}[name]
    if name == "spearman":  # an order is known once censored numbers are ordered last
        rank = np.where(rank == CENSORED, OK, rank).astype(np.uint8)
    return Cells(value, rank)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks along the last axis (infinities rank last); NaN spoils its row."""
    less = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.where(np.isnan(values).any(-1, keepdims=True), np.nan, less + (equal + 1) / 2)


def _grid(name: str, grid: np.ndarray) -> Cells:
    try:
        return Cells(np.asarray(grid, float), np.zeros(len(grid), np.uint8))
    except (TypeError, ValueError):
        raise ExpressionError(f"the axis `{name}` holds words ({', '.join(map(str, grid))}), not numbers") from None


def _only_axis(name: str, axes: Mapping) -> Cells:
    found = axes.get(name, {})
    if len(found) != 1:
        raise ExpressionError(f"`axis({name})` needs an operand that goes across exactly one axis")
    ((axis, grid),) = found.items()
    return _grid(axis, grid)
