"""Reading the configuration: YAML, checked as a whole, every fault one sentence that names the file and the key."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from descent.config.model import PaperConfig, StudyConfig
from descent.config.shape import limit_faults, plain_faults
from descent.core.errors import ConfigError, listed, nearest

T = TypeVar("T")


def read_study(root: Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """config/config.yaml below `root`, with `overrides` (as from `--config`) on top."""
    path = root / "config" / "config.yaml"
    data = read_yaml(path)
    for name, value in (overrides or {}).items():
        data[name] = (
            {**data[name], **value} if isinstance(value, Mapping) and isinstance(data.get(name), dict) else value
        )
    if isinstance(data.get("papers"), str) and data["papers"] != "all":
        data["papers"] = [slug.strip() for slug in data["papers"].split(",") if slug.strip()]
    for name in ("bench", "retry_imports"):
        if isinstance(data.get(name), str) and data[name].lower() in ("true", "false"):
            data[name] = data[name].lower() == "true"
    study = checked(StudyConfig, data, "config/config.yaml or --config")
    study.results, study.reports = (str(Path(folder).expanduser()) for folder in (study.results, study.reports))
    if study.papers != "all":
        known = registered(root)
        unknown = [slug for slug in study.papers if slug not in known]
        if unknown:
            raise ConfigError(
                f"config/config.yaml or --config: papers: unknown paper `{slug}`{nearest(slug, known)}; known: {', '.join(known)}"
                for slug in unknown
            )
    return study


def registered(root: Path) -> list[str]:
    """The slugs of all papers: one file each under config/papers."""
    return sorted(path.stem for path in (root / "config" / "papers").glob("*.yaml"))


def read_paper(root: Path, slug: str) -> PaperConfig:
    """config/papers/<slug>.yaml below `root`."""
    path = root / "config" / "papers" / f"{slug}.yaml"
    paper = checked(PaperConfig, read_yaml(path), f"config/papers/{slug}.yaml")
    if paper.paper != slug:
        raise ConfigError(
            f"config/papers/{slug}.yaml: paper: must be `{slug}`, the name of the file, got `{paper.paper}`"
        )
    return paper


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError in one sentence when it is absent or broken."""
    shown = "/".join(path.parts[-3:]) if "papers" in path.parts else "/".join(path.parts[-2:])
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoDuplicates)
    except FileNotFoundError:
        raise ConfigError(f"{shown}: the file is missing; restore it (`git checkout {shown}`) or write it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{shown}:{line} not valid YAML: {reason}") from None
    except RecursionError:
        raise ConfigError(f"{shown}: nested more deeply than any key is; look for a missing line break") from None
    except ValueError as error:  # an impossible date, a number of thousands of digits
        reason = " ".join(str(error).split(";")[0].split())
        raise ConfigError(f"{shown}: a value cannot be read ({reason}); put it in quotes or mend it") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{shown}: must hold keys and values, got {type(data).__name__}")
    if faults := list(plain_faults(data, shown)):
        raise ConfigError(dict.fromkeys(faults))
    return data


def checked(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    """`data` as `kind`, every fault of it in one ConfigError. Without pydantic: built, only unknown keys refused."""
    try:
        from pydantic import ValidationError
    except ModuleNotFoundError:
        return build(kind, data, where)
    found: list[str] = []
    value: Any = None
    try:
        value = _adapter(kind).validate_python(data)
    except ValidationError as error:
        found = [_sentence(kind, fault, where) for fault in error.errors()]
    if found := [*found, *limit_faults(kind, data, where)]:
        raise ConfigError(dict.fromkeys(found))
    return value


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def build(kind: Any, data: Any, where: str) -> Any:
    """A dataclass from nested mappings by its type hints; for machines without pydantic."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {f.name for f in dataclasses.fields(kind)}
        if unknown := [name for name in data if name not in names]:
            raise ConfigError(f"{where}: unknown key `{name}`{nearest(name, names)}" for name in unknown)
        try:
            make: Any = kind
            return make(**{name: build(hints[name], value, f"{where}: {name}") for name, value in data.items()})
        except TypeError as error:
            raise ConfigError(f"{where}: {error}") from None
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict and isinstance(data, Mapping):
        return {name: build(args[1], value, f"{where}.{name}") for name, value in data.items()}
    if origin is list and isinstance(data, list):
        return [build(args[0], value, where) for value in data]
    if origin in (types.UnionType, typing.Union) and isinstance(data, Mapping):
        return next((build(arg, data, where) for arg in args if dataclasses.is_dataclass(arg)), data)
    return data


def _sentence(kind: Any, fault: Mapping[str, Any], where: str) -> str:
    """One of pydantic's faults as a sentence: file, key, what is allowed, what was found."""
    location = [part for part in fault["loc"] if not (isinstance(part, str) and (part in _UNION_PARTS or "[" in part))]
    path = ".".join(map(str, location))
    if fault["type"] == "unexpected_keyword_argument":
        names = _fields_at(kind, location[:-1])
        return f"{where}: unknown key `{path}`{nearest(location[-1], names)}; allowed: {', '.join(sorted(names))}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: the key `{path}` is missing; add it"
    if fault["type"] == "literal_error":
        allowed = [word.strip("'") for word in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"{where}: `{path}` must be {listed(allowed)}, got {fault['input']!r}{nearest(fault['input'], allowed)}"
    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{where}: `{path}` must be {reason}, got {fault['input']!r}"


_UNION_PARTS = {"str", "int", "float", "bool", "none"}


def _fields_at(kind: Any, location: list[Any]) -> list[str]:
    for part in location:
        kind = _inside(kind, part)
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _inside(kind: Any, part: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        kind = typing.get_type_hints(kind).get(part, Any)
        args = typing.get_args(kind)
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            return next((arg for arg in args if dataclasses.is_dataclass(arg)), Any)
        return kind
    args = typing.get_args(kind)
    return args[-1] if args else Any


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _NoDuplicates(_Loader):
    """YAML in which a key given twice is an error instead of the last one winning in silence."""


def _mapping(loader: Any, node: yaml.MappingNode, deep: bool = False) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *anchor`
        name = loader.construct_object(key_node, deep=deep)
        if not isinstance(name, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a list or mapping cannot be a key", key_node.start_mark
            )
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key `{name}` is given twice", key_node.start_mark)
        seen.add(name)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep)


_NoDuplicates.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: _mapping(loader, node, True)
)
