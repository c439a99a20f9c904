"""A CUDA graph's stand-in on the CPU, for what `captured` replays."""

from torch.utils._python_dispatch import TorchDispatchMode

from descent.toolbox.capture import leaves


class Tape(TorchDispatchMode):
    """What a CUDA graph does, on the CPU: keeps the operations of one call with their tensors, and repeats them in place.

    Whatever the host decided stays as it was decided, so a step that depends on the host from call to call is found out.
    """

    def __init__(self):
        super().__init__()
        self.events = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.events.append((func, args, kwargs or {}, out))
        return out

    def record(self, function, inputs):
        with self:
            return function(*inputs)

    def replay(self):
        for func, args, kwargs, out in self.events:
            again = func(*args, **kwargs)
            for kept, new in zip(leaves((out,)), leaves((again,)), strict=True):
                if kept.data_ptr() != new.data_ptr():  # not a view, nor in place
                    kept.copy_(new)
