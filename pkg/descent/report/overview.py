"""verdicts.svg: every claim of every paper as its verdict's shape, one row a paper; the picture at the top of the README."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import escape

from descent.core.files import write_text
from descent.report.html import FOLDER, slug
from descent.report.words import VERDICTS

LEFT, STEP, ROW, TOP, WIDTH = 330, 46, 46, 58, 760
FONT = 'font-family="DejaVu Sans, Verdana, sans-serif"'


def write_overview(folder: Path, papers: Mapping[str, str], judged: Mapping[str, Any]) -> Path:
    """Write `folder`/verdicts.svg. papers: slug -> title; judged: slug -> content of its verdicts.json."""
    path = folder / "verdicts.svg"
    write_text(path, drawing(papers, judged))
    return path


def drawing(papers: Mapping[str, str], judged: Mapping[str, Any]) -> str:
    """The SVG. Claims that are not the paper's (our controls and extra checks) stand behind a thin line."""
    symbols = re.findall(
        r"<symbol.*?</symbol>", (FOLDER / "templates" / "shapes.html").read_text(encoding="utf-8"), re.S
    )
    rows, used = [], set()
    for i, (name, title) in enumerate((p, t) for p, t in papers.items() if p in judged):
        y = TOP + i * ROW
        rows.append(
            f'<text x="0" y="{y + 12}" {FONT} font-size="15" font-weight="bold" fill="#1f2933">{escape(name)}</text>'
            f'<text x="0" y="{y + 29}" {FONT} font-size="10" fill="#52606d">{escape(_short(title))}</text>'
        )
        x = LEFT
        claims = sorted(judged[name]["claims"], key=lambda c: c["origin"] != "paper")
        for j, claim in enumerate(claims):
            if claim["origin"] != "paper" and (j == 0 or claims[j - 1]["origin"] == "paper"):
                rows.append(f'<path d="M{x + 2} {y - 2}v32" stroke="#9aa5b1"/>')
                x += 14
            verdict = claim["verdict"]
            used.add(verdict)
            said = f"{name} {claim['claim']}: {VERDICTS[verdict].label}"
            rows.append(
                f'<g color="{VERDICTS[verdict].colour}"><title>{escape(said)}</title>'
                f'<use href="#v-{slug(verdict)}" x="{x}" y="{y - 4}" width="20" height="20"/></g>'
                f'<text x="{x + 10}" y="{y + 29}" {FONT} font-size="10" text-anchor="middle" fill="#52606d">{escape(claim["claim"])}</text>'
            )
            x += STEP
    legend, x = [], 0
    for verdict in (v for v in VERDICTS if v in used):
        label = VERDICTS[verdict].label
        legend.append(
            f'<g color="{VERDICTS[verdict].colour}"><use href="#v-{slug(verdict)}" x="{x}" y="8" width="18" height="18"/></g>'
            f'<text x="{x + 24}" y="22" {FONT} font-size="12" fill="#1f2933">{escape(label)}</text>'
        )
        x += 46 + 8 * len(label)
    height = TOP + max(1, len([p for p in papers if p in judged])) * ROW
    body = "\n".join(["".join(symbols), *legend, *rows])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -8 {WIDTH} {height + 8}" width="{WIDTH}" height="{height + 8}" '
        f'role="img" aria-label="The verdict on every claim of every paper">\n<rect x="-16" y="-8" width="100%" height="100%" fill="#fff"/>\n'
        f"{body}\n</svg>\n"
    )


def _short(title: str) -> str:
    return title if len(title) <= 54 else title[:51].rsplit(" ", 1)[0] + " ..."
