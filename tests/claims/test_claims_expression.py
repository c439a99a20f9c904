"""Expressions: the white list, arithmetic, and the status that travels with numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descent.claims.expression import Expression, ExpressionError
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED, Cells

FLOATS = st.floats(-50, 50).filter(lambda x: abs(x) > 1e-3)


def cells(value, rank=None):
    value = np.atleast_2d(np.asarray(value, float))
    return Cells(value, np.zeros(value.shape, np.uint8) if rank is None else np.atleast_2d(np.asarray(rank, np.uint8)))


def value(text, axes=None, **operands):
    got = Expression(text).evaluate({name: cells(v) for name, v in operands.items()}, axes)
    return got.value.squeeze().tolist()


@given(FLOATS, FLOATS)
def test_arithmetic_is_pythons(a, b):
    text = "abs(a) ** 0.5 + a / b - 2 * a * b + max(a, b) - min(a, b, 0) + log(exp(a / 50)) + -a"
    expected = abs(a) ** 0.5 + a / b - 2 * a * b + max(a, b) - min(a, b, 0) + a / 50 - a
    assert value(text, a=a, b=b) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_vectors_reduce_along_their_settings():
    v = [[3.0, 1.0, 8.0]]
    grid = {"v": {"k": np.array([1, 2, 4])}}
    assert value("max(v) / min(v)", v=v) == 8
    assert value("mean(v) + median(v) + sum(v) + first(v) + last(v)", v=v) == 4 + 3 + 12 + 3 + 8
    assert value("v * k", grid, v=v) == [3, 2, 32]
    assert value("slope(log2(axis(v)), v)", grid, v=v) == pytest.approx(np.polyfit([0, 1, 2], v[0], 1)[0])


def test_an_axis_that_differs_between_operands_must_be_named_by_operand():
    grids = {"v": {"k": np.array([1, 2])}, "w": {"k": np.array([1, 3])}}
    with pytest.raises(ExpressionError, match="operands differ in their `k`; write `axis\\(operand\\)`"):
        value("k * v", grids, v=[[1, 2]], w=[[1, 2]])
    assert value("last(axis(w)) * 1", grids, v=[[1, 2]], w=[[1, 2]]) == 3


def test_an_axis_of_words_is_no_number():
    with pytest.raises(ExpressionError, match=r"the axis `m` holds words \(a, b\)"):
        value("m * v", {"v": {"m": np.array(["a", "b"])}}, v=[[1, 2]])


def rank(text, **operands):
    got = Expression(text).evaluate(operands)
    return got.value.squeeze().item(), int(got.rank.squeeze())


def test_status_travels():
    ok, censored = cells(4.0), cells(np.inf, CENSORED)
    diverged, undefined = cells(np.nan, DIVERGED), cells(np.nan, UNDEFINED)
    assert rank("a / b", a=censored, b=ok) == (math.inf, CENSORED)
    assert rank("b / a", a=censored, b=ok) == (0.0, CENSORED)
    assert rank("log(a)", a=censored) == (math.inf, CENSORED)
    assert rank("a - c", a=censored, c=censored)[1] == UNDEFINED  # inf - inf has no order
    assert rank("a + d", a=censored, d=diverged)[1] == DIVERGED
    assert rank("u + d", u=undefined, d=diverged)[1] == UNDEFINED  # the worse
    assert rank("max(v)", v=cells([1, np.inf], [OK, CENSORED])) == (math.inf, CENSORED)
    assert rank("spearman(v, w)", v=cells([1, 2, 3]), w=cells([5, 9, np.inf], [OK, OK, CENSORED])) == (1.0, OK)


@pytest.mark.parametrize("text", ["log(z)", "1 / z", "sqrt(-1 - z)", "(z - 1) ** 0.5", "slope(z, z)", "log(-1 - z)"])
def test_what_does_not_exist_is_undefined_never_nan_in_disguise(text):
    got, status = rank(text, z=cells(0.0))
    assert math.isnan(got) and status == UNDEFINED


def test_conditions():
    operands = {"snr": cells(6.0), "n": cells(3.0)}
    for text, expected in (
        ("snr > 5", 1),
        ("not snr > 5", 0),
        ("snr > 5 and n >= 3", 1),
        ("snr < 5 or n != 3", 0),
        ("2 < n < 4", 1),
    ):
        assert Expression(text, condition=True).evaluate(operands).value.item() == expected
    with pytest.raises(ExpressionError):
        Expression("snr > 5")


@pytest.mark.parametrize("text", ["__import__('os')", "v.real", "v[0]", "[v]", "'a'", "True", "v if v else v", "f(x=v)", "v @ v", "v // 2",
                                  "max()", "log(v, v)", "axis(1)", "slope(v)", "lambda: 1", "v := 1", "", "1 +"])  # fmt: skip
def test_nothing_else_is_allowed(text):
    with pytest.raises(ExpressionError):
        Expression(text)


def test_constants():
    assert Expression("log(0.8)").constant == math.log(0.8)
    assert Expression("1e-4").constant == 1e-4 and Expression("inf").constant == math.inf
    with pytest.raises(ExpressionError, match="must be a number, not a function of v"):
        _ = Expression("v").constant
    with pytest.raises(ExpressionError, match="is not a number"):
        _ = Expression("log(-1)").constant
