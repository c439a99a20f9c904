"""The pages of docs/ that are made from the code, and the JSON schemas; a test keeps them in step with it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import re
import typing
from pathlib import Path
from typing import Any

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

    made = {
        "config.md": config_page(),
        "settings.md": settings_page(root),
        "api.md": api_page(root),
        "estimators.md": estimators_page(),
        "claims.md": claims_page(root),
    }
    found = {root / "docs" / name: text for name, text in made.items()}
    from descent.claims.read.model import Claim

    for name, kind in (("config", model.StudyConfig), ("paper", model.PaperConfig), ("claim", Claim)):
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


def api_page(root: Path) -> str:
    """The public names of every room that are there for a user's own problem, with their arguments and defaults."""
    lines = ["# Methods on your own problem", "", "Made from each room's public.py by `make docs`. Shapes, units and refusals are in",
             "the docstrings, an example of each stands in docs/papers.", ""]  # fmt: skip
    for slug in registered(root):
        package = read_paper(root, slug).package or f"descent.papers.{slug}"
        if importlib.util.find_spec(f"{package}.public") is None:
            continue
        lines += [
            f"## [{slug}](papers/{slug}.md)",
            "",
            f"`from {package} import ...`",
            "",
            "| call | what it is |",
            "|---|---|",
        ]
        module = importlib.import_module(package)
        for name in module.__all__:
            it = getattr(module, name)
            if getattr(it, "__module__", "") == f"{package}.public":
                about = (inspect.getdoc(it) or "").split("\n\n")[0]
                lines.append(f"| `{_cell(call(name, it))}` | {_cell(' '.join(about.split()))} |")
        lines.append("")
    return "\n".join(lines)


def call(name: str, it: Any) -> str:
    """`solve(game, *, lr=None)`: the arguments of a function or class with their defaults, without types."""
    shown = []
    for p in inspect.signature(it).parameters.values():
        default = p.default if isinstance(p.default, (str, float, int, tuple, type(None))) else _Plain(p.default)
        shown.append(p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else default))
    return f"{name}{inspect.Signature(shown)}"


class _Plain:
    """A default whose representation would hold an address."""

    def __init__(self, value: Any):
        self.name = getattr(value, "__name__", str(value))

    def __repr__(self) -> str:
        return self.name


def estimators_page() -> str:
    """The documentation of every estimator that a claim may name."""
    from descent.claims.estimate.base import DATA, KINDS
    from descent.claims.read.estimators import MODELS

    lines = [
        "# Estimators of a claim",
        "",
        "Made from the claims engine by `make docs`; claims.md says how they are used.",
        "",
    ]
    for name, kind in MODELS.items():
        about = KINDS[name].doc if name in KINDS else " ".join((kind.__doc__ or "").split())
        lines += [f"## `{name}`", "", _cell(about), ""]
        if name in KINDS:
            decides = {"p": "a p-value", "exact": "its value"}.get(KINDS[name].decides, f"its {KINDS[name].decides}")
            fit = [f"{data} from n = {least}" for data, least in KINDS[name].data.items() if least is not None]
            lines += [
                f"Decides by {decides}; the replicate is the {KINDS[name].unit}."
                + (f" For data that are {', '.join(fit)}." if fit else ""),
                "",
            ]
        rows = [_row(option, field) for option, field in kind.model_fields.items() if option != "kind"]
        lines += ["| option | values | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    lines += ["## Kinds of data", "", "| `data:` | what the numbers of the seeds are like |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(text)} |" for name, text in DATA.items()]
    return "\n".join(lines) + "\n"


REFERENCE = "<!-- reference: made by `make docs` -->"


def claims_page(root: Path) -> str:
    """docs/claims.md: its written part as it stands, then every key of the grammar."""
    from descent.claims.read import checks, model, operands
    from descent.claims.worlds import WorldRule

    written = (root / "docs" / "claims.md").read_text(encoding="utf-8").split(REFERENCE)[0]
    shown = (
        (model.Claim, "A claim"), (model.Estimate, "`estimates.<name>`"), (operands.Operand, "`operands.<name>`"),
        (operands.Window, "`read: {window, ...}`"), (operands.Crossing, "`read: {first_above, ...}`"),
        (operands.Fit, "`read: {fit, ...}`"), (operands.Smooth, "`smooth`"), (checks.Check, "`checks.<name>`, `controls.<name>`"),
        (checks.ByP, "`decide: {p, ...}`"), (checks.Rules, "`rules`"), (checks.All, "`{all: ..}`"), (checks.Any_, "`{any: ..}`"),
        (checks.AtLeast, "`{at_least: k, of: ..}`"), (checks.Not, "`{not: ..}`"), (WorldRule, "an entry of `world`"),
    )  # fmt: skip
    lines = [REFERENCE, "", "## Every key", ""]
    for kind, title in shown:
        lines += [
            f"### {title}",
            "",
            _cell(" ".join((kind.__doc__ or "").split())),
            "",
            "| key | values | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_row(field.alias or name, field) for name, field in kind.model_fields.items()] + [""]
    return written + "\n".join(lines)


def _row(name: str, field: Any) -> str:
    default = "required" if field.is_required() else "empty" if field.default_factory is not None else (
        "nothing" if field.default is None else f"`{field.default}`")  # fmt: skip
    return f"| `{name}` | {_cell(_type(field.annotation))} | {default} | {_cell(field.description or '')} |"


def _type(annotation: Any) -> str:
    """A type as a reader of the YAML sees it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(args[0])
    if origin is typing.Literal:
        return " or ".join(map(str, args))
    if origin is list:
        return f"a list ({_type(args[0])})"
    if origin is dict:
        return "a mapping"
    if args:
        return " or ".join(dict.fromkeys(_type(arg) for arg in args if arg is not type(None)))
    if kind := getattr(annotation, "model_fields", {}).get("kind"):
        return f"`{typing.get_args(kind.annotation)[0]}`"  # an estimator, as the YAML names it
    names = {str: "text", float: "a number", int: "a whole number", bool: "true or false", typing.Any: "a rule"}
    known = names.get(annotation) or getattr(annotation, "__name__", str(annotation))
    return (
        "a rule" if "Rule" in str(known) or "ForwardRef" in str(known) else "a mapping" if known in _MAPPINGS else known
    )


_MAPPINGS = (
    "Window",
    "Crossing",
    "Fit",
    "Smooth",
    "Against",
    "ByP",
    "Estimate",
    "Check",
    "Comparison",
    "Alternative",
    "Rules",
    "All",
    "Any_",
    "AtLeast",
    "Not",
)


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
