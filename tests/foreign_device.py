"""A device that stands for a GPU: tensors on it compute as on the CPU, and refuse to be mixed with those there.

It is torch's own slot for devices from outside (PrivateUse1), so whatever asks a tensor where it is, or makes one
there, gets a true answer, in every thread. What is refused, and what is allowed all the same, is as on CUDA:

- tensors of both places in one operation are refused, but for a single number in an elementwise operation, indices
  from the CPU, and copies;
- random numbers of a generator of the CPU, and `numpy()`, are refused.

The same kernels compute, so results are those of the CPU to the last bit. What it cannot show: an operation that a GPU
does not have, and sums in another order.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "foreign"
DEVICE = f"{NAME}:0"
COPIES = ("aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class Foreign(Tensor):
    """A tensor there, whose values are in a tensor here that nobody else holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "Foreign":
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=torch.device(DEVICE),
        )
        made.held = values
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore[reportAttributeAccessIssue]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # pyright: ignore[reportAttributeAccessIssue]

    @data.setter
    def data(self, new: "Foreign") -> None:
        Tensor.data.__set__(self, new)  # pyright: ignore[reportAttributeAccessIssue]
        self.held = new.held

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_tensors(index), value)

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.tensor(data, **{"dtype": self.dtype, **kwargs}).to(DEVICE)

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.held.detach().numpy()
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first.")

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"{self.held}, {DEVICE}"


def _tensors(index: Any) -> Any:
    """An index without lists, which torch would make tensors of in a way that knows devices in C++ only."""
    if isinstance(index, tuple):
        return tuple(map(_tensors, index))
    return torch.tensor(index) if isinstance(index, list) else index


class Module(_DummyBackendModule):
    """What torch asks such a device."""

    there = False
    """Only in tests that mean it: every DataParallel of this process would spread itself over it."""

    def is_available(self) -> bool:
        return self.there

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.empty(0)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class Numbers(TorchFunctionMode):
    """Within it, tensors are made there of numbers and lists too, which torch does by a way of its own in C++."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and str(kwargs.get("device")).startswith(NAME):
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """The operation on the values behind the tensors."""
    given = [leaf for leaf in tree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    wanted = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    _check(func, args, kwargs, given)
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree.tree_map_only(Foreign, lambda tensor: tensor.held, (args, kwargs))
    made = func(*args, **kwargs)
    if wanted is not None and wanted.type == "cpu":
        return made
    same = {id(tensor.held): tensor for tensor in given if isinstance(tensor, Foreign)}  # written in place
    for tensor in same.values():
        if tensor.shape != tensor.held.shape:  # what is written to grows first
            Tensor.data.__set__(tensor, Foreign(tensor.held))  # pyright: ignore[reportAttributeAccessIssue]
    return tree.tree_map_only(Tensor, lambda tensor: same[id(tensor)] if id(tensor) in same else Foreign(tensor), made)


def _check(func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> None:
    name = func._schema.name
    generator = kwargs.get("generator")
    if generator is not None:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device}' ({name})")
    here = [tensor for tensor in given if not isinstance(tensor, Foreign)]
    if name in COPIES or not here:
        return
    if name in INDEXED:
        if here[0] is args[0]:
            raise RuntimeError(f"indices should be on the same device as the indexed tensor (cpu) ({name})")
        here = [value for value in args[2:3] if isinstance(value, Tensor) and not isinstance(value, Foreign)]
    single = torch.Tag.pointwise in func.tags or name in INDEXED
    if any(tensor.dim() or not single for tensor in here):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {DEVICE} and cpu! ({name})")


_setup_privateuseone_for_python_backend(NAME, backend_module=Module())
_fallback = torch.library.Library("_", "IMPL")
_fallback.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")
_fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # all stays float32
