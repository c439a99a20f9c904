"""On a CUDA device a step is recorded once as a graph and replayed: one launch instead of hundreds.

Elsewhere the function is called as it is: the same code runs on the CPU, where the tests replay a recording of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from descent.iterate import tree_map


def captured(function: Callable[..., Any], graph: Callable[[], Any] | None = None) -> Callable[..., Any]:
    """`function` of tensors and (named) tuples of tensors, replayed from its second call on.

    It must depend on its arguments and on tensors that never change, not on the host: no Python number that differs
    from call to call. The graph belongs to the shapes of the first call. graph: makes the recorder (tests).
    """
    recording: list[Any] = []

    def call(*arguments: Any) -> Any:
        if graph is None and leaves(arguments)[0].device.type != "cuda":
            return function(*arguments)
        if not recording:
            inputs = tree_map(torch.clone, arguments)
            recorder = (graph or CudaGraph)()
            recording.extend((recorder, leaves(inputs), recorder.record(function, inputs)))
        recorder, inputs, outputs = recording
        for kept, given in zip(inputs, leaves(arguments), strict=True):
            kept.copy_(given)
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
