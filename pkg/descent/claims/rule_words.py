"""The rules of a claim as sentences, and as trees with what each part came to."""

from __future__ import annotations

from typing import Any

from descent.claims import quantities as words
from descent.claims.decide import rules
from descent.claims.decide.logic import AGAINST, FOR, OPEN
from descent.claims.decide.verdict import Judged
from descent.claims.read.checks import All, AtLeast, Not
from descent.claims.read.claim import held, parts


def rule_results(judged: Judged) -> dict[str, Any]:
    """verdict word -> its rule: sentence, tree, outcome."""
    model = judged.claim.model
    if model.rules is None:
        return {}
    found = {}
    for word in ("reproduced", "partly", "not_reproduced"):
        rule = getattr(model.rules, word)
        if rule is not None:
            tree = _tree(rule, judged, word != "not_reproduced" and bool(judged.lost))
            found[word] = {"sentence": rule_words(rule), "tree": tree, "outcome": tree["outcome"]}
    return found


def _tree(rule: Any, judged: Judged, forgive: bool) -> dict[str, Any]:
    """The rule as a tree, each node with its outcome (true, false, open, none)."""
    outcome = (
        rules.value(rule, judged.looks, 1, forgive=forgive)
        if judged.verdict is not None and len(judged.verdict) == 1
        else None
    )
    said = {None: "none", FOR: "true", AGAINST: "false", OPEN: "open"}[None if outcome is None else int(outcome[0])]
    if isinstance(rule, str):
        return {"check": rule, "outcome": said, "role": judged.claim.roles().get(rule, "for")}
    if isinstance(rule, Not):
        return {"word": "not", "outcome": said, "parts": [_tree(rule.not_, judged, forgive)]}
    word = "all" if isinstance(rule, All) else "at least" if isinstance(rule, AtLeast) else "any"
    node = {"word": word, "outcome": said, "each": rule.each, "count": getattr(rule, "at_least", None)}
    return {**node, "parts": [_tree(part, judged, forgive) for part in parts(rule)]}


def rule_words(rule: Any) -> str:
    """A rule as a sentence: `flatter and falls`, `at least 3 instances of gap`, `flatter decided against`."""
    if isinstance(rule, str):
        return rule
    if isinstance(rule, Not):
        return f"{rule.not_} decided against" if isinstance(rule.not_, str) else f"not ({rule_words(rule.not_)})"
    count = f"at least {rule.at_least}" if isinstance(rule, AtLeast) else "every" if isinstance(rule, All) else "some"
    inside = held(rule)
    if rule.each is not None:
        return f"for {count} {words.spoken(rule.each)}: {rule_words(inside)}"
    if isinstance(inside, str):
        return f"{inside} at {count} instance{'s' if isinstance(rule, AtLeast) and rule.at_least > 1 else ''}"
    if not isinstance(inside, list):
        many = isinstance(inside, Not) and isinstance(inside.not_, str)
        return (
            f"{rule_words(inside)} at {count} instance{'s' if isinstance(rule, AtLeast) and rule.at_least > 1 else ''}"
            if many
            else rule_words(inside)
        )
    said = [
        f"({text})" if (" and " in text or " or " in text) and len(inside) > 1 else text
        for text in map(rule_words, inside)
    ]
    if isinstance(rule, AtLeast):
        return f"at least {rule.at_least} of ({', '.join(said)})"
    return (" and " if isinstance(rule, All) else " or ").join(said)
