"""The graph of an ONNX file, read without the `onnx` package and bounded in every way.

A model file comes from strangers. What is read here holds no data of other files, no code (local
functions, operators of other domains), and no more nodes, nesting and numbers than the limits
say; whatever else is in the file is refused, so that no runtime sees it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.protobuf import Value, WireError, WireReader, message, text, whole

MAX_NODES = 20_000
"""Nodes of a file, those of nested graphs included."""
MAX_TENSORS = 20_000
"""Tensors of a file, those of nested graphs and attributes included."""
MAX_NESTING = 3
"""Graphs within graphs: two loops are what files of this project have."""
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 1 << 28
"""Numbers in one tensor."""
MIN_OPSET, MAX_OPSET = 7, 30
"""Versions of the standard operator set that are read."""

Floats = NDArray[np.float32]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

FLOAT, INT32, INT64, FLOAT16 = 1, 6, 7, 10
_ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8,
                  15: 16, 16: 2, 17: 1, 18: 1, 19: 1, 20: 1}  # fmt: skip
_RAW_ONLY = (11, 14, 15)  # double and complex: no field of whole numbers holds them
_STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file, decoded when it is asked for.

    Attributes:
        name: of an initializer; "" elsewhere.
        data_type: number of the type in ONNX (TensorProto.DataType).
        shape: sides.
        content: the values' bytes, little-endian, or the numbers themselves.
    """

    name: str
    data_type: int
    shape: tuple[int, ...]
    content: bytes | tuple[int, ...] = field(repr=False)

    @cached_property
    def array(self) -> NDArray[Any] | None:
        """The values: float32 (float16 is widened), int64 (int32 is widened), None for others."""
        kinds = {FLOAT: "<f4", FLOAT16: "<f2", INT32: "<i4", INT64: "<i8"}
        if self.data_type not in kinds:
            return None
        values: NDArray[Any]
        if isinstance(self.content, bytes):
            values = np.frombuffer(self.content, kinds[self.data_type])
        elif self.data_type == FLOAT16:
            values = np.array(self.content, np.int64).astype("<u2").view("<f2")
        else:
            values = np.array(self.content, np.int64)
        target = np.float32 if self.data_type in (FLOAT, FLOAT16) else np.int64
        return values.astype(target).reshape(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: its name in ONNX, such as "Conv".
        inputs: names of values; "" for an optional one that is left out.
        outputs: names of values.
        attributes: name -> number, text or tuple of them.
        tensors: name -> tensor, of attributes that hold one.
        graphs: name -> graph, of attributes that hold one.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    tensors: Mapping[str, Tensor]
    graphs: Mapping[str, Graph]


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph: its name, type number and sides (None where any, or no shape at all)."""

    name: str
    data_type: int = 0
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Graph:
    """The graph of a file, or of a loop's body.

    Attributes:
        nodes: in the order of the file, which is an order they can run in.
        initializers: name -> tensor.
        inputs: as the file lists them, without those that an initializer gives.
        outputs: names of values.
    """

    nodes: tuple[Node, ...]
    initializers: Mapping[str, Tensor]
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]

    def all_nodes(self) -> list[Node]:
        """Return the nodes, those of nested graphs included."""
        found = list(self.nodes)
        for node in self.nodes:
            for graph in node.graphs.values():
                found += graph.all_nodes()
        return found


@dataclass(frozen=True)
class OnnxFile:
    """What is read of an ONNX file.

    Attributes:
        graph: its graph.
        opset: version of the standard operator set.
        metadata: its metadata_props.
    """

    graph: Graph
    opset: int
    metadata: Mapping[str, str]


def parse_onnx(data: bytes) -> OnnxFile:
    """Return the graph and metadata of an ONNX file's bytes.

    Raises:
        WireError: they are damaged, past a limit, or ask for what lies outside of the file.
    """
    return _Parser().model(memoryview(data))


Parts = Mapping[int, list[Value]]
"""A message: field number -> values in order."""


class _Parser:
    """Reads one file; counts its nodes and tensors."""

    def __init__(self) -> None:
        self._reader = WireReader()
        self._nodes = self._tensors = 0

    def _parts(self, value: Value, what: str, known: range, refused: str = "") -> Parts:
        """Return a message's fields, of which none may be outside of those that are known."""
        parts: dict[int, list[Value]] = {}
        for number, field_value in self._reader.fields(message(value)):
            if number not in known:
                raise WireError(f"{what} {refused or f'has an unknown part {number}'}")
            parts.setdefault(number, []).append(field_value)
        return parts

    def model(self, data: memoryview) -> OnnxFile:
        """ModelProto: graph 7, operator sets 8, metadata 14.

        Functions, 25, and training, 20, are not known here.
        """
        parts = self._parts(data, "it", range(1, 15))
        graphs = parts.get(7, [])
        if len(graphs) != 1:
            raise WireError(f"it has {len(graphs)} graphs")
        sets = [self._parts(value, "it", range(1, 3)) for value in parts.get(8, [])]
        versions = [_number(one, 2) for one in sets if _name(one, 1) in _STANDARD_DOMAINS]
        if len(versions) != 1 or not MIN_OPSET <= versions[0] <= MAX_OPSET:
            raise WireError(
                f"its operator set is {versions}; those from {MIN_OPSET} to {MAX_OPSET} are read"
            )
        entries = [self._parts(value, "it", range(1, 3)) for value in parts.get(14, [])]
        metadata = {_name(entry, 1): _name(entry, 2) for entry in entries}
        if len(metadata) != len(entries):
            raise WireError("it has metadata of one name twice")
        return OnnxFile(self.graph(graphs[0], 1), versions[0], metadata)

    def graph(self, value: Value, nesting: int) -> Graph:
        """GraphProto: nodes 1, initializers 5, inputs 11, outputs 12, sparse initializers 15."""
        if nesting > MAX_NESTING:
            raise WireError(f"its graphs are nested more than {MAX_NESTING} deep")
        parts = self._parts(value, "its graph", range(1, 17))
        if 15 in parts:
            raise WireError("it holds sparse tensors")
        nodes = tuple(self._node(node, nesting) for node in parts.get(1, []))
        tensors = [self._tensor(tensor) for tensor in parts.get(5, [])]
        named = {tensor.name: tensor for tensor in tensors}
        if len(named) != len(tensors):
            raise WireError("it has two tensors of one name")
        inputs = [self._input(one) for one in parts.get(11, [])]
        outputs = tuple(self._input(one).name for one in parts.get(12, []))
        free = tuple(entry for entry in inputs if entry.name not in named)
        return Graph(nodes, named, free, outputs)

    def _node(self, value: Value, nesting: int) -> Node:
        """NodeProto: inputs 1, outputs 2, operator 4, attributes 5, domain 7, overload 8."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise WireError(f"it has more than {MAX_NODES} nodes")
        parts = self._parts(value, "a node", range(1, 11))
        if _name(parts, 7) not in _STANDARD_DOMAINS or _name(parts, 8):
            raise WireError(f"it needs operators of the domain {_name(parts, 7)[:60]!r}")
        found = dict(self._attribute(one, nesting) for one in parts.get(5, []))
        if len(found) != len(parts.get(5, [])):
            raise WireError("a node has two attributes of one name")
        return Node(
            _name(parts, 4),
            tuple(text(one) for one in parts.get(1, [])),
            tuple(text(one) for one in parts.get(2, [])),
            {k: v for k, v in found.items() if not isinstance(v, Tensor | Graph)},
            {k: v for k, v in found.items() if isinstance(v, Tensor)},
            {k: v for k, v in found.items() if isinstance(v, Graph)},
        )

    def _attribute(self, value: Value, nesting: int) -> tuple[str, Attribute | Tensor | Graph]:
        """AttributeProto: name 1, its value in one of the fields 2 to 9, type 20.

        Lists of tensors and graphs, sparse tensors, types and references are not known here.
        """
        parts = self._parts(value, "an attribute of a node", range(1, 21))
        kept = {*range(2, 10)} & parts.keys()
        if len(kept) > 1 or parts.keys() - {1, 13, 20, *range(2, 10)}:
            raise WireError("an attribute of a node is of an unknown kind")
        name, number = _name(parts, 1), min(kept, default=0)
        values = parts.get(number, [])
        if 2 <= number <= 6 and len(values) != 1:
            raise WireError(f"an attribute {name[:60]!r} has several values")
        match number:
            case 2:
                return name, _floats(values[0])[0]
            case 3:
                return name, whole(values[0])
            case 4:
                return name, text(values[0])
            case 5:
                return name, self._tensor(values[0])
            case 6:
                return name, self.graph(values[0], nesting + 1)
            case 7:
                return name, tuple(one for some in values for one in _floats(some))
            case 8:
                return name, self._numbers(values)
        return name, tuple(text(one) for one in values)

    def _tensor(self, value: Value) -> Tensor:
        """TensorProto: sides 1, type 2, values 4 to 11 but the name 8, other file 13 and 14."""
        self._tensors += 1
        if self._tensors > MAX_TENSORS:
            raise WireError(f"it has more than {MAX_TENSORS} tensors")
        parts = self._parts(value, "a tensor", range(1, 17))
        name = _name(parts, 8)
        if parts.get(13) or any(parts.get(14, [])):
            raise WireError(f"its tensor {name[:60]!r} lies in another file")
        if 3 in parts or 15 in parts:
            raise WireError(f"its tensor {name[:60]!r} is one of several pieces")
        raw = b"".join(message(one) for key in (4, 9, 10) for one in parts.get(key, []))
        numbers = self._numbers([one for key in (5, 7, 11) for one in parts.get(key, [])])
        kind, shape = _number(parts, 2), self._numbers(parts.get(1, []))
        _check_tensor(name, kind, shape, (len(raw), len(numbers), len(parts.get(6, []))))
        return Tensor(name, kind, shape, raw or numbers)

    def _numbers(self, values: list[Value]) -> tuple[int, ...]:
        return tuple(number for value in values for number in self._reader.numbers(value))

    def _input(self, value: Value) -> GraphInput:
        """ValueInfoProto: name 1, type 2; of TypeProto only tensors, 1, have what is asked here."""
        parts = self._parts(value, "an input", range(1, 5))
        kind, shape = 0, None
        for one in parts.get(2, []):
            for tensor in self._parts(one, "a type", range(1, 10)).get(1, []):
                about = self._parts(tensor, "a type", range(1, 3))
                kind = _number(about, 1)
                for sides in about.get(2, []):
                    shape = tuple(
                        self._side(side)
                        for side in self._parts(sides, "a shape", range(1, 2)).get(1, [])
                    )
        return GraphInput(_name(parts, 1), kind, shape)

    def _side(self, value: Value) -> int | None:
        parts = self._parts(value, "a shape", range(1, 4))
        return _number(parts, 1) if 1 in parts else None


def _name(parts: Parts, number: int) -> str:
    """Return a field of text; "" where it is missing."""
    values = parts.get(number, [])
    if len(values) > 1:
        raise WireError("it names one thing twice")
    return text(values[0]) if values else ""


def _number(parts: Parts, number: int) -> int:
    """Return a field that is a whole number; 0 where it is missing."""
    values = parts.get(number, [])
    if len(values) > 1:
        raise WireError("it gives one number twice")
    return whole(values[0]) if values else 0


def _check_tensor(
    name: str, kind: int, shape: tuple[int, ...], counts: tuple[int, int, int]
) -> None:
    """Refuse a tensor whose content is not what its type and shape say."""
    raw, numbers, texts = counts
    fits = len(shape) <= MAX_DIMENSIONS and all(0 <= side <= MAX_ELEMENTS for side in shape)
    elements = math.prod(shape) if fits else 0
    fits = fits and elements <= MAX_ELEMENTS and sum(map(bool, counts)) <= 1
    if kind == 8:
        fits = fits and texts == elements
    elif raw:
        fits = fits and raw == elements * _ELEMENT_BYTES.get(kind, 0)
    else:
        whole_numbers = kind not in (FLOAT, *_RAW_ONLY)
        fits = fits and numbers == elements and not texts and (whole_numbers or not elements)
    if not fits:
        raise WireError(f"its tensor {name!r} does not hold what its shape {list(shape[:9])} says")


def _floats(value: Value) -> list[float]:
    """Return one float32, or several packed."""
    data = message(value)
    if len(data) % 4 or not data:
        raise WireError("it holds a piece of a number")
    return [float(number) for number in np.frombuffer(data, "<f4")]
