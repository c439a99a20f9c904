"""The ledger: what is accounted is what is done, or the run does not start."""

import dataclasses
import math

import pytest

from descent.core.errors import SettingError
from descent.privacy import Ledger, noise_multiplier

RUN = {"budget": 3.0, "delta": 1e-5, "records": 6000, "batch": 128, "steps": 100, "clip_norm": 1.0}


def test_noise_is_computed_from_the_budget():
    ledger = Ledger.open(**RUN)
    assert ledger.noise_multiplier == noise_multiplier(3.0, 128 / 6000, 100, 1e-5)
    assert ledger.epsilon <= 3 and ledger.batch == pytest.approx(128)
    assert ledger.entries() == {
        "sampling_rate": 128 / 6000,
        "noisy_steps": 100.0,
        "noise_multiplier": ledger.noise_multiplier,
        "accountant": 0.0,
        "epsilon_spent": ledger.epsilon,
        "delta": 1e-5,
    }
    codes = [Ledger.open(**RUN, accountant=name).entries()["accountant"] for name in ("rdp", "opacus", "prv")]
    assert codes == [0, 1, 2]


def test_no_budget_means_no_noise():
    ledger = Ledger.open(**{**RUN, "budget": math.inf})
    assert ledger.noise_multiplier == 0 and ledger.epsilon == math.inf


def test_more_noise_than_needed_is_allowed():
    assert Ledger.open(**RUN, noise=2.0).epsilon < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.8}, r"multiplier 0\.8 over 100 steps .* spends epsilon 3\.\d+ by `rdp`, more than the budget 3"),
        ({"noise": 0.0}, "spends epsilon inf by `rdp`, more than the budget 3"),
        ({"noise": 1.0, "budget": math.inf}, "has a finite epsilon .* but the budget says no privacy"),
        ({"batch": 0}, r"`batch` must lie in \(0, records = 6000\], got 0"),
        ({"batch": 6001}, r"`batch` must lie in \(0, records = 6000\], got 6001"),
    ],
)
def test_a_run_whose_noise_and_accountant_disagree_does_not_start(change, message):
    with pytest.raises(SettingError, match=message) as caught:
        Ledger.open(**{**RUN, **change})
    assert "\n" not in str(caught.value)


def test_a_changed_ledger_is_refused():
    ledger = Ledger.open(**RUN)
    with pytest.raises(SettingError, match="spends epsilon"):
        dataclasses.replace(ledger, steps=200).confirm()
    with pytest.raises(SettingError, match="the ledger says epsilon 1, but"):
        dataclasses.replace(ledger, epsilon=1.0).confirm()


@pytest.mark.parametrize("accountant", ["rdp", "opacus", "prv"])
def test_a_budget_overspent_by_two_parts_in_a_thousand_million_is_refused(accountant):
    ledger = Ledger.open(**RUN, accountant=accountant)
    short = {**RUN, "accountant": accountant, "noise": ledger.noise_multiplier}
    with pytest.raises(SettingError, match="more than the budget"):
        Ledger.open(**{**short, "budget": ledger.epsilon / (1 + 2e-9)})
    assert Ledger.open(**{**short, "budget": ledger.epsilon / (1 + 5e-10)}).epsilon == ledger.epsilon
    with pytest.raises(SettingError, match="more than the budget"):
        Ledger.open(**{**short, "noise": ledger.noise_multiplier * (1 - 1e-5)})
    with pytest.raises(SettingError, match="more than the budget"):
        dataclasses.replace(ledger, budget=ledger.epsilon / (1 + 2e-9)).confirm()
