"""A simulated accelerator: what a GPU would refuse or wait for, seen on a machine without one.

    with Accelerator() as sim:
        x = host.to("sim:0")        # an upload
        with sim.phase("step"):
            y = x * 2               # computed by the CPU's own kernel: the CPU's bytes
            y.sum().item()          # a synchronisation
    sim.count("sync", "step")       # 1; sim.report() names the line

A tensor on `sim:0` wraps a CPU tensor that it never shows. Operations among such tensors run on the CPU. As on CUDA, an operation
refuses a CPU tensor that is not 0-d beside them, and a CPU generator; unlike CUDA, it refuses to draw from the global generator too,
because these numbers would differ from one device to the next. Four kinds of event are kept, each with the line that caused it:

sync    the host waits for the device: `.item()`, `bool()`, copies to the host, results whose shape depends on values (nonzero, boolean
        masks as indices, masked_select, unique, bincount), Python numbers made of tensors (`equal`), and linear algebra that checks
        for failure (`linalg.solve`, `cholesky`, `eigh`, ...: CUDA reads a flag back; the `_ex` functions do not).
        `x[mask] = 0.` is counted though CUDA spares it: `masked_fill` and `where` say the same on every device
upload  a copy from the host to the device (`torch.tensor(2., device=...)` and a list as index are copies, too)
host    inside a phase: an operation on the host whose result is not 0-d, as a tensor made on the wrong side

What it cannot do: see CANNOT, which test_simulated.py checks. It rests on PyTorch's backend for Python (PrivateUse1): torch 2.11 to 2.13.
"""

import linecache
import os
import sys
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

aten = torch.ops.aten
DEVICE = "sim:0"
CANNOT = {
    "sparse CSR tensors": "rooms that use them are compared on the CPU with a dense product instead",
    "torch.Generator(device='sim')": "random numbers are drawn on the host",
    "resize_ and set_": "no method of ours needs one",
    "the CPU's fused attention": "scaled_dot_product_attention takes PyTorch's plain path: the last bits differ from the CPU",
}

# Read back by CUDA to check for failure or to choose an algorithm, though neither their shapes nor PyTorch's tags tell.
_READ_BACK = {
    *(
        "_linalg_check_errors",
        "_linalg_eigh",
        "_linalg_svd",
        "linalg_eig",
        "linalg_lstsq",
        "linalg_pinv",
        "linalg_matrix_exp",
    ),
}
# Functions of eigen- or singular values alone. While any dispatch mode is on, PyTorch computes the vectors as well, by another routine of
# LAPACK with other last bits, on the host too; the CPU, asked for values of tensors without gradients, does not. See `_ValuesOnly`.
_VALUES = {
    getattr(torch.linalg, name) for name in ("eigvalsh", "svdvals", "matrix_norm", "norm", "cond", "matrix_rank")
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_LIBRARY = (os.path.dirname(torch.__file__) + os.sep, __file__)


class Event(NamedTuple):
    """One thing that costs time or fails on a real device."""

    kind: str  # sync, upload or host
    op: str
    phase: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.phase or 'no phase'}: {self.op} at {self.where}"


class SimTensor(torch.Tensor):
    """A tensor on the simulated device; `_host` holds its values."""

    @staticmethod
    def __new__(cls, host: torch.Tensor):
        out = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=DEVICE,
        )
        out._host = host
        return out

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {}, _active[-1])

    # PyTorch refuses these two for subclasses; on a real device both are copies to the host.
    def tolist(self):
        return self.detach().cpu().tolist()

    def __repr__(self, *, tensor_contents=None):
        return repr(self.detach().cpu())


class _ValuesOnly(TorchFunctionMode):
    """Notes while a function of eigen- or singular values alone is called on tensors that carry no gradient."""

    depth = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        noted = func in _VALUES and not any(map(_differentiated, _tensors([*args, *(kwargs or {}).values()], [])))
        _ValuesOnly.depth += noted
        try:
            return func(*args, **(kwargs or {}))
        finally:
            _ValuesOnly.depth -= noted


def _differentiated(x: torch.Tensor) -> bool:
    """Whether the CPU, too, would compute the vectors: for a gradient, or inside vmap, jvp and the like."""
    recorded = x.requires_grad and torch.is_grad_enabled()
    return recorded or torch._C._functorch.is_functorch_wrapped_tensor(x) or forward_ad._current_level >= 0


def _as_on_the_cpu(func, args, kwargs):
    """The arguments of an eigen- or singular value decomposition, vectors left out where only values were asked for."""
    if _ValuesOnly.depth and func is aten._linalg_eigh.default:
        return (args[0], *args[1:2]), {**kwargs, "compute_v": False}
    if _ValuesOnly.depth and func is aten._linalg_svd.default:
        return args[:1], {"full_matrices": False, "compute_uv": False, "driver": kwargs.get("driver")}
    return args, kwargs


class Accelerator(TorchDispatchMode):
    """The device `sim:0` while the `with` lasts, and the events that it saw."""

    def __init__(self):
        super().__init__()
        self.events: list[Event] = []
        self._phase = ""

    def __enter__(self):
        _active.append(self)
        # PyTorch runs an accelerator's backward pass on a thread of its own, where torch.func's hessian crashes with tensors made
        # in Python and no line of the caller's can be named.
        self._threads = torch.autograd.set_multithreading_enabled(False)
        self._values = _ValuesOnly()
        self._values.__enter__()
        return super().__enter__()

    def __exit__(self, *failure):
        self._values.__exit__(*failure)
        self._threads.__exit__(*failure)
        _active.remove(self)
        return super().__exit__(*failure)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {}, self)

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # nothing here is compiled, and the guard would cost as much as the operation

    @contextmanager
    def phase(self, name: str):
        """Events inside the `with` belong to `name` (the innermost counts)."""
        outer, self._phase = self._phase, name
        try:
            yield self
        finally:
            self._phase = outer

    def see_host(self, func, out) -> None:
        """An operation on the host. Outside of phases it may do as it likes."""
        if self._phase and any(x.dim() and x.device.type == "cpu" for x in _tensors([out], [])):
            self.see("host", func)

    def see(self, kind: str, func) -> None:
        self.events.append(Event(kind, str(func), self._phase, _where()))

    def select(self, kind: str | None = None, phase: str | None = None) -> list[Event]:
        return [e for e in self.events if kind in (None, e.kind) and phase in (None, e.phase)]

    def count(self, kind: str | None = None, phase: str | None = None) -> int:
        return len(self.select(kind, phase))

    def report(self, kind: str | None = None, phase: str | None = None, most: int = 5) -> str:
        """The first events, a line each, the same line only once."""
        lines = list(dict.fromkeys(map(str, self.select(kind, phase))))
        return "\n".join(lines[:most] + ([f"and {len(lines) - most} more"] if len(lines) > most else []))


class _Nobody:
    """Watches what happens to tensors that outlive their `with`."""

    def see(self, *event):
        pass

    see_host = see


_active: list = [_Nobody()]


def _where() -> str:
    """The innermost line outside PyTorch and this file; backward passes have none but their own functions."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY):
        frame = frame.f_back
    if frame is None:
        return "the backward pass"
    name, line = frame.f_code.co_filename, frame.f_lineno
    return f"{name}:{line} in {frame.f_code.co_name}: {linecache.getline(name, line).strip()}"


def _on_sim(device) -> bool:
    return device is not None and torch.device(device).type in ("sim", "privateuseone")


def _unwrap(x: torch.Tensor) -> torch.Tensor:
    return x._host if type(x) is SimTensor else x


def _map(f, x):
    """`f` on every tensor of an operation's arguments or results (pytree knows more, and takes four times as long)."""
    if isinstance(x, torch.Tensor):
        return f(x)
    return type(x)(_map(f, y) for y in x) if type(x) in (list, tuple) else x


def _tensors(values, found: list) -> list:
    for x in values:
        if isinstance(x, torch.Tensor):
            found.append(x)
        elif type(x) in (list, tuple):
            _tensors(x, found)
    return found


@cache
def _facts(func) -> frozenset:
    tags, name = func.tags, func.overloadpacket.__name__
    facts = {
        "random": torch.Tag.nondeterministic_seeded in tags,
        "reads back": torch.Tag.data_dependent_output in tags or name in _READ_BACK,
        "unknown shape": torch.Tag.dynamic_output_shape in tags and name not in _INDEXING,
        "indexing": name in _INDEXING,
        "in-place view": torch.Tag.inplace_view in tags and func is not aten.resize_.default,
    }
    return frozenset(name for name, true in facts.items() if true)


def _dispatch(func, args, kwargs, watch):
    args, kwargs = _as_on_the_cpu(func, args, kwargs)
    tensors = _tensors(args, [])
    if kwargs:
        _tensors(kwargs.values(), tensors)
    sims = [x for x in tensors if type(x) is SimTensor]
    to_sim = _on_sim(kwargs.get("device"))
    if func is aten._to_copy.default:
        return _to_copy(func, args, kwargs, watch)
    if func in (aten.copy_.default, aten._copy_from.default):
        target, source = args[:2] if func is aten.copy_.default else args[1::-1]
        return _copy(func, target, source, watch)
    if not sims and not to_sim:
        out = func(*args, **kwargs)
        watch.see_host(func, out)
        return out
    for x in tensors:
        if type(x) is not SimTensor and x.dim():
            raise RuntimeError(
                f"{func}: a CPU tensor of shape {tuple(x.shape)} meets tensors on {DEVICE}, at {_where()}"
            )
    facts = _facts(func)
    if "random" in facts and not _idle_dropout(func, args):
        raise RuntimeError(
            f"{func}: random numbers are drawn on the host from a stream and moved, not drawn on {DEVICE}, at {_where()}"
        )
    if func is aten._efficientzerotensor.default:  # a tangent that is zero: the wrapper needs one that has storage
        return SimTensor(torch.zeros(args[0], dtype=kwargs.get("dtype")))
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*_map(_unwrap, args), **{name: _map(_unwrap, x) for name, x in kwargs.items()})
    if _reads_back(facts, args, kwargs):
        watch.see("sync", func)
    if "in-place view" in facts:
        with no_dispatch():  # squeeze_, t_ and the like: the wrapper's own shape follows
            func(*args, **kwargs)
    known = {id(x._host): x for x in sims}
    return _map(lambda x: _rewrap(func, x, known), out)


def _rewrap(func, host, known):
    """An operation in place hands its argument back."""
    old = known.get(id(host))
    if old is None:
        return SimTensor(host)
    if old.shape != host.shape or old.stride() != host.stride():
        raise NotImplementedError(f"{func}: the simulated device cannot resize a tensor in place, at {_where()}")
    return old


def _reads_back(facts, args, kwargs) -> bool:
    if "reads back" in facts:
        return True
    if "indexing" in facts:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return "unknown shape" in facts and kwargs.get("output_size") is None


def _idle_dropout(func, args) -> bool:
    """Dropout that is switched off draws nothing."""
    return func.overloadpacket is aten.native_dropout and (args[1] == 0 or args[2] is False)


def _to_copy(func, args, kwargs, watch):
    source = args[0]
    if not isinstance(source, torch.Tensor):  # vmap converts a plain number so
        return func(source, **kwargs)
    to_sim = _on_sim(kwargs.get("device", source.device))
    out = func(_unwrap(source), **{**kwargs, "device": torch.device("cpu")})
    if to_sim != isinstance(source, SimTensor):
        watch.see("upload" if to_sim else "sync", func)
    elif not to_sim:
        watch.see_host(func, out)
    return SimTensor(out) if to_sim else out


def _copy(func, target, source, watch):
    if isinstance(target, SimTensor) != isinstance(source, SimTensor):
        watch.see("sync" if isinstance(source, SimTensor) else "upload", func)
    elif not isinstance(target, SimTensor):
        watch.see_host(func, target)
    _unwrap(target).copy_(_unwrap(source))
    return target


class _Backend(_DummyBackendModule):
    """What PyTorch asks a backend's module; checkpointing, say, looks for its autocast types once a backend is named."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def _register() -> torch.library.Library:
    """Name the backend and give it the few kernels that PyTorch calls without asking the dispatch mode."""
    _setup_privateuseone_for_python_backend("sim", _Backend())
    library = torch.library.Library("aten", "IMPL")
    cpu = {"device": "cpu"}

    def empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
        return SimTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format, **cpu))

    def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
        return SimTensor(torch.empty_strided(size, stride, dtype=dtype, **cpu))

    def copy_from(source, target, non_blocking=False):
        return _dispatch(aten.copy_.default, (target, source), {}, _active[-1])

    library.impl("empty.memory_format", empty, "PrivateUse1")
    library.impl("empty_strided", empty_strided, "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    return library


_library = _register()
