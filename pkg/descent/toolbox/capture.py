"""On a CUDA device a step is recorded once as a graph and replayed: one launch instead of hundreds.

Elsewhere the function is called as it is: the same code runs on the CPU, where the tests replay a recording of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from descent.core.tree import tree_map


def captured(function: Callable[..., Any], graph: Callable[[], Any] | None = None) -> Callable[..., Any]:
    """`function` of tensors and (named) tuples of tensors, replayed from its second call on.

    It must depend on its arguments and on tensors that never change, not on the host: a Python number that differs
    from call to call belongs among the arguments. Every combination of shapes and of values that are no tensors gets a
    graph of its own, with memory of its own, so there should be few. graph: makes the recorder (tests).
    """
    recordings: dict[Hashable, tuple[Any, list[Tensor], Any]] = {}

    def call(*arguments: Any) -> Any:
        given = leaves(arguments)
        if graph is None and given[0].device.type != "cuda":
            return function(*arguments)
        kind = tree_map(lambda x: (x.shape, x.dtype), arguments)
        if kind not in recordings:
            inputs = tree_map(torch.clone, arguments)
            recorder = (graph or CudaGraph)()
            recordings[kind] = recorder, leaves(inputs), recorder.record(function, inputs)
        recorder, kept, outputs = recordings[kind]
        for mine, new in zip(kept, given, strict=True):
            mine.copy_(new)
        recorder.replay()
        return tree_map(torch.clone, outputs)  # the next replay writes over the graph's own

    return call


class CudaGraph:
    """Recorder of torch.cuda.CUDAGraph, warmed up on a side stream as PyTorch asks."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, function: Callable[..., Any], inputs: tuple) -> Any:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(self.graph):
            return function(*inputs)

    def replay(self) -> None:
        self.graph.replay()


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of nested tuples, in order."""
    found: list[Tensor] = []
    tree_map(found.append, tree)
    return found
