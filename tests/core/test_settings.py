"""settings.py: a bad value is refused in one sentence that names owner, setting, limits and value."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descent.core.errors import SettingError
from descent.core.settings import REQUIRED, Setting, check, faults, with_defaults

TABLE = {
    "step_size": Setting("eta", float, low=0, high=10, open_low=True),
    "window": Setting("omega", int, default=8, low=1, high=4096),
    "rule": Setting("which", str, default="a", choices=("a", "b")),
    "nesterov": Setting("yes or no", bool, default=False),
    "radius": Setting("may be absent", float, default=None, low=0, optional=True),
}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("step_size", -1, "zo: `step_size` must lie in (0, 10], got -1"),
        ("step_size", 0, "zo: `step_size` must lie in (0, 10], got 0"),
        ("step_size", "1e-4", "zo: `step_size` must be a number, got '1e-4' (YAML reads 1e-4 as text: write 1.0e-4)"),
        ("step_size", True, "zo: `step_size` must be a number, got True"),
        ("step_size", math.nan, "zo: `step_size` must be a number, got nan"),
        ("step_size", math.inf, "zo: `step_size` must lie in (0, 10], got inf"),
        ("window", 2.0, "zo: `window` must be a whole number, got 2.0"),
        ("window", 0, "zo: `window` must lie in [1, 4096], got 0"),
        ("rule", "c", "zo: `rule` must be a or b, got 'c'"),
        ("nesterov", "False", "zo: `nesterov` must be true or false, got 'False'"),
        (
            "windw",
            3,
            "zo: unknown setting `windw` (did you mean `window`?); allowed: nesterov, radius, rule, step_size, window",
        ),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(name, value, sentence):
    with pytest.raises(SettingError) as caught:
        check("zo", TABLE, **{name: value})
    assert str(caught.value) == sentence


def test_all_faults_are_told_at_once():
    assert len(faults("zo", TABLE, {"step_size": -1, "window": 0, "nothing": 1})) == 3


def test_an_optional_setting_may_be_absent():
    check("zo", TABLE, radius=None)
    with pytest.raises(SettingError):
        check("zo", TABLE, window=None)


@given(st.floats(allow_nan=False))
def test_exactly_the_numbers_in_the_interval_pass(value):
    assert (TABLE["step_size"].fault(value) is None) == (0 < value <= 10)


def test_defaults_fill_what_is_not_given_and_a_required_setting_stays_absent():
    assert TABLE["step_size"].default is REQUIRED
    assert with_defaults(TABLE, TABLE, {"window": 2}) == {"window": 2, "rule": "a", "nesterov": False, "radius": None}
