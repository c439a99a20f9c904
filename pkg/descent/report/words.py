"""Words and numbers of the report: verdicts, tags, how a number is printed, the small drawing of an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Word:
    """A verdict or a state: what it is called, its colour (never a method's), what it means. Its shape is `#v-<key>`."""

    label: str
    colour: str
    meaning: str


VERDICTS: dict[str, Word] = {
    "reproduced": Word(
        "reproduced", "#0B5D57",
        "The claim's rule is true: the checks that it asks for are decided for the claim, by an interval that lies wholly on the "
        "claimed side of its criterion or by a corrected p-value.",
    ),
    "partly": Word(
        "partly", "#7A5C00",
        "A part of the claim is decided for it (a weaker form, fewer settings), or a configuration of it was not run.",
    ),
    "not reproduced": Word(
        "not reproduced", "#8E1B4D",
        "A check was decided against the claim. A result like any other, not a fault.",
    ),
    "inconclusive": Word(
        "inconclusive", "#4A5568",
        "The data decide neither way: an interval reaches across its criterion, seeds are missing or fewer than five, or a control "
        "does not hold (it is named).",
    ),
    "verified": Word(
        "verified", "#35507A", "It cannot come out otherwise by construction, and our implementation has it: a check of the code.",
    ),
    "not run": Word("not run", "#5f6878", "Nothing of the claim was run at this scale; the reason stands beside it."),
    "reported": Word("reported", "#35507A", "A number worth knowing that has no verdict, by design."),
    "smoke": Word("smoke: no verdict", "#5f6878", "A smoke run walks every code path in seconds; it decides nothing."),
}  # fmt: skip

STATES: dict[str, Word] = {
    "supports": Word("for the claim", VERDICTS["reproduced"].colour, "Decided, and it speaks for the claim."),
    "opposes": Word("against it", VERDICTS["not reproduced"].colour, "Decided, and it speaks against the claim."),
    "open": Word("open", VERDICTS["inconclusive"].colour, "Not decided: the interval reaches across, or the data cannot say."),
    "not run": Word("not run", VERDICTS["not run"].colour, "The records that it reads were not run at this scale."),
    "untested": Word("not tested here", VERDICTS["not run"].colour, "The check belongs to another scale."),
    "reported": Word("reported", VERDICTS["reported"].colour, "Only reported; no verdict depends on it."),
    "smoke": Word("smoke", VERDICTS["smoke"].colour, "Computed to walk the code; decides nothing."),
}  # fmt: skip

ORIGINS = {
    "paper": "The paper claims this.",
    "ours": "We added this; it is never counted as the paper's.",
    "report-only": "Reported without a verdict; never counted.",
}
TAGS = {
    "quote": "the paper's own words",
    "paraphrase": "the paper's statement in our words",
    "derived": "follows from what the paper states",
    "code": "read in official code; the paper does not say it in words",
}
PROVENANCE = {
    "paper": "the paper's text",
    "fig": "read by eye from a published figure",
    "code": "read from the authors' code",
    "review": "from the public reviews",
    "derived": "our mathematics or standard knowledge",
    "proto": "from an earlier run of our own, on other seeds",
    "ours": "our addition",
}


def number(value: Any, digits: int = 4) -> str:
    """A number as it is printed: `digits` significant digits, no trailing zeros, a true minus sign; `n/a` for none."""
    if value is None:
        return "n/a"
    value = float(value)
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 10**6:
        mantissa, exponent = f"{value:.{min(digits, 3) - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    whole, dot, rest = text.partition(".")
    if len(whole.lstrip("-")) > 4:
        whole = f"{int(whole):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{whole}{dot}{rest}".replace("-", "−")


def interval(low: Any, high: Any) -> str:
    """`[0.2124, 0.2501]`, or nothing when there is no interval."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def finite(value: Any) -> float | None:
    """A float for arithmetic, or None where JSON held null, or an infinity as text."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """A value that JSON can hold: NaN becomes null, an infinity the text `inf` or `-inf`."""
    if isinstance(value, float) or hasattr(value, "dtype"):
        value = float(value)
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    return value


def sentence(text: str | None) -> str:
    """A reason as a sentence: capital letter (not on a check's name, a symbol or a number), full stop."""
    text = (text or "").strip()
    if not text:
        return ""
    first = re.match(r"[a-z]{2,}|a(?= )", text)
    if first and re.match(r"[ ,](?!\()", text[first.end() :]):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."


def plural(count: int, word: str) -> str:
    """`1 claim`, `3 claims`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


WIDTH, HEIGHT, MARGIN = 150, 18, 6


def spark(estimate: Any, low: Any, high: Any, marks: Sequence[Any] = ()) -> Markup:
    """An interval as a small drawing: the bar from low to high, the estimate as a dot, thresholds as upright lines.

    Linear scale, chosen for this interval alone. Empty when there is nothing to draw. Colourless on purpose.
    """
    dot, start, end = finite(estimate), finite(low), finite(high)
    if dot is None or start is None or end is None:
        return Markup("")
    lines = [m for m in map(finite, marks) if m is not None]
    spots = [dot, start, end, *lines]
    span = (max(spots) - min(spots)) or abs(max(spots)) or 1.0

    def at(value: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * (value - min(spots)) / span
        return f"{x:.1f}".rstrip("0").rstrip(".")

    middle = HEIGHT // 2
    parts = [f'<path class="axis" d="M0 {middle}H{WIDTH}"/>']
    parts += [f'<path class="mark" d="M{at(m)} 1V{HEIGHT - 1}"/>' for m in lines]
    parts.append(f'<path class="bar" d="M{at(start)} {middle}H{at(end)}"/>')
    parts.append(f'<circle class="dot" cx="{at(dot)}" cy="{middle}" r="3.2"/>')
    spoken = f"interval {interval(low, high)}, estimate {number(estimate)}"
    spoken += f", threshold {' and '.join(number(m) for m in lines)}" if lines else ""
    return Markup(
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(spoken)}">{"".join(parts)}</svg>'
    )
