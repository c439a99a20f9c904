"""Trees of tensors: nested tuples, named tuples, lists and dicts, walked, brought to the host, handed to a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def tree_map(f: Callable[[Tensor], Any], tree: Any) -> Any:
    """`f` on every tensor of nested tuples, named tuples, lists and dicts; other leaves stay."""
    if isinstance(tree, Tensor):
        return f(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(f, leaf) for leaf in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(f, leaf) for leaf in tree)
    if isinstance(tree, dict):
        return {key: tree_map(f, leaf) for key, leaf in tree.items()}
    return tree


def on_host(tree: Any) -> Any:
    """A copy on the host as plain lists, tensors, dicts and numbers (what a checkpoint may hold)."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: on_host(leaf) for key, leaf in tree.items()}
    return [on_host(leaf) for leaf in tree] if isinstance(tree, (tuple, list)) else tree


def on_device(tree: Any, device: torch.device, like: Any = None) -> Any:
    """`tree` with its tensors on `device`; with `like`, in the same (named) tuples as that."""
    if isinstance(tree, Tensor):
        return tree.to(device, non_blocking=True)
    if isinstance(tree, dict):
        return {key: on_device(leaf, device, like[key] if like is not None else None) for key, leaf in tree.items()}
    if isinstance(tree, (tuple, list)):
        leaves = [on_device(leaf, device, like[i] if like is not None else None) for i, leaf in enumerate(tree)]
        kind = type(tree if like is None else like)
        return kind(*leaves) if hasattr(kind, "_fields") else kind(leaves)
    return tree
