"""docs/config.md and the JSON schemas, made from the typed model; a test keeps them in step with it."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

from descent.claims.kinds import CONDITIONS, KINDS
from descent.config import model
from descent.config.plan import room_of
from descent.config.read import read_paper, registered
from descent.core.settings import REQUIRED

SECTIONS = (
    (model.StudyConfig, "config/config.yaml, or `--config key=value`"),
    (model.DataConfig, "`data` in config/config.yaml"),
    (model.TrackingConfig, "`tracking` in config/config.yaml"),
    (model.PaperConfig, "config/papers/&lt;slug&gt;.yaml"),
    (model.ExperimentConfig, "`experiments.<name>`"),
    (model.ScaleConfig, "`experiments.<name>.scales.<scale>`"),
    (model.NeedConfig, "`experiments.<name>.needs.<name>`"),
    (model.SelectConfig, "`experiments.<name>.select`"),
    (model.Reported, "an entry of `reported`"),
)


def pages(root: Path) -> dict[Path, str]:
    """Every generated page: path below `root` -> text."""
    from pydantic import TypeAdapter

    made = {"config.md": config_page(), "settings.md": settings_page(root), "estimators.md": estimators_page()}
    found = {root / "docs" / name: text for name, text in made.items()}
    for name, kind in (("config", model.StudyConfig), ("paper", model.PaperConfig)):
        schema = json.dumps(TypeAdapter(kind).json_schema(), indent=1)
        found[root / "config" / "schema" / f"{name}.json"] = schema + "\n"
    return found


def config_page() -> str:
    """The documentation of every key of the configuration."""
    lines = ["# The configuration, key by key", "", "Made from the typed model by `make docs`.", ""]
    for kind, title in SECTIONS:
        lines += [
            f"## {title}",
            "",
            " ".join((kind.__doc__ or "").split()),
            "",
            "| key | values | default | meaning |",
            "|---|---|---|---|",
        ]
        for f in dataclasses.fields(kind):
            lines.append(f"| `{f.name}` | {_values(f.type)} | {_default(f)} | {_cell(f.metadata['description'])} |")
        lines.append("")
    return "\n".join(lines)


def settings_page(root: Path) -> str:
    """The documentation of every setting of every room."""
    lines = [
        "# The settings of each paper's methods",
        "",
        "Made from the rooms' tables by `make docs`. Values: config/papers/.",
        "",
    ]
    for slug in registered(root):
        paper = read_paper(root, slug)
        room = room_of(paper)
        lines += [
            f"## {slug}: {paper.title}",
            "",
            "| setting | values | default | meaning | taken by |",
            "|---|---|---|---|---|",
        ]
        for name, setting in room.settings.items():
            by = [f"experiment {e}" for e, card in room.experiments.items() if name in card.settings]
            by += [m for m, card in room.methods.items() if name in card.settings]
            default = "required" if setting.default is REQUIRED else f"`{setting.default}`"
            allowed = " or ".join(f"`{c}`" for c in setting.choices) if setting.choices else setting.kind.__name__
            if setting.kind in (int, float) and not setting.choices:
                allowed += f" in {setting.limits()}"
            lines.append(f"| `{name}` | {_cell(allowed)} | {default} | {_cell(setting.doc)} | {', '.join(by)} |")
        lines.append("")
    return "\n".join(lines)


def estimators_page() -> str:
    """The documentation of every estimator and predicate that a claim may name."""
    lines = [
        "# Estimators and predicates of a claim",
        "",
        "Made from the claims engine by `make docs`; claims.md says how they are used.",
        "",
    ]
    for name, kind in KINDS.items():
        lines += [f"## `{name}`", "", _cell(kind.doc), "", "| variety | what it is |", "|---|---|"]
        lines += [f"| `{{{name}: {variety}}}` | {_cell(doc)} |" for variety, doc in kind.varieties.items()]
        if kind.options:
            lines += ["", "| option | default | meaning |", "|---|---|---|"]
            for option, about in kind.options.items():
                choices = f" One of {', '.join(about.choices)}." if about.choices else ""
                lines.append(
                    f"| `{option}` | {'none' if about.default is None else f'`{about.default}`'} | {_cell(about.doc)}{choices} |"
                )
        lines += ["", f"A predicate looks at: {', '.join(kind.gives)} (the first by default).", ""]
    lines += ["## Words of a predicate", "", "| word | true when |", "|---|---|"]
    lines += [f"| `{word}` | {_cell(doc)} |" for word, (_, doc) in CONDITIONS.items()]
    return "\n".join(lines) + "\n"


def _values(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else str(annotation)
    text = re.sub(r"\bScale\b", "Literal[" + ", ".join(f'"{s}"' for s in typing.get_args(model.Scale)) + "]", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda m: " or ".join(m[1].replace('"', "").split(", ")), text)
    return _cell(text.replace(" | None", " or nothing").replace("None", "nothing"))


def _default(f: dataclasses.Field) -> str:
    if f.default is not dataclasses.MISSING:
        return "nothing" if f.default is None else f"`{f.default}`"
    return "required" if f.default_factory is dataclasses.MISSING else "empty"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
