"""The pages in headless Chromium: narrow, wide, without a mouse, without JavaScript, on paper."""

import shutil

import pytest
from browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)

PAGES = ("index.html", "hill/index.html", "hill/cost.html", "cost.html")
# The least contrast between a text and what lies under it, over all texts of the page.
CONTRAST = """
(() => {
  const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const shade = (c) => c.slice(0, 3).map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; })
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let worst = [99, ""];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.checkVisibility()) continue;
    let under = element;
    while (under && parse(getComputedStyle(under).backgroundColor)[3] < 1) under = under.parentElement;
    const [a, b] = [shade(parse(getComputedStyle(element).color)), under ? shade(parse(getComputedStyle(under).backgroundColor)) : 1];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < worst[0]) worst = [contrast, walk.currentNode.data.trim().slice(0, 60)];
  }
  return worst;
})()
"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    """The report alone, away from where it was made."""
    return shutil.copytree(published[1], tmp_path_factory.mktemp("elsewhere") / "study")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window_and_nothing_is_asked_of_the_network(browser, folder, name, width):
    browser.open(folder / name, width)
    assert browser.requests() == []
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    contrast, text = browser.ask(CONTRAST)
    assert contrast >= 4.5, text


def shown(browser):
    return browser.ask("[...document.querySelectorAll('tbody.claim-group')].filter((r) => !r.hidden).map((r) => r.id)")


def test_filters_and_search(browser, folder):
    browser.open(folder / "index.html", 1280)
    assert len(shown(browser)) == 9
    put = "((name, value) => {{ const f = document.querySelector('.filters').elements[name]; f.value = value; f.dispatchEvent(new Event('input', {{bubbles: true}})); }})('{}', '{}')"
    browser.ask(put.format("verdict", "inconclusive"))
    assert shown(browser) == ["hill.c4", "hill.c6", "hill.c7"]
    browser.ask(put.format("search", "control DIVERGES"))
    assert shown(browser) == ["hill.c6"]
    assert browser.ask("document.querySelector('.filters output').textContent") == "1 of 9 claims"
    browser.ask(put.format("paper", "later"))
    assert shown(browser) == []
    browser.ask("document.querySelector('.filters button').click(); new Promise((r) => setTimeout(r, 50))")
    assert len(shown(browser)) == 9


def test_an_address_opens_its_claim(browser, folder):
    browser.open(folder / "index.html", 1280, fragment="hill.c2")
    assert browser.ask("document.getElementById('hill.c2').querySelector('details').open") is True
    assert browser.ask("document.getElementById('hill.c1').querySelector('details').open") is False


def test_a_row_opens_with_the_keyboard(browser, folder):
    browser.open(folder / "index.html", 1280)
    browser.ask("document.querySelector('[id=\"hill.c1\"] summary').focus()")
    for kind in ("rawKeyDown", "char", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    assert browser.ask("document.getElementById('hill.c1').querySelector('details').open") is True


def test_without_javascript_all_claims_are_there_and_the_filters_are_not(browser, folder):
    browser.open(folder / "index.html", 1280, scripts=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.ask("getComputedStyle(document.querySelector('.filters')).display") == "none"
    visible = "[...document.querySelectorAll('tr.claim')].filter((r) => r.checkVisibility()).length"
    assert browser.ask(visible) == 9
    browser.ask("document.querySelector('[id=\"hill.c1\"] summary').click()")
    assert browser.ask("document.querySelector('[id=\"hill.c1\"] table.checks').checkVisibility()") is True


def test_on_paper(browser, folder, tmp_path):
    browser.open(folder / "index.html", 1280)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.ask("getComputedStyle(document.querySelector('.filters')).display") == "none"
        assert browser.ask("getComputedStyle(document.querySelector('tr.more')).display") == "none"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
    assert browser.pdf(tmp_path / "front.pdf").read_bytes().startswith(b"%PDF")
