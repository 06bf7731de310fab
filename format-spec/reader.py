#!/usr/bin/env python3
"""An independent reader of larder files, written from FORMAT.md alone.

    reader.py FILE          print what FILE holds, as JSON (section 25.1); exit 0
                            refused: `NAME: reason` on standard error; exit 2
                            index and walk contradict each other: exit 3
    reader.py --check DIR   compare every DIR/*.larder with its DIR/*.json; exit 1 if one differs
    reader.py --self-test   check the test values of section 3.2, frames, and hostile files built in memory

It reads from the top down: what is printed comes first, then the file header, slots, records, the
walk, bodies, aliases and the index, and last the checks. A tag such as [R4] names a rule of
FORMAT.md. Nothing here writes to a file or takes a lock [G1]. Bodies are read in pieces and only
keys and offsets are kept, so no length in a file decides how much memory is taken [G3].
"""
from __future__ import annotations

import difflib
import hashlib
import io
import itertools
import json
import os
import shutil
import stat
import struct
import sys
import tempfile
import textwrap
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

FILE_MAGIC = b"LARDER\r\n\x1a\n"
RECORD_MAGIC = b"LREC"
SLOT_OFFSETS = (4096, 8192)  # slot A, slot B
LOG_START = 12288  # the first record stands here
PAGE = 4096
PIECE = 1 << 20  # bodies are read in pieces of this size

PUT, ALIAS, DELETE, CLEAR, CHUNK, INDEX, TOUCH, SEAL = range(1, 9)  # kinds, section 7.2
MORE, SKIPPABLE, EXTENTS, AUX = 1, 2, 4, 8  # record flags, section 7
OVERFLOW, SUMMARY = 1, 2  # index page flags, section 11

FILE_HEADER = struct.Struct("<10sHIIIQ16sqII")  # 64 bytes, section 5.1
SLOT = struct.Struct("<QQQQQQQII")  # 64 bytes, section 6
RECORD = struct.Struct("<4sIIIIBBBBIIIIQ16sQqqQ")  # 96 bytes, section 7
EXTENT = struct.Struct("<QII")  # 16 bytes, section 8
FRAME_MAGIC = b"\x28\xb5\x2f\xfd"  # of zstd, RFC 8878
FRAME_RAW_MAX = 16 << 20  # a body with codec 1 decodes to no more [K5]
PIECE_MAX = 1 << 20  # a piece of a body with codec 2, stored or decoded [K14]; also the window [K15]

INDEX_PAGE = struct.Struct("<IHHII")  # 16 bytes, then the entries, section 11
INDEX_ENTRY = struct.Struct("<QQ")  # 16 bytes
INDEX_SUMMARY = struct.Struct("<QIIQQQQQq")  # 64 bytes, behind the header of the first page


class Refused(Exception):
    """The file is refused. `name` is one of the names of section 2."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class Unreadable(Exception):
    """A body that must not be handed out, while the rest of the file stays good [E4]."""


# ---- What is printed, section 25.1 --------------------------------------------------------------


def render(file: File, walk: Walk) -> Iterator[str]:
    """The JSON text [J2], piece by piece, as heads may be many and are printed whole."""
    header = file.header
    outline = {
        "counts": count(file, walk),
        "end": walk.end,
        "entries": [],
        "format": {"major": 0, "file_id": digits(header.file_id), "created_ms": header.created_ms},
        "state": state_of(file, walk),
        "void_batches": [batch[0] for batch in walk.void_batches],
    }
    before, after = to_json(outline).split('"entries": []')
    yield before + '"entries": ['
    separator = "\n"
    for key in sorted(walk.entries):
        offset = walk.entries[key]
        if offset is not None:
            yield separator + textwrap.indent(to_json(describe(file, walk, key, offset)), "    ")
            separator = ",\n"
    yield ("]" if separator == "\n" else "\n  ]") + after + "\n"


def count(file: File, walk: Walk) -> Dict[str, int]:
    entries = aliases = 0
    for _, offset in walk.live():
        record = entry_at(file, offset)
        entries += record.kind == PUT and not record.flags & AUX  # [K13]
        aliases += record.kind == ALIAS
    return {"records": walk.records, "entries": entries, "aliases": aliases}


def describe(file: File, walk: Walk, key: bytes, offset: int) -> Dict[str, Any]:
    record = entry_at(file, offset)
    _, head = read_key_and_head(file, record)
    shown = {
        "key": key.hex(),
        "kind": "put" if record.kind == PUT else "alias",
        "offset": offset,
        "head": head.hex(),
        "body": show_body(file, record),
        "codec": record.codec,
        "head_ver": record.head_ver,  # never judged [R12]
        "aux": bool(record.flags & AUX),
        "incarnation": digits(record.incarnation),
        "created_ms": record.created_ms,
        "drop_after_ms": record.drop_after_ms,
    }
    if record.kind == PUT and record.codec in (1, 2):
        shown["decoded_len"] = None if shown["body"] is None else decoded_len(file, record)
    if record.kind == ALIAS:
        resolved = resolve(file, walk, key)
        shown["to"] = file.read(record.body_at, record.body_len).hex()
        shown["target_incarnation"] = digits(record.raw_len)
        shown["resolves_to"] = None if resolved is None else resolved.hex()
    return shown


def show_body(file: File, record: Record) -> Any:
    """A short body in full, a longer one by length and hash, an unreadable one as null [J4]."""
    try:
        if record.body_len <= 64:
            return b"".join(body_pieces(file, record)).hex()
        sha256 = hashlib.sha256()
        for piece in body_pieces(file, record):
            sha256.update(piece)
        return {"len": record.body_len, "sha256": sha256.hexdigest()}
    except (Unreadable, Refused):
        return None


def to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=2)


def digits(number: int) -> str:
    return f"{number:016x}"  # [J3]


# ---- The file and its header, sections 5 and 14 -------------------------------------------------


class File:
    """Bytes below a size that is taken once, before anything is read [W2]."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream = stream
        self.size = size
        self.header = read_header(self)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Callers have compared `length` with a limit of the format."""
        if offset + length > self.size:
            raise Refused("Io", f"no {length} bytes at offset {offset}")
        try:
            self.stream.seek(offset)
            data = self.stream.read(length)
        except OSError as error:
            raise Refused("Io", f"reading at offset {offset}: {error.strerror}") from error
        if len(data) != length:
            raise Refused("Io", "the file became shorter while it was read")
        return data

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        for at in range(offset, offset + length, PIECE):
            yield self.read(at, min(PIECE, offset + length - at))

    def checked_pieces(self, offset: int, length: int, crc: int) -> Iterator[bytes]:
        """The same, but it fails after the last piece if the CRC is another one."""
        actual = 0
        for piece in self.pieces(offset, length):
            actual = zlib.crc32(piece, actual)
            yield piece
        if actual != crc:
            raise Unreadable(f"checksum of {length} bytes at offset {offset}")


def open_file(path: str) -> File:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before opening, which could wait [O1]
            raise Refused("NotALarder", "not a regular file")
        stream = open(path, "rb")
    except OSError as error:
        raise Refused("Io", f"{path}: {error.strerror}") from error
    return File(stream, os.fstat(stream.fileno()).st_size)


class Header(NamedTuple):
    """What matters of the file header, section 5.1."""

    file_id: int
    hash_key: bytes
    created_ms: int
    crc: int  # also the chain value before the first record [H7]


def read_header(file: File) -> Header:
    raw = file.read(0, min(64, file.size))
    if raw[:10] != FILE_MAGIC:
        raise Refused("NotALarder", "it does not begin with the magic")  # [H1]
    if len(raw) < 64:
        raise Refused("Damaged", "the file header is cut short")  # [H2]
    _, major, incompat, _, _, file_id, hash_key, created_ms, zero, crc = FILE_HEADER.unpack(raw)
    if zlib.crc32(raw[:60]) != crc:
        raise Refused("Damaged", "the checksum of the file header fails")  # [H2]
    if major != 0 or incompat != 0 or zero != 0:
        raise Refused("NewerFormat", f"major {major}, incompat {incompat:#x}, zero {zero}")  # [H3]
    # ro_compat and compat do not matter to a reader [H4] [H5]
    return Header(file_id, hash_key, created_ms, crc)


# ---- Slots, section 6 ---------------------------------------------------------------------------


class Slot(NamedTuple):
    seq: int
    index_off: int
    index_len: int
    covers: int
    live_bytes: int
    entries: int
    synced: int
    covers_crc: int
    crc: int


def read_slots(file: File) -> Tuple[Optional[Slot], bool]:
    """The best slot, if any is good, and whether both are bad [S1] [S2]."""
    good: List[Slot] = []
    bad = 0
    for offset in SLOT_OFFSETS:
        try:
            length = max(0, min(SLOT.size, file.size - offset))
            raw = file.read(offset, length) if length else b""
        except Refused:
            bad += 1  # it cannot be read [O6]
            continue
        raw = raw.ljust(64, b"\0")  # bytes behind the end of the file count as zeros
        slot = Slot(*SLOT.unpack(raw))
        if crc_bound(file.header, offset, raw[:60]) == slot.crc:
            good.append(slot)
        elif any(raw):  # 64 zero bytes are an empty slot, which is legal
            bad += 1
    best = max(good, key=lambda slot: slot.seq, default=None)
    return best, bad == 2


def state_of(file: File, walk: Walk) -> str:
    """The state of the file; the first line that holds decides [W5]."""
    best, both_bad = read_slots(file)
    if walk.reason == "newer":
        return "newer"
    if (best and walk.end < best.synced) or (both_bad and walk.end != file.size):
        return "damaged"
    return walk.reason


# ---- Records, section 7 -------------------------------------------------------------------------


class Record(NamedTuple):
    """The 96 bytes of a record header, and where it was found."""

    offset: int
    magic: bytes
    header_crc: int
    prev_crc: int
    head_crc: int
    body_crc: int
    kind: int
    flags: int
    codec: int
    head_ver: int
    key_len: int
    head_len: int
    extent_count: int
    zero: int
    body_len: int
    key_hash: bytes
    incarnation: int
    created_ms: int
    drop_after_ms: int
    raw_len: int  # of an ALIAS: target_incarnation

    @property
    def key_at(self) -> int:
        return self.offset + RECORD.size

    @property
    def body_at(self) -> int:
        return self.key_at + self.key_len + self.head_len

    @property
    def body_part_len(self) -> int:  # [R1]
        return EXTENT.size * self.extent_count if self.flags & EXTENTS else self.body_len

    @property
    def end(self) -> int:  # [R2]; padding belongs to the record [R3]
        return self.offset + align8(self.body_at - self.offset + self.body_part_len)


def record_at(file: File, offset: int) -> Optional[Record]:
    """A record header that is valid [R4], apart from `prev_crc`; None if it is not."""
    if offset + RECORD.size > file.size:
        return None
    raw = file.read(offset, RECORD.size)
    record = Record(offset, *RECORD.unpack(raw))
    if record.magic != RECORD_MAGIC or record.header_crc != crc_bound(file.header, offset, raw[8:]):
        return None
    return record


def is_understood(record: Record) -> bool:
    """[R5]"""
    known = record.kind in LEGAL
    return (
        (known or bool(record.flags & SKIPPABLE))
        and record.flags >> 4 == 0
        and record.zero == 0
        and (record.kind == PUT or not record.flags & AUX)
        and record.offset + record.body_len < 1 << 48
        and record.key_len <= 65536
        and record.head_len <= 1048576
        and (not known or is_legal(record))
    )


# Section 7.2. kind: has a key, longest head, shortest and longest inline body
LEGAL = {
    PUT: (True, 1048576, 0, 2147418112),
    ALIAS: (True, 1048576, 1, 65536),
    DELETE: (True, 0, 0, 0),
    CLEAR: (False, 0, 0, 0),
    CHUNK: (False, 0, 1, 1048576),
    INDEX: (False, 0, 0, 1 << 48),
    TOUCH: (False, 0, 0, 1 << 48),  # and a multiple of 32
    SEAL: (False, 0, 0, 0),
}


def is_legal(record: Record) -> bool:
    """A known kind, by the table."""
    has_key, longest_head, shortest, longest = LEGAL[record.kind]
    if (record.key_len > 0) != has_key or record.head_len > longest_head:
        return False
    if record.flags & EXTENTS:
        most = min(1 << 32, record.offset)
        return record.kind == PUT and record.extent_count >= 1 and record.body_len <= most
    whole = record.kind != TOUCH or record.body_len % 32 == 0
    return record.extent_count == 0 and shortest <= record.body_len <= longest and whole


def is_sound(file: File, record: Record) -> bool:
    """[R6]. If bytes cannot be read, the whole file is refused with Io, as [B7] permits."""
    try:
        head_len = record.key_len + record.head_len
        for _ in file.checked_pieces(record.key_at, head_len, record.head_crc):
            pass
        if record.kind != INDEX:  # its pages have checksums of their own [K9]
            for _ in file.checked_pieces(record.body_at, record.body_part_len, record.body_crc):
                pass
        return True
    except Unreadable:
        return False


def entry_at(file: File, offset: int) -> Record:
    """The header of a record that the walk has accepted."""
    record = record_at(file, offset)
    if record is None:
        raise Refused("Io", "the file changed while it was read")
    return record


def read_key_and_head(file: File, record: Record) -> Tuple[bytes, bytes]:
    """Checked once more, on the bytes that are handed out [G2]."""
    data = file.read(record.key_at, record.key_len + record.head_len)
    if zlib.crc32(data) != record.head_crc:
        raise Refused("Io", "the file changed while it was read")
    return data[: record.key_len], data[record.key_len :]


# ---- The walk, sections 9 and 13 ----------------------------------------------------------------


class Walk:
    """What a walk found: the entries, the end, and why it ended there."""

    def __init__(self, start: int) -> None:
        self.end = start  # the offset after the last accepted batch
        self.reason = "torn"
        self.records = 0
        self.void_batches: List[List[int]] = []  # offsets of their records
        self.entries: Dict[bytes, Optional[int]] = {}  # key: offset; None once it was deleted
        self.cleared = False

    def live(self) -> Iterable[Tuple[bytes, int]]:
        return ((key, offset) for key, offset in self.entries.items() if offset is not None)


def walk_log(file: File, start: int, chain: int) -> Walk:
    """Section 13. The order of the tests is part of the format [W1]."""
    walk = Walk(start)
    if file.size < start:
        return walk  # [W3]
    at, batch, sound = start, [], True
    while at != file.size:
        record = record_at(file, at)
        if record is None or record.prev_crc != chain:
            return walk  # a header that is not valid [R7]
        if not is_understood(record):
            walk.reason = "newer"  # [R8]
            return walk
        if record.end > file.size:
            return walk  # the record does not lie wholly in the file [R7]
        batch.append(at)
        sound = is_sound(file, record) and sound
        at, chain = record.end, record.header_crc
        if not record.flags & MORE:
            accept(file, walk, batch, sound)
            walk.end, batch, sound = at, [], True
    walk.reason = "torn" if batch else "clean"  # an unfinished batch does not count [B3]
    return walk


def accept(file: File, walk: Walk, batch: List[int], sound: bool) -> None:
    walk.records += len(batch)
    if not sound:
        walk.void_batches.append(batch)  # walked over, without any effect [B4]
        return
    for offset in batch:  # in file order, so that the later record wins [B2] [W4]
        record = entry_at(file, offset)
        if record.kind in (PUT, ALIAS):
            walk.entries[read_key_and_head(file, record)[0]] = offset  # [K1] [K2]
        elif record.kind == DELETE:
            walk.entries[read_key_and_head(file, record)[0]] = None  # [K6]
        elif record.kind == CLEAR:
            walk.entries.clear()  # [K7]
            walk.cleared = True


# ---- Bodies and extents, section 8 --------------------------------------------------------------


def body_pieces(file: File, record: Record) -> Iterator[bytes]:
    """The body as stored; Unreadable by [E4]."""
    if not record.flags & EXTENTS:
        yield from file.checked_pieces(record.body_at, record.body_len, record.body_crc)
        return
    total = 0
    for offset, length, _ in read_extents(file, record):
        if offset < LOG_START or length < 1 or offset + length > record.offset:
            raise Unreadable("an illegal extent")
        total += length
    if total != record.body_len:
        raise Unreadable("the extents do not add up")  # [E1]
    for offset, length, crc in read_extents(file, record):
        yield from file.checked_pieces(offset, length, crc)


def read_extents(file: File, record: Record) -> Iterator[Tuple[int, int, int]]:
    for piece in file.pieces(record.body_at, record.body_part_len):
        yield from EXTENT.iter_unpack(piece)


# ---- Compressed bodies, [K5] and [K14] to [K15] -------------------------------------------------


def decoded_len(file: File, record: Record) -> Optional[int]:
    """What the frames of a readable body come to, if they are what they must be, else None [J5]."""
    if record.codec == 1:
        if record.raw_len > FRAME_RAW_MAX or record.body_len > 2 * FRAME_RAW_MAX:
            return None
        frame = b"".join(body_pieces(file, record))
        return record.raw_len if content_len(frame) == record.raw_len else None
    if not record.flags & EXTENTS:
        return None
    piece_len, total, ended = None, 0, False
    for offset, length, _ in read_extents(file, record):
        found = content_len(file.read(offset, length)) if length <= PIECE_MAX else None
        piece_len = found if piece_len is None else piece_len
        if found is None or ended or not 1 <= found <= min(PIECE_MAX, piece_len):
            return None
        ended = found < piece_len  # only the last one may be shorter
        total += found
    return total if total == record.raw_len else None


def content_len(data: bytes) -> Optional[int]:
    """The Frame_Content_Size of data that is one zstd frame by [K15], to the end of its last block."""
    if data[:4] != FRAME_MAGIC or len(data) < 6:
        return None
    descriptor, at = data[4], 5
    single, checksum = bool(descriptor & 0x20), bool(descriptor & 4)
    if descriptor & 0b1011:  # a reserved bit, or a dictionary
        return None
    window = 0
    if not single:
        base = 1 << (10 + (data[at] >> 3))
        window, at = base + base // 8 * (data[at] & 7), at + 1
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    size = int.from_bytes(data[at:at + width], "little") + (256 if width == 2 else 0)
    at += width
    if width == 0 or at > len(data) or max(window, size if single else 0) > PIECE_MAX:
        return None
    last = False
    while not last:
        header, at = int.from_bytes(data[at:at + 3], "little"), at + 3
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        at += 1 if kind == 1 else length  # RLE blocks hold one byte
        if kind == 3 or length > 128 << 10 or at > len(data):
            return None
    return size if at + 4 * checksum == len(data) else None


# ---- Aliases, section 10 ------------------------------------------------------------------------


def resolve(file: File, walk: Walk, key: bytes) -> Optional[bytes]:
    """The key of the PUT that `key` leads to; None is a miss. This is [A5] to the letter."""
    for _ in range(9):  # the key itself and at most 8 hops
        offset = walk.entries.get(key)
        if offset is None:
            return None
        entry = entry_at(file, offset)
        if entry.kind == PUT:
            return key
        target_key = file.read(entry.body_at, entry.body_len)
        target_offset = walk.entries.get(target_key)
        if target_offset is None:
            return None
        target = entry_at(file, target_offset)
        if entry.raw_len != 0 and target.incarnation != entry.raw_len:
            return None
        key = target_key
    return None


# ---- The index, section 11 ----------------------------------------------------------------------


class BadPage(Exception):
    """The index is to be dropped [X6]."""


class Index:
    """The segment that a slot names."""

    def __init__(self, file: File, slot: Slot) -> None:
        self.file, self.slot = file, slot
        self.page_count = slot.index_len // PAGE - 1
        raw, entry_count, flags, number = self.raw_page(slot.index_off)
        covers, covers_crc = INDEX_SUMMARY.unpack_from(raw, INDEX_PAGE.size)[:2]
        if (entry_count, flags, number) != (0, SUMMARY, self.page_count):
            raise BadPage
        if (covers, covers_crc) != (slot.covers, slot.covers_crc):
            raise BadPage
        last, live_bytes, *counts = INDEX_SUMMARY.unpack_from(raw, INDEX_PAGE.size)[3:8]
        if last >= covers or live_bytes >= 1 << 62 or sum(counts) > 255 * self.page_count:
            raise BadPage
        if slot.index_off + slot.index_len > file.size:
            raise BadPage

    def raw_page(self, offset: int) -> Tuple[bytes, int, int, int]:
        """The page at an offset, its count, its flags and its number."""
        try:
            raw = self.file.read(offset, PAGE)
        except Refused as error:
            raise BadPage from error
        crc, entry_count, flags, segment, number = INDEX_PAGE.unpack_from(raw)
        if crc != crc_bound(self.file.header, offset, raw[4:]):
            raise BadPage
        if segment != self.slot.index_off // PAGE % (1 << 32):
            raise BadPage
        return raw, entry_count, flags, number

    def page(self, number: int) -> Tuple[bool, List[Tuple[int, int]]]:
        """The OVERFLOW flag of an entry page, and its entries."""
        offset = self.slot.index_off + (number + 1) * PAGE
        raw, entry_count, flags, found = self.raw_page(offset)
        if found != number or entry_count > 255 or flags & ~OVERFLOW:
            raise BadPage
        used = raw[INDEX_PAGE.size : INDEX_PAGE.size + INDEX_ENTRY.size * entry_count]
        return bool(flags & OVERFLOW), list(INDEX_ENTRY.iter_unpack(used))

    def record(self, place: int) -> Optional[Record]:
        """The record that an entry names, if it is what it must be [X7]."""
        record = record_at(self.file, place % (1 << 45) * 8)
        if record is None or record.offset < LOG_START or not is_understood(record):
            return None
        if record.kind not in (PUT, ALIAS) or record.end > min(self.slot.covers, self.file.size):
            return None
        key_and_head = self.file.read(record.key_at, record.key_len + record.head_len)
        return record if zlib.crc32(key_and_head) == record.head_crc else None

    def keys(self) -> Iterator[bytes]:
        for number in range(self.page_count):
            for _, place in self.page(number)[1]:
                record = self.record(place)
                if record:
                    yield self.file.read(record.key_at, record.key_len)

    def look_up(self, key: bytes) -> Optional[int]:
        h1, h2 = split_hash(siphash(self.file.header.hash_key, key))
        first = home_page(h1, self.page_count)
        for step in range(self.page_count):  # [X5]
            overflow, entries = self.page((first + step) % self.page_count)
            for entry_h1, place in entries:
                if entry_h1 == h1 and place >> 51 == h2:
                    record = self.record(place)
                    if record and self.file.read(record.key_at, record.key_len) == key:  # [R11]
                        return record.offset
            if not overflow:
                break
        return None


def index_agrees(file: File, full: Walk) -> bool:
    """Whether a reader that uses the index sees what the full walk saw, as far as [X9] asks it to.
    True if there is nothing to compare: no legal index, or one that a reader has to drop."""
    slot, _ = read_slots(file)
    if slot is None or not is_legal_index(slot) or full.end < slot.covers:
        return True
    tail = walk_log(file, slot.covers, slot.covers_crc)  # [X8]
    if state_of(file, tail) == "damaged":
        return True  # the walk from the start counts [W7]
    voided = [entry_at(file, offset) for batch in full.void_batches for offset in batch]
    void_hashes = {record.key_hash for record in voided if record.offset < slot.covers}  # [X9]
    void_clear = any(record.kind == CLEAR for record in voided if record.offset < slot.covers)
    try:
        index = Index(file, slot)
        for key in itertools.chain(full.entries, index.keys()):
            if key in tail.entries:
                seen = tail.entries[key]
            else:
                seen = None if tail.cleared else index.look_up(key)
            excused = void_clear or siphash(file.header.hash_key, key) in void_hashes
            if seen != full.entries.get(key) and not excused:
                return False
    except BadPage:
        return True
    return True


def is_legal_index(slot: Slot) -> bool:
    """[X2]"""
    return (
        slot.index_off % PAGE == 0
        and slot.index_len % PAGE == 0
        and slot.index_len >= 2 * PAGE
        and slot.covers % 8 == 0
        and LOG_START <= slot.covers <= slot.index_off - RECORD.size
        and slot.index_off + slot.index_len <= slot.synced
    )


def split_hash(key_hash: bytes) -> Tuple[int, int]:
    """h1, the low 64 bits, and h2, the top 13 bits [X1]."""
    number = int.from_bytes(key_hash, "little")  # [N8]
    return number % (1 << 64), number >> 115


def home_page(h1: int, page_count: int) -> int:
    return h1 * page_count >> 64  # [X4]


# ---- Conventions, section 3 ---------------------------------------------------------------------


def align8(length: int) -> int:
    return (length + 7) // 8 * 8  # [N7]


def crc_bound(header: Header, offset: int, data: bytes) -> int:
    """The CRC of bytes that belong to this file and to this place in it [N5]."""
    return zlib.crc32(data, zlib.crc32(struct.pack("<QQ", header.file_id, offset)))


def siphash(hash_key: bytes, data: bytes) -> bytes:
    """SipHash-1-3-128, section 3.1."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", hash_key)
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def rounds(times: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(times):
            v0 = (v0 + v1) & mask
            v1 = rotate(v1, 13) ^ v0
            v0 = rotate(v0, 32)
            v2 = (v2 + v3) & mask
            v3 = rotate(v3, 16) ^ v2
            v0 = (v0 + v3) & mask
            v3 = rotate(v3, 21) ^ v0
            v2 = (v2 + v1) & mask
            v1 = rotate(v1, 17) ^ v2
            v2 = rotate(v2, 32)

    message = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", message):
        v3 ^= word
        rounds(1)
        v0 ^= word
    v2 ^= 0xEE
    rounds(3)
    a = v0 ^ v1 ^ v2 ^ v3
    v1 ^= 0xDD
    rounds(3)
    b = v0 ^ v1 ^ v2 ^ v3
    return struct.pack("<QQ", a, b)


# ---- --check: the test vectors, section 25 ------------------------------------------------------


def check(folder: Path) -> int:
    names = sorted({path.stem for kind in ("*.larder", "*.json") for path in folder.glob(kind)})
    failed = 0
    for name in names:
        problem = compare(folder / f"{name}.larder", folder / f"{name}.json")
        print(f"DIFFERS {name}\n{problem}" if problem else f"ok {name}")
        failed += bool(problem)
    if not names:
        print(f"DIFFERS: no vectors in {folder}")
        failed = 1
    print(f"{max(0, len(names) - failed)} passed, {failed} failed")
    return 1 if failed else 0


def compare(vector: Path, expected_path: Path) -> str:
    """What is wrong with a vector; nothing if all is well."""
    for path in (vector, expected_path):
        if not path.is_file():
            return f"{path.name} is missing"
    expected = expected_path.read_bytes()
    try:
        actual, agrees = read_all(open_file(str(vector)))
    except Refused as refusal:
        return str(refusal)
    if actual.encode() != expected:
        old, new = expected.decode(errors="replace").splitlines(), actual.splitlines()
        diff = difflib.unified_diff(old, new, expected_path.name, "reader.py", n=1, lineterm="")
        return "\n".join(itertools.islice(diff, 24)) or "they differ in their line ends"
    return "" if agrees else "Damaged: index disagrees"


def read_all(file: File) -> Tuple[str, bool]:
    """The JSON of a small file, and whether its index agrees."""
    walk = walk_log(file, LOG_START, file.header.crc)
    return "".join(render(file, walk)), index_agrees(file, walk)


# ---- --self-test --------------------------------------------------------------------------------

TEST = Header(0x0123456789ABCDEF, bytes(range(16)), 1700000000000, 0x6A3BB2DF)  # section 3.2


def self_test() -> int:
    test_values()
    test_index()
    test_frames()
    test_hostile()
    print("self-test passed")
    return 0


def expect(what: str, actual: Any, wanted: Any) -> None:
    if actual != wanted:
        raise SystemExit(f"self-test: {what}: got {actual!r}, wanted {wanted!r}")


def test_values() -> None:
    """Section 3.2, and the CRC of [N4]."""
    expect("CRC", (zlib.crc32(b"123456789"), zlib.crc32(b"")), (0xCBF43926, 0))
    for data, output, number in (
        (b"larder", "c16066d076c74fd7803047a5108a37c6", 0xC6378A10A5473080D74FC776D06660C1),
        (b"", "e77ebcb22788a5befd62db6add303001", 0x013030DD6ADB62FDBEA58827B2BC7EE7),
        (b"12345678", "152a4d125e549475fd99db767a627829", 0x2978627A76DB99FD7594545E124D2A15),
        (bytes(range(15)), "c17e5505b2bd526c2921cdec1e7e0109", 0x09017E1EECCD21296C52BDB205557EC1),
    ):
        actual = siphash(TEST.hash_key, data)
        expect("SipHash", (actual.hex(), int.from_bytes(actual, "little")), (output, number))
    expect("file header", build_header().hex(), (
        "4c41524445520d0a1a0a000000000000" "0000000000000000efcdab8967452301"
        "000102030405060708090a0b0c0d0e0f" "0068e5cf8b01000000000000dfb23b6a"))
    expect("read header", File(io.BytesIO(build_header()), 64).header, TEST)
    slot = (1, 0, 0, LOG_START, 0, 0, LOG_START, TEST.crc)
    expect("slot A", build_slot(4096, *slot).hex(), (
        "01000000000000000000000000000000" "00000000000000000030000000000000"
        "00000000000000000000000000000000" "0030000000000000dfb23b6a042b7754"))
    expect("slot B", build_slot(8192, *slot)[60:], (0x44639412).to_bytes(4, "little"))
    expect("DELETE", build_record(LOG_START, TEST.crc, DELETE, b"larder").hex(), (
        "4c524543446dfb6cdfb23b6a66b4cf42" "00000000030000000600000000000000"
        "00000000000000000000000000000000" "c16066d076c74fd7803047a5108a37c6"
        "00000000000000000068e5cf8b010000" "00000000000000000000000000000000"
        "6c61726465720000"))
    h1, h2 = split_hash(siphash(TEST.hash_key, b"larder"))
    expect("index entry", (h1, h2, home_page(h1, 7)), (0xD74FC776D06660C1, 0x18C6, 5))
    expect("place", h2 << 51 | 3 << 45 | LOG_START // 8, 0xC630600000000600)


def test_index() -> None:
    """A PUT that an index holds, then a PUT behind it; with and without its index entry."""
    first = build_record(LOG_START, TEST.crc, PUT, b"larder", body=b"bread")
    covers = LOG_START + len(first)
    h1, h2 = split_hash(siphash(TEST.hash_key, b"larder"))
    for entry_count, agrees in ((1, True), (0, False)):
        counts = (covers, chain_of(first), 0, LOG_START, len(first), entry_count, 0, 0, 0)
        summary = struct.pack("<HHII", 0, SUMMARY, 4, 1) + INDEX_SUMMARY.pack(*counts)
        page = struct.pack("<HHIIQQ", entry_count, 0, 4, 0, h1, h2 << 51 | LOG_START // 8)
        padded = bytes(16384 - covers - RECORD.size)
        padded += sealed_page(16384, summary) + sealed_page(16384 + PAGE, page)
        index = build_record(covers, chain_of(first), INDEX, body=padded)
        end = 16384 + 2 * PAGE
        last = build_record(end, chain_of(index), PUT, b"shelf", body=b"jam")
        slot = build_slot(4096, 1, 16384, 2 * PAGE, covers, 0, 0, end, chain_of(first))
        text, agreed = read_bytes(build_file(slot, first + index + last))
        expect("index", (len(json.loads(text)["entries"]), agreed), (2, agrees))


def test_frames() -> None:
    """What [K15] takes for a frame, and what it does not."""
    start, raw, rle = FRAME_MAGIC, bytes([0x19, 0, 0]) + b"abc", bytes([0x53, 0, 0]) + b"z"  # last blocks
    for what, frame, length in (
        ("raw block", start + b"\x20\x03" + raw, 3),
        ("run of ten", start + b"\x20\x0a" + rle, 10),
        ("two blocks", start + b"\x20\x0d" + bytes([0x18, 0, 0]) + b"abc" + rle, 13),
        ("checksum", start + b"\x24\x03" + raw + bytes(4), 3),
        ("window, 2 bytes", start + b"\x40\x50" + (300 - 256).to_bytes(2, "little") + rle, 300),
        ("large window", start + b"\x40\x58" + bytes(2) + rle, None),
        ("no length", start + b"\x00\x50" + rle, None),
        ("dictionary", start + b"\x21\x01\x03" + raw, None),
        ("cut", start + b"\x20\x03" + raw[:-1], None),
        ("more behind it", start + b"\x20\x03" + raw + b"x", None),
        ("reserved block", start + b"\x20\x03" + bytes([0x1F, 0, 0]) + b"abc", None),
        ("no frame", b"abcdefgh", None),
    ):
        expect(what, content_len(frame), length)


def sealed_page(offset: int, content: bytes) -> bytes:
    content = content.ljust(PAGE - 4, b"\0")
    return struct.pack("<I", crc_bound(TEST, offset, content)) + content


def test_hostile() -> None:
    """Every truncation and every flipped bit ends in a refusal or in entries that were stored."""
    first = build_record(LOG_START, TEST.crc, PUT, b"larder", b"head", b"bread and butter")
    second = build_record(LOG_START + len(first), chain_of(first), ALIAS, b"pantry", body=b"larder")
    slot = build_slot(4096, 1, 0, 0, LOG_START, 0, 0, LOG_START + len(first), TEST.crc)
    whole = build_file(slot, first + second)
    stored = json.loads(read_bytes(whole)[0])
    expect("whole file", (stored["state"], len(stored["entries"])), ("clean", 2))
    for length in range(len(whole)):
        check_hostile(f"cut at {length}", whole[:length], stored["entries"])
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        check_hostile(f"bit {bit}", bytes(flipped), stored["entries"])


def check_hostile(what: str, data: bytes, stored: List[Dict[str, Any]]) -> None:
    try:
        found = json.loads(read_bytes(data)[0])
    except Refused as refusal:
        header_lost = data[:64] != build_header()
        expect(what, header_lost and refusal.name in ("NotALarder", "Damaged"), True)
        return
    dangling = {**stored[1], "resolves_to": None}  # the alias, where its target is lost
    expect(what, [entry for entry in found["entries"] if entry not in stored + [dangling]], [])


def read_bytes(data: bytes) -> Tuple[str, bool]:
    return read_all(File(io.BytesIO(data), len(data)))


def build_file(slot_a: bytes, log: bytes) -> bytes:
    """Section 5, with header copies [S8] and an empty slot B."""
    copy = bytes(2048 - 64) + build_header() + bytes(2048 - 64)
    return build_header() + bytes(PAGE - 64) + slot_a + copy + bytes(64) + copy + log


def build_header() -> bytes:
    fields = (FILE_MAGIC, 0, 0, 0, 0, TEST.file_id, TEST.hash_key, TEST.created_ms, 0, 0)
    raw = FILE_HEADER.pack(*fields)
    return raw[:60] + struct.pack("<I", zlib.crc32(raw[:60]))


def build_slot(offset: int, *fields: int) -> bytes:
    raw = SLOT.pack(*fields, 0)[:60]
    return raw + struct.pack("<I", crc_bound(TEST, offset, raw))


def build_record(
    offset: int, chain: int, kind: int, key: bytes = b"", head: bytes = b"", body: bytes = b""
) -> bytes:
    head_crc, body_crc = zlib.crc32(key + head), 0 if kind == INDEX else zlib.crc32(body)
    key_hash = siphash(TEST.hash_key, key) if key else bytes(16)
    incarnation, raw_len = (offset, len(body)) if kind == PUT else (0, 0)
    fields = RECORD.pack(
        RECORD_MAGIC, 0, chain, head_crc, body_crc, kind, 0, 0, 0, len(key), len(head), 0, 0,
        len(body), key_hash, incarnation, TEST.created_ms, 0, raw_len)
    header_crc = struct.pack("<I", crc_bound(TEST, offset, fields[8:]))
    raw = RECORD_MAGIC + header_crc + fields[8:] + key + head + body
    return raw.ljust(align8(len(raw)), b"\0")


def chain_of(record: bytes) -> int:
    return int.from_bytes(record[4:8], "little")


# ---- The command --------------------------------------------------------------------------------


def print_file(path: str) -> int:
    file = open_file(path)
    walk = walk_log(file, LOG_START, file.header.crc)
    with tempfile.SpooledTemporaryFile(max_size=PIECE) as text:  # a refusal prints nothing [J1]
        for part in render(file, walk):
            text.write(part.encode())
        agrees = index_agrees(file, walk)
        text.seek(0)
        shutil.copyfileobj(text, sys.stdout.buffer)
    if not agrees:
        print("Damaged: index disagrees", file=sys.stderr)
    return 0 if agrees else 3


def main(arguments: List[str]) -> int:
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) == 2 and arguments[0] == "--check":
        return check(Path(arguments[1]))
    if len(arguments) != 1 or arguments[0].startswith("--"):
        print(__doc__, file=sys.stderr)
        return 64
    try:
        return print_file(arguments[0])
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
