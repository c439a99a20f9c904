"""Files of figures: the same bytes each time, a reason where nothing was run, an error where the room is wrong."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import hill.figures
import pytest
from hill.make import plan_of, write_results
from PIL import Image

from descent.report.figures import NotRun, ResultFrames, draw, slim, texts


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_another_process_draws_the_same_bytes(published, tmp_path):
    """Another hash seed, another folder, another order of imports."""
    results, folder = published
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import matplotlib.pyplot\n"
        "from hill.make import *\n"
        "from descent.report.figures import draw\n"
        "root = Path(sys.argv[2])\n"
        "draw(Results(plan_of(root), 'hill', root / 'results', root / 'bench'), Path(sys.argv[3]))\n"
    )
    root = results.folder.parent
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(root), str(tmp_path / "again")]
    subprocess.run(command, check=True, env=environment)
    assert contents(tmp_path / "again") == contents(folder / "hill" / "figures")


def test_files_say_nothing_of_when_and_by_what_they_were_made(published):
    folder = published[1] / "hill" / "figures"
    for path in folder.glob("*.svg"):
        text = path.read_text()
        ElementTree.fromstring(text)
        assert "dc:date" not in text and "Matplotlib" not in text
    for path in folder.glob("*.png"):
        assert not Image.open(path).info.get("Software")


def test_every_figure_is_described(published):
    results, folder = published
    described = {f["name"]: f for f in draw_again(results, folder)}
    assert list(described) == ["F1", "F2", "F3", "F4"]
    assert described["F1"]["caption"].startswith("Loss and curvature along the descent")
    assert described["F1"]["alt"].startswith("Two rows of curves")
    assert described["F2"]["alt"] == "Final curvature, a point a seed"
    for name in described:
        assert {f"{name}.svg", f"{name}.png", f"{name}.thumb.png"} <= set(contents(folder / "hill" / "figures"))
        assert Image.open(folder / "hill" / "figures" / f"{name}.thumb.png").width <= 320


def draw_again(results, folder):
    import json

    return json.loads((folder / "hill" / "figures" / "figures.json").read_text())


def test_a_figure_of_what_was_not_run_says_why(published):
    by_name = {f["name"]: f for f in draw_again(*published)}
    assert by_name["F4"]["not_run"] == "needs a GPU: roberta-large takes 35 min a run"
    assert [name for name, f in by_name.items() if f["not_run"]] == ["F4"]


def test_any_other_failure_is_an_error(tmp_path, monkeypatch):
    def broken(frames):
        """Broken."""
        return frames.records("no such experiment")

    results = write_results(plan_of(tmp_path, "smoke"), tmp_path)
    monkeypatch.setattr(hill.figures, "FIGURES", {"F9": broken})
    with pytest.raises(KeyError, match="no experiment `no such experiment`"):
        draw(results, tmp_path / "figures")


def test_frames_select_and_give_reasons(published):
    frames = ResultFrames(published[0])
    rows = frames.select("descent", "loss", "gd", data="plain")
    assert set(rows["method"]) == {"gd"} and set(rows["metric"]) == {"loss"} and set(rows["data"]) == {"plain"}
    assert frames.select("descent", "loss", "sam", data="rough").empty
    assert frames.why("descent", "sam", data="rough") == "left out at scale study"
    assert frames.why("descent", "gd", data="rough") == "nothing of `descent` was run at scale study"
    assert frames.scale == "study" and frames.has("sweep") and not frames.has("language")
    with pytest.raises(NotRun, match="needs a GPU"):
        frames.records("language")


def test_slim_keeps_the_drawing_and_rounds_it():
    svg = '<svg>\n <!-- x -->\n <metadata>m</metadata>\n <path d="M 1.23456 -0.001 L 10 2.5" transform="scale(0.015625)"/>\n</svg>'
    assert slim(svg) == '<svg>\n<path d="M 1.23 0 L 10 2.5" transform="scale(0.015625)"/>\n</svg>\n'


def test_texts_of_a_docstring():
    def figure():
        """Caption in
        two lines. More.

        Alt: What is seen,
        in words.
        """

    assert texts(figure) == ("Caption in two lines. More.", "What is seen, in words.")


def test_the_first_sentence_does_not_end_inside_brackets():
    from descent.report.figures import _first_sentence

    assert (
        _first_sentence("Curves collapse (E1; at the paper's scale). Mean over time.")
        == "Curves collapse (E1; at the paper's scale)"
    )
    assert _first_sentence("Curves collapse: mean (over time).") == "Curves collapse"
