"""The witness: what sampler and noise really did, held against the ledger."""

import numpy as np
import pytest

from descent.core.errors import SettingError
from descent.privacy import Ledger, Witness

RECORDS, BATCH, STEPS, BLOCK, SEEDS = 400, 40, 25, 10, (500, 501)
BOOK = Ledger.open(budget=3.0, delta=1e-5, records=RECORDS, batch=BATCH, steps=STEPS, clip_norm=1.0)


def blocks(rate=BATCH / RECORDS, steps=STEPS, size=30, scale=1.0, seed=0, eligible=RECORDS):
    """The blocks of an honest run: (k, index, present, normal)."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(-(-steps // BLOCK)):
        count = min(BLOCK, steps - k * BLOCK)
        chosen = rng.random((count, len(SEEDS), RECORDS)) < rate
        chosen[..., eligible:] = False
        width = max(1, int(chosen.sum(-1).max()))
        index = np.zeros((count, len(SEEDS), width), dtype=np.int64)
        present = np.arange(width) < chosen.sum(-1)[..., None]
        index[present] = np.nonzero(chosen)[-1]
        shape = (count, len(SEEDS), size) if size > 1 else (count, len(SEEDS))
        found.append([k, index, present.astype(float), scale * rng.standard_normal(shape)])
    return found


def settled(found, eligible=None):
    witness = Witness(BOOK, SEEDS, BLOCK, eligible)
    for block in found:
        witness.see(*block)
    witness.settle()


@pytest.mark.parametrize("size", [1, 30, 7000])
def test_an_honest_run_passes(size):
    for seed in range(20):
        settled(blocks(size=size, seed=seed))
    settled(blocks(eligible=200), 200)
    settled(blocks()[1:])  # resumed after the first block: what was not seen cannot be judged


def repeated(how):
    found = blocks()
    if how == "step":
        found[0][3][4] = found[0][3][2]
    elif how == "block":
        found[1][3] = found[0][3].copy()
    elif how == "seed":
        found[0][3][:, 1] = found[0][3][:, 0]
    elif how == "scalars of a block":
        found = blocks(size=1)
        found[1][3] = found[0][3].copy()
    elif how == "scalars of a seed":
        found = blocks(size=1)
        found[0][3][:, 1] = found[0][3][:, 0]
    return found


@pytest.mark.parametrize("how", ["step", "block", "seed", "scalars of a block", "scalars of a seed"])
def test_noise_that_is_used_twice_is_found(how):
    with pytest.raises(
        SettingError, match="privacy: the run is not what its ledger accounts for: noise was used twice"
    ):
        settled(repeated(how))


def test_a_batch_that_is_drawn_twice_is_found():
    found = blocks()
    for part in (1, 2):
        found[0][part][7, 1] = found[0][part][3, 1]
    with pytest.raises(SettingError, match="seed 501 drew one batch twice"):
        settled(found)
    found = blocks()
    found[1][1], found[1][2] = found[0][1], found[0][2]
    with pytest.raises(SettingError, match="drew one batch twice"):
        settled(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1.3 * BATCH / RECORDS}, r"seed 500 drew records at rate 0\.1\d+ where 0\.1 is accounted"),
        ({"rate": 0.7 * BATCH / RECORDS}, r"drew records at rate 0\.0\d+ where 0\.1 is accounted"),
        ({"scale": 0.5}, r"the noise of seed 500 has variance 0\.2\d+ where 1 is accounted"),
        ({"scale": 1.5}, r"the noise of seed 500 has variance 2\.\d+ where 1 is accounted"),
        ({"scale": 0.0}, "has variance 0 where 1 is accounted"),
        ({"steps": 24}, "24 steps were drawn where 25 are accounted"),
        ({"steps": 30}, "30 steps were drawn where 25 are accounted"),
    ],
)
def test_another_rate_noise_or_number_of_steps_is_found(change, message):
    with pytest.raises(SettingError, match=message) as caught:
        settled(blocks(**change))
    assert "\n" not in str(caught.value)


def test_a_block_left_out_is_found():
    found = blocks()
    with pytest.raises(SettingError, match="block 2 follows step 10; 15 steps were drawn where 25 are accounted"):
        settled([found[0], found[2]])


def test_who_may_be_drawn_is_asked_seed_by_seed():
    found = blocks(eligible=200)
    with pytest.raises(SettingError, match="seed 500 drew records at rate"):
        settled(found)
    with pytest.raises(SettingError, match="seed 501 drew records at rate"):
        settled(found, np.array([200, 400]))
