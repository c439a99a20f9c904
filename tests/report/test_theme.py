"""Colours that everybody can tell apart, one look a method, and bands that hide nothing."""

from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hill.room import ROOM
from scipy import stats

from descent.core.declare import MethodCard, Room
from descent.report import theme, words

matplotlib.use("agg")

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(colour):
    c = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    f = (xyz @ rgb) / [0.95047, 1, 1.08883]
    f = np.where(f > 216 / 24389, np.cbrt(f), (24389 / 27 * f + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast_with_white(colour):
    return 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05)


@pytest.mark.parametrize("vision", VISION)
def test_every_pair_of_method_colours_is_told_apart(vision):
    seen = [lab(np.clip(VISION[vision] @ linear(c), 0, 1)) for c in theme.PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 19


def test_lines_stand_out_from_the_paper():
    assert min(map(contrast_with_white, theme.PALETTE)) > 2.5


def test_verdict_colours_are_no_method_colours_and_are_readable():
    for word in (*words.VERDICTS.values(), *words.STATES.values()):
        assert contrast_with_white(word.colour) > 4.5
        nearest = min(np.linalg.norm(lab(linear(word.colour)) - lab(linear(c))) for c in theme.PALETTE)
        assert nearest > 8, word


def many(count):
    roles = ["headline", *["baseline", "reference", "control"] * count]
    methods = {f"m{i}": MethodCard(f"method {i}", roles[i], "") for i in range(count)}
    return Room(metrics={}, methods=methods, experiments={})


@pytest.mark.parametrize("count", [1, 4, 10, 16, 24])
def test_no_two_methods_look_the_same(count):
    looks = theme.looks(many(count)).values()
    assert len({(look.colour, look.marker) for look in looks}) == count
    if count <= len(theme.PALETTE):
        assert len({look.colour for look in looks}) == count


def test_headline_is_red_and_the_first_baseline_or_reference_blue():
    looks = theme.looks(ROOM)
    assert looks["climb"].colour == theme.RED and looks["gd"].colour == theme.BLUE
    assert looks["drift"].colour in (theme.BLACK, theme.GREY)
    assert list(looks) == list(ROOM.methods)


def test_a_colour_outside_of_a_paper_or_of_a_stranger_is_refused():
    with pytest.raises(LookupError, match=r"theme\.apply"):
        theme.colour("climb")
    with theme.apply(ROOM), pytest.raises(LookupError, match="no method `adam`"):
        theme.colour("adam")
    with pytest.raises(LookupError):
        theme.colour("climb")


def rows(values, steps, status="ok"):
    values = np.asarray(values, float)
    return pd.DataFrame({
        "step": np.repeat(steps, values.shape[1]), "seed": np.tile(np.arange(values.shape[1]), len(steps)),
        "value": values.ravel(), "status": status,
    })  # fmt: skip


def test_band_is_the_t_interval():
    values = np.random.default_rng(0).normal(3, 1, (2, 7))
    table = theme.summary(rows(values, [0, 10]))
    for got, want in zip(table.itertuples(), values, strict=True):
        low, high = stats.t.interval(0.95, 6, want.mean(), stats.sem(want))
        assert got.mean == pytest.approx(want.mean()) and (got.low, got.high) == pytest.approx((low, high))


def test_a_band_over_few_seeds_is_their_range():
    table = theme.summary(rows([[1.0, 2.0, 6.0, 3.0]], [0]))
    assert (table["low"][0], table["mean"][0], table["high"][0]) == (1, 3, 6)


def test_log_band_is_geometric_and_a_zero_leaves_it_undecided():
    table = theme.summary(rows([[1.0, 100.0], [0.0, 1.0]], [0, 1]), log=True)
    assert table["mean"][0] == pytest.approx(10) and np.isnan(table["mean"][1]) and table["not_ok"][1] == 1


def test_a_diverged_seed_ends_the_line_with_a_cross_instead_of_vanishing_from_the_mean():
    frame = rows([[1.0, 2.0], [1.0, 3.0], [1.0, np.nan]], [0, 1, 2])
    frame.loc[frame["value"].isna(), "status"] = "diverged"
    with theme.apply(ROOM):
        _, axes = theme.grid(1, 1)
        table = theme.band(axes[0, 0], frame, method="climb")
    assert table["not_ok"].tolist() == [0, 0, 1] and np.isnan(table["mean"][2])
    drawn, cross = axes[0, 0].lines
    assert np.isnan(drawn.get_ydata()[2]) and cross.get_marker() == "x" and cross.get_xdata() == [1]


def test_an_empty_frame_draws_nothing():
    with theme.apply(ROOM):
        _, axes = theme.grid(1, 1)
        assert theme.band(axes[0, 0], rows(np.empty((0, 2)), []), method="gd").empty
    assert not axes[0, 0].lines


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("width", [3.4, 5, 7.2])
def test_the_legend_stays_inside_the_figure(count, width):
    with theme.apply(ROOM):
        figure, axes = theme.grid(1, 1, width=width)
        for i in range(count):
            axes[0, 0].plot([0, 1], [i, i], label=f"smoothing 0.0{i} of {count}")
        theme.legend(figure, axes)
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_shades_run_from_light_to_dark_around_the_colour():
    with theme.apply(ROOM):
        shades = theme.shades("climb", 5)
        light = [linear(c).sum() for c in shades]
        assert light == sorted(light, reverse=True) and shades[2].upper() == theme.colour("climb")
