"""Which values of a captured model are codes: who makes them, and who reads them."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import fx

from bitproof.deploy.tails import MEANS, SUM, Tail

aten = torch.ops.aten
PADS = (aten.constant_pad_nd.default, aten.pad.default)
REARRANGE = (
    aten.reshape.default,
    aten.permute.default,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.max_pool1d.default,
    aten.max_pool2d.default,
)
"""What moves or selects values, before or after they are rounded."""


class Flow:
    """Codes are made by layers, and by those sums and global means of codes that are read as codes alone.

    Args:
        graph: of a captured model, as yet unchanged.
        calls: its quantized layers.
        inputs: the nodes that round the layers' inputs.

    Attributes:
        tails: of each quantized layer, sum and mean.
        sources: by sum or mean that makes codes, who makes those that it takes.
    """

    def __init__(self, graph: fx.Graph, calls: Collection[fx.Node], inputs: Collection[fx.Node]) -> None:
        self.inputs = inputs
        adding = [node for node in graph.nodes if _is_sum(node) or _is_global_mean(node)]
        self.tails = {node: Tail.of(node) for node in (*calls, *adding)}
        self.sources: dict[fx.Node, list[fx.Node]] = {}
        while True:  # one that does not make codes may take others with it
            makers = {self.tails[node].clipped: node for node in (*calls, *adding)}
            found = {node: [makers.get(_origin(value)) for value in node.all_input_nodes] for node in adding}
            self.sources = {node: [m for m in those if m is not None] for node, those in found.items()}
            kept = [node for node in adding if None not in found[node] and self._read_as_codes(node)]
            if len(kept) == len(adding):
                break
            adding = kept

    def readers(self, maker: fx.Node) -> list[fx.Node | None]:
        """Who takes the codes, as they are or rearranged: a node that rounds them, a sum, a mean; None for others."""
        return list(self._readers(self.tails[maker].clipped))

    def _read_as_codes(self, node: fx.Node) -> bool:
        readers = self.readers(node)
        return bool(readers) and None not in readers

    def _readers(self, node: fx.Node) -> Iterator[fx.Node | None]:
        for user in node.users:
            if user in self.inputs or user in self.sources:
                yield user
            elif _rearranges(user) or user.target is aten.cat.default:
                yield from self._readers(user)
            else:
                yield None


def _origin(node: fx.Node) -> fx.Node:
    """Where values come from that were only rearranged."""
    while _rearranges(node):
        node = node.all_input_nodes[0]
    return node


def _rearranges(node: fx.Node) -> bool:
    if node.target in PADS:  # with zeros, which every grid has
        mode, value = (*node.args[2:], *("constant", None)[len(node.args) - 2 :])
        return value in (0, None) if node.target is aten.pad.default else mode in (0, "constant")
    return node.target in REARRANGE


def _is_sum(node: fx.Node) -> bool:
    """Of two different tensors of one shape."""
    terms: list[Any] = node.all_input_nodes
    return (
        node.target is SUM
        and len(terms) == len(node.args) == 2
        and not node.kwargs
        and _shape(terms[0]) == _shape(terms[1])
    )


def _is_global_mean(node: fx.Node) -> bool:
    """Of all places of an image, in any of the ways to write it."""
    if node.target not in MEANS or node.kwargs or (shape := _shape(node.all_input_nodes[0]))[:-2] != _shape(node)[:2]:
        return False
    if node.target is aten.mean.dim:
        return len(shape) == 4 and sorted(axis % 4 for axis in node.args[1]) == [2, 3]  # type: ignore[union-attr]
    whole = node.target is not aten.avg_pool2d.default or (node.args[1] == [*shape[2:]] and len(node.args) < 4)
    return whole and _shape(node)[2:] == (1, 1)


def _shape(node: fx.Node) -> tuple[Any, ...]:
    return tuple(node.meta["val"].shape)
