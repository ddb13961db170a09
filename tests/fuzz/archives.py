"""Zip archives for fuzzing: made field by field, so that every field can lie."""

import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tests.convert.files import pickled
from tests.fuzz.mutate import LIMITS, TEXTS, damage_bytes, pick
from tests.fuzz.pickles import damaged_state, mutated_program, state

STORAGES = {"0": bytes(range(32)), "1": bytes(range(12)), "2": bytes(4)}


@dataclass
class Member:
    """One member, with what its two headers say of it."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    size: int | None = None
    local_name: bytes | None = None
    offset: int | None = None
    extra: bytes = b""
    has_descriptor: bool = False


def members(description: bytes, storages: Mapping[str, bytes] = STORAGES) -> list[Member]:
    return [
        Member(b"archive/data.pkl", description),
        Member(b"archive/byteorder", b"little"),
        *(Member(f"archive/data/{key}".encode(), data) for key, data in storages.items()),
        Member(b"archive/version", b"3\n"),
    ]


def assemble(entries: list[Member], *, comment: bytes = b"", prefix: bytes = b"", counts: int | None = None) -> bytes:
    """An archive whose central directory says what the members are told to say."""
    body, directory = bytearray(prefix), bytearray()
    for entry in entries:
        offset = len(body) if entry.offset is None else entry.offset
        stored = zlib.compress(entry.data)[2:-4] if entry.method == 8 else entry.data
        size = len(entry.data) if entry.size is None else entry.size
        check = zlib.crc32(entry.data)
        flags = entry.flags | (8 if entry.has_descriptor else 0)
        sizes = (0, 0, 0) if entry.has_descriptor else (check, len(stored) & 0xFFFFFFFF, size & 0xFFFFFFFF)
        name = entry.name if entry.local_name is None else entry.local_name
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, entry.method, 0, 0, *sizes, len(name), len(entry.extra))
        body += name + entry.extra + stored
        if entry.has_descriptor:
            body += struct.pack("<4s3I", b"PK\7\x08", check, len(stored), size & 0xFFFFFFFF)
        stored_size = len(stored) if entry.size is None else size
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, flags, entry.method, 0, 0,
            check, stored_size & 0xFFFFFFFF, size & 0xFFFFFFFF,
            len(entry.name), len(entry.extra), 0, 0, 0, 0, offset & 0xFFFFFFFF,
        )  # fmt: skip
        directory += entry.name + entry.extra
    count = len(entries) if counts is None else counts & 0xFFFF
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), len(comment))
    return bytes(body + directory) + end + comment


def make(generator: random.Random) -> bytes:
    """A torch file with a damaged description, lying members, or damaged bytes."""
    match generator.randrange(4):
        case 0:
            description = pickled(damaged_state(generator))
        case 1:
            description = mutated_program(generator)
        case _:
            description = pickled(state())
    entries = members(description)
    options: dict[str, object] = {}
    for _ in range(generator.choice((0, 1, 1, 2))):
        _lie(generator, entries, options)
    raw = assemble(entries, **options)  # type: ignore[arg-type]  # each option has its own type
    if generator.random() < 0.25:
        raw = damage_bytes(generator, raw, generator.choice((0, max(0, len(raw) - 400))))
    return raw


def _lie(generator: random.Random, entries: list[Member], options: dict[str, object]) -> None:
    entry = pick(generator, entries)
    match generator.randrange(14):
        case 0:
            entry.size = pick(generator, LIMITS)
        case 1:
            entry.offset = pick(generator, LIMITS)
        case 2:
            entry.method = generator.choice((8, 12, 14, 93, 99))
        case 3:
            entry.flags = generator.choice((1, 8, 32, 64, 0x800, 0x2000))
        case 4:
            entries.append(Member(entry.name, generator.randbytes(8)))
        case 5:
            entry.local_name = pick(generator, (b"other", entry.name + b"x", b"", b"\xff"))
        case 6:
            # A zip64 field with sizes of its own.
            values = [pick(generator, LIMITS) & (2**64 - 1) for _ in range(generator.randrange(4))]
            entry.extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)
            entry.size = generator.choice((None, 0xFFFFFFFF))
        case 7:
            entry.has_descriptor = True
        case 8:
            name = pick(generator, TEXTS).encode("utf-8", "surrogatepass")
            entry.name = name if generator.random() < 0.5 else b"archive/" + name
        case 9:
            options["comment"] = generator.randbytes(generator.choice((1, 22, 300)))
        case 10:
            options["prefix"] = generator.choice((b"MZ", b"\x7fELF" + bytes(60), b"PK\3\4", b"{"))
        case 11:
            options["counts"] = pick(generator, LIMITS)
        case 12:
            # Many names for the same bytes.
            entries += [Member(entry.name + bytes([65 + index]), b"", offset=0, size=32) for index in range(9)]
        case _:
            entry.data = bytes(1 << 20) if generator.random() < 0.2 else entry.data * 2
            entry.method = generator.choice((0, 8))
