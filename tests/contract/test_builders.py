"""A setting is named once: what a method's card lists is what its builder takes, and the engine passes exactly that."""

import importlib
import inspect
from typing import get_args, get_type_hints

import pytest

from descent.config.plan import make_plan, room_of
from descent.config.read import read_paper, read_study, registered
from descent.core.errors import SettingError
from descent.core.job import Variant
from support import ROOT

ROOMS = {slug: read_paper(ROOT, slug) for slug in registered(ROOT)}
CARDS = [(slug, name, card) for slug, paper in ROOMS.items() for name, card in room_of(paper).methods.items()]
BUILT = [(slug, name) for slug, name, card in CARDS if card.builder]


def test_a_card_that_lists_settings_names_the_builder_that_takes_them():
    assert not [f"{slug}: {name}" for slug, name, card in CARDS if card.settings and not card.builder]


@pytest.mark.parametrize(("slug", "name"), BUILT)
def test_the_card_lists_what_the_builder_takes(slug, name):
    paper, room = ROOMS[slug], room_of(ROOMS[slug])
    module, _, function = room.methods[name].builder.partition(":")
    builder = getattr(importlib.import_module(f"{paper.package or f'descent.papers.{slug}'}.{module}"), function)
    taken, required, first = set(), set(), set()
    for each in inspect.signature(builder).parameters.values():
        if each.kind is each.KEYWORD_ONLY:
            taken.add(each.name)
            required |= {each.name} if each.default is each.empty else set()
        elif each.kind is each.VAR_KEYWORD:
            typed = get_args(get_type_hints(builder).get(each.name))  # of Unpack[a TypedDict]
            assert typed, f"{name}: **{each.name} says no names; write them out, or Unpack[a TypedDict]"
            taken |= set(typed[0].__annotations__)
        else:
            first.add(each.name)
    listed = set(room.methods[name].settings)
    assert not listed & first, f"{name}: {listed & first} must be keyword-only"
    assert required <= listed, f"{name}: the card leaves out {required - listed}"
    assert listed <= taken, f"{name}: the builder takes no {listed - taken}"
    study_settings = {s for s in taken if s in room.settings} - {
        s for e in room.experiments.values() for s in e.settings
    }
    assert study_settings <= listed, f"{name}: the card leaves out {study_settings - listed}"


def test_every_variant_carries_exactly_the_settings_of_its_card():
    for slug, paper in ROOMS.items():
        room = room_of(paper)
        plan = make_plan(ROOT, read_study(ROOT, {"papers": slug, "scale": "smoke"}), everything=True)
        for job in plan.jobs.values():
            for variant in job.variants:
                card = room.methods[variant.method]
                assert set(variant.own) == set(card.settings) - set(variant.tuned), (job.id, variant.key)


def test_a_variant_made_by_hand_says_what_its_method_takes():
    params = {"step_size": 0.1, "steps": 10}
    assert Variant("gd", {}, params, (500,), takes=("step_size",)).own == {"step_size": 0.1}
    assert Variant("gd", {}, params, (500,), takes=()).own == {}
    with pytest.raises(SettingError, match="gd, data=a5a: say what the method takes"):
        Variant("gd", {"data": "a5a"}, params, (500,)).own  # noqa: B018
