"""Damage for files: blind damage for any, and damage inside whole containers (zip, JSON, pickle, npy, PNG, JPEG, ONNX).

`mutated(content, rng)` is a damaged copy. Containers are told by their first bytes, and half of their mutations keep
the container valid: what lies inside is damaged, or its directory lies.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Rng = np.random.Generator

NUMBERS = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
"""Lengths, counts and positions that readers trip over."""

BOMB = 2**30
"""Bytes that a few kilobytes of an archive are inflated to."""


def mutated(content: bytes, rng: Rng) -> bytes:
    """A damaged copy of a file."""
    inside = next((damage for magic, damage in INSIDE.items() if content.startswith(magic)), None)
    if content[8:9] == b"{":
        inside = safetensors
    if inside is None or rng.random() < 0.5:
        return blind(content, rng)
    return inside(content, rng)


def blind(content: bytes, rng: Rng) -> bytes:
    """Bits flipped, bytes set, left out, put in, swapped or repeated, lengths written over, an end cut off.

    A third hits the front, where headers lie, and a third the end, where archives have their directory.
    """
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        size = max(len(damaged), 1)
        at = int(rng.integers(size))
        at = (at, at % min(300, size), size - 1 - at % min(300, size))[rng.integers(3)]
        span = int(rng.integers(1, 17))
        match rng.integers(8):
            case 0 | 1 if damaged:
                damaged[at] ^= 1 << int(rng.integers(8))
            case 2:
                damaged[at : at + 1] = rng.bytes(1)
            case 3:
                del damaged[at : at + span]
            case 4:
                damaged[at:at] = rng.bytes(span)
            case 5:
                width = int(rng.choice([1, 2, 4, 8]))
                order = "little" if rng.random() < 0.6 else "big"
                damaged[at : at + width] = (_number(rng) % 256**width).to_bytes(width, order)
            case 6:
                other = int(rng.integers(size))
                damaged[at : at + span] = damaged[other : other + span]
            case 7 if rng.random() < 0.4:
                del damaged[at:]
    return bytes(damaged)


def _number(rng: Rng) -> int:
    return NUMBERS[rng.integers(len(NUMBERS))]


# JSON

_DEEP, _LONG = "\0deep", "\0long"
_ODD = (None, True, -1, 0, 1, 3, 33, 0.5, 10**9, 10**18, 10**40, 1e308, "", "x" * 5000, "nan", "inf", [], {}, [[]])
_ODD += (_DEEP, _LONG, ["a", 1], {"type": "PGD"}, "resnet20", "float32", "../../x", "\x1b[31m")


def json_text(text: str, rng: Rng) -> str:
    """JSON of which values, keys or parts are others; now and then too deep, or a number of 5,000 digits."""
    tree = json.loads(text)
    for _ in range(rng.integers(1, 3)):
        tree = _changed(tree, rng)
    written = json.dumps(tree)
    return written.replace(json.dumps(_DEEP), "[" * 100_000).replace(json.dumps(_LONG), "9" * 5000)


def _changed(tree: Any, rng: Rng) -> Any:
    if isinstance(tree, str) and tree[:1] in "[{" and tree and rng.random() < 0.9:
        return json_text(tree, rng)
    if not isinstance(tree, (dict, list)) or not tree or rng.random() < 0.1:
        return _ODD[rng.integers(len(_ODD))]
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key, other = keys[rng.integers(len(keys))], keys[rng.integers(len(keys))]
    match rng.integers(8):
        case 0:
            del tree[key]
        case 1 if isinstance(tree, dict):
            tree[str(_ODD[rng.integers(len(_ODD))])] = tree.pop(key)
        case 2:
            tree[key], tree[other] = tree[other], tree[key]
        case _:
            tree[key] = _changed(tree[key], rng)
    return tree


def _json(content: bytes, rng: Rng) -> bytes:
    return json_text(content.decode(), rng).encode()


def safetensors(content: bytes, rng: Rng) -> bytes:
    """Another header, with its right length."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json_text(content[8 : 8 + size].decode(), rng).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


# zip

Entry = dict[str, Any]
"""name, raw (as stored), size, crc, method."""


def archive(content: bytes, rng: Rng) -> bytes:
    """A zip archive with other members, or a directory that lies."""
    with zipfile.ZipFile(io.BytesIO(content)) as stored:
        entries = [_entry(info.filename, stored.read(info), info.compress_type) for info in stored.infolist()]
    chosen, other = (entries[rng.integers(len(entries))] for _ in range(2))
    lie: Entry = {}
    match rng.integers(9):
        case 0 | 1 | 2:
            chosen.update(_entry(chosen["name"], mutated(_inflated(chosen), rng), chosen["method"]))
        case 3:
            chosen["name"], other["name"] = other["name"], chosen["name"]
        case 4:
            chosen["name"] = str(_ODD[rng.integers(len(_ODD))])[:60]
        case 5:
            entries.remove(chosen)
        case 6:
            entries.append(dict(chosen))
        case 7:
            lie = {("size", "crc", "method", "packed")[rng.integers(4)]: _number(rng) % 2**32}
        case _:
            size = BOMB if rng.random() < 0.5 else len(_inflated(chosen))  # honest or not
            chosen.update(raw=_bomb(), size=size, method=zipfile.ZIP_DEFLATED)
    return _zip(entries, chosen if lie else None, lie, local=bool(rng.random() < 0.5))


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**22)
    return b"".join(packer.compress(block) for _ in range(BOMB // len(block))) + packer.flush()


def _entry(name: str, content: bytes, method: int) -> Entry:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    raw = packer.compress(content) + packer.flush() if method == zipfile.ZIP_DEFLATED else content
    return {"name": name, "raw": raw, "size": len(content), "crc": zlib.crc32(content), "method": method}


def _inflated(entry: Entry) -> bytes:
    return zlib.decompress(entry["raw"], -15) if entry["method"] == zipfile.ZIP_DEFLATED else entry["raw"]


def _zip(entries: list[Entry], liar: Entry | None, lie: Entry, *, local: bool) -> bytes:
    """The archive; of the liar, the directory (and with `local` the header before the content) says what `lie` says."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        said = {**entry, "packed": len(entry["raw"]), **(lie if entry is liar else {})}
        before = said if local else {**entry, "packed": len(entry["raw"])}
        name, place = entry["name"].encode(errors="replace"), len(body)
        body += b"PK\3\4" + struct.pack("<HHH", 20, 0, before["method"] % 2**16) + bytes(4)
        body += struct.pack("<IIIHH", before["crc"], before["packed"], before["size"], len(name), 0) + name
        body += entry["raw"]
        directory += b"PK\1\2" + struct.pack("<HHHH", 20, 20, 0, said["method"] % 2**16) + bytes(4)
        directory += struct.pack("<IIIHHHHHII", said["crc"], said["packed"], said["size"], len(name), *(0,) * 5, place)
        directory += name
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


# pickles

_PAIRS = b"(" + b"K\x01" + b"2\x86" * 60  # a pair of a pair of ...: 2^60 leaves
_PROGRAMS = (
    b"}" + _PAIRS[1:] + b"K\x01s.",  # as a key
    b"}r\xff\xff\xff\x7f.",  # a memo of 2^31 places
    b"B\xff\xff\xff\x7f.",
    b"\x8e" + struct.pack("<Q", 2**40) + b".",
    b"\x96" + struct.pack("<Q", 2**36) + b".",
    b"(" * 5000 + b".",
    b"]" + b"2" * 3000 + b".",
    b"cos\nsystem\n(U\x04truetR.",
    b"ctorch\nload\n)R.",
    b"U\x04" + b"data" + b"\x94h\x00" * 200 + b".",
    b"I" + b"9" * 5000 + b"\n.",
    b"L" + b"9" * 5000 + b"L\n.",
)


def program(content: bytes, rng: Rng) -> bytes:
    """A pickle with a hostile piece in its place, before its end, or anywhere."""
    piece = _PROGRAMS[rng.integers(len(_PROGRAMS))]
    at = (2, max(len(content) - 1, 0), int(rng.integers(len(content) + 1)))[rng.integers(3)]
    return content[:at] + piece + (content[at:] if rng.random() < 0.5 else b"")


# arrays, pictures


def npy(content: bytes, rng: Rng) -> bytes:
    """Another header, of the same length where it fits."""
    (size,) = struct.unpack("<H", content[8:10])
    header = content[10 : 10 + size].decode("latin1")
    fields = {"descr": "|u1", "fortran_order": False, "shape": (1,)}
    field = list(fields)[rng.integers(3)]
    values = (
        "|O",
        "|V8",
        "<f8",
        "<c16",
        "<M8[s]",
        "|S0",
        [("a", "<i4")],
        (),
        (0,),
        (-1,),
        (2**62, 2**62),
        (10**30,),
        5,
    )
    values += (None, True, "((((", {1: 2}, "|u1", "<U9999999999")
    text = repr(values[rng.integers(len(values))])
    if rng.random() < 0.3:
        text = ("(" * 5000, "1" + "L" * 3, "__import__('os')", "9" * 5000, "{", "\0")[rng.integers(6)]
    start = header.find(f"'{field}': ") + len(field) + 4
    stop = header.find(", '", start) if ", '" in header[start:] else header.rfind("}")
    changed = (header[:start] + text + header[stop:]).rstrip().ljust(size - 1) + "\n"
    return content[:8] + struct.pack("<H", len(changed) % 2**16) + changed.encode("latin1") + content[10 + size :]


def png(content: bytes, rng: Rng) -> bytes:
    """Another size, depth or colour, under a right checksum."""
    header = bytearray(content[16:29])
    for _ in range(rng.integers(1, 3)):
        at = int(rng.choice([0, 4, 8, 9, 12]))
        sides = (*NUMBERS, 13_000, 8000, 60_000)
        new = struct.pack(">I", sides[rng.integers(len(sides))] % 2**32) if at < 8 else rng.bytes(1)
        header[at : at + len(new)] = new
    return content[:16] + bytes(header) + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]


def jpeg(content: bytes, rng: Rng) -> bytes:
    """Another size in the header of the frame."""
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) + 5
    sides = struct.pack(">HH", *(int(rng.choice([0, 1, 7, 50, 100, 1000, 13_000, 65_500])) for _ in range(2)))
    return content[:at] + sides + content[at + 4 :]


def onnx_model(content: bytes, rng: Rng) -> bytes:
    """Other metadata, values outside the file, other shapes, names or operators."""
    import onnx

    model = onnx.load_from_string(content)
    constants = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    tensor = [*model.graph.initializer, *constants][rng.integers(len(model.graph.initializer) + len(constants))]
    node = model.graph.node[rng.integers(len(model.graph.node))]
    match rng.integers(7):
        case 0 | 1 if model.metadata_props:
            model.metadata_props[0].value = json_text(model.metadata_props[0].value, rng)
        case 2:
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "outside.bin"
            tensor.data_location = onnx.TensorProto.EXTERNAL
        case 3 if tensor.dims:
            tensor.dims[rng.integers(len(tensor.dims))] = _number(rng) % 2**40
        case 4:
            node.op_type = ("If", "Loop", "Gemm", "Softmax", "Identity", "Expand", "Nothing")[rng.integers(7)]
        case 5 if node.input:
            node.input[rng.integers(len(node.input))] = tensor.name
        case _:
            shape = model.graph.input[0].type.tensor_type.shape.dim[rng.integers(4)]
            shape.dim_value = _number(rng) % 2**40
    return model.SerializeToString()


INSIDE: dict[bytes, Callable[[bytes, Rng], bytes]] = {
    b"PK\3\4": archive,
    b"{": _json,
    b"\x80\x02": program,
    b"\x80\x04": program,
    b"\x80\x05": program,
    b"\x93NUMPY": npy,
    b"\x89PNG": png,
    b"\xff\xd8": jpeg,
    b"\x08\x0a": onnx_model,
    b"\x08\x09": onnx_model,
}
