"""The experiment: recorded values equal a plain loop written here, without the room's own helpers."""

import numpy as np
import pytest

from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.runner.run import perform

PARAMS = {"condition": 50.0, "dimension": 3, "noise": 0.1, "steps": 7, "block": 3, "points": 5, "step_size": 0.4}


def job(**changes):
    params = {**PARAMS, "momentum": 0.8, **changes}
    variants = (
        Variant("heavy_ball", {"condition": 50.0}, params, (500, 501), {}, ("step_size", "momentum")),
        Variant("descend", {"condition": 50.0}, params, (500, 501), {}, ("step_size",)),
    )
    return Job("mypaper", "race", "all", "smoke", "train", "descent.papers.mypaper.race", ("condition",), variants)


def plain_loop(seed, momentum):
    """The distances of one seed after 0, 1, ... steps, in NumPy."""
    curvature = np.array([50.0**-1, 50.0**-0.5, 1.0])
    streams = Streams("mypaper")
    x = streams.normal("start", [seed], (3,)).numpy()[0].copy()
    velocity, distances = np.zeros(3), [np.linalg.norm(x)]
    for k in range(3):  # blocks of three steps, the last one of one
        for noise in streams.normal("gradient noise", [seed], (min(3, 7 - 3 * k), 3), k).numpy()[0]:
            velocity = momentum * velocity - 0.4 * (curvature * x + 0.1 * noise)
            x = x + velocity
            distances.append(np.linalg.norm(x))
    return distances


@pytest.mark.parametrize(("method", "momentum"), [("heavy_ball", 0.8), ("descend", 0.0)])
def test_recorded_distances_are_those_of_a_plain_loop(method, momentum):
    frame = perform(job()).frame(job())
    rows = frame[(frame["method"] == method) & (frame["metric"] == "distance")]
    for seed, own in rows.groupby("seed"):
        expected = plain_loop(seed, momentum)
        assert set(own["step"]) >= {0, 7}
        np.testing.assert_allclose(own["value"], [expected[step] for step in own["step"]], rtol=1e-12)


def test_the_loss_and_the_gradient_belong_to_the_same_step():
    frame = perform(job(noise=0.0, steps=1, momentum=0.0)).frame(job())
    own = frame[(frame["method"] == "descend") & (frame["seed"] == 500)].set_index(["metric", "step"])["value"]
    curvature = np.array([50.0**-1, 50.0**-0.5, 1.0])
    x = Streams("mypaper").normal("start", [500], (3,)).numpy()[0]
    assert own["gradient", 1] == pytest.approx(np.linalg.norm(curvature * x))
    assert own["loss", 0] == pytest.approx((curvature * x**2).sum() / 2)
    assert own["gradient", 0] == own["gradient", 1], "nothing was moved, and nothing is noisy"


def test_a_run_that_diverges_is_recorded_as_divergence():
    frame = perform(job(step_size=9.0, steps=4000, block=1000)).frame(job())
    last = frame[(frame["step"] == 4000) & (frame["metric"] == "distance")]
    assert (last["status"] == "diverged").all()
