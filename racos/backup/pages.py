"""The bytes of a bbolt database's pages, which is what etcd's backup files are made of. No I/O.

A file is pages of one size. Pages 0 and 1 are metas, of which the newer valid one names the root;
trees are pages of branches and leaves; a page too small for what it holds goes on in the pages
behind it (`overflow`). Integers are little-endian. A leaf's or branch's elements stand behind the
page's header, keys and values behind them, each element saying how far from itself its key begins.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "BRANCH",
    "BRANCH_ELEMENT",
    "BUCKET_FLAG",
    "BUCKET_HEAD",
    "ELEMENT_BYTES",
    "FREELIST",
    "LEAF",
    "LEAF_ELEMENT",
    "META",
    "PAGE_BYTES",
    "PAGE_HEAD",
    "PAGE_HEAD_BYTES",
    "BadMeta",
    "Entry",
    "Meta",
    "pack_branch",
    "pack_empty_freelist",
    "pack_leaf",
    "pack_meta",
    "parse_meta",
]

PAGE_BYTES = 4096  # of the files written here; files read here may have others
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET_FLAG = 0x01  # of a leaf's element: its value is a bucket's head

PAGE_HEAD = struct.Struct("<QHHI")  # id, flags, count, overflow
PAGE_HEAD_BYTES = PAGE_HEAD.size
LEAF_ELEMENT = struct.Struct("<IIII")  # flags, position, key length, value length
BRANCH_ELEMENT = struct.Struct("<IIQ")  # position, key length, page
ELEMENT_BYTES = 16  # of either
BUCKET_HEAD = struct.Struct("<QQ")  # root page (0: the bucket follows inline), sequence

_META = struct.Struct("<IIIIQQQQQ")  # the fields of Meta between magic, version and flags
_CHECKSUM = struct.Struct("<Q")
_MAGIC = 0xED0CDAED
_VERSION = 2


class Meta(NamedTuple):
    """What a meta page says."""

    page_bytes: int
    root: int  # page of the tree of buckets
    freelist: int
    pages: int  # how many the database has: all ids are below
    transaction: int  # the meta with the higher one counts


class Entry(NamedTuple):
    """One element of a leaf."""

    key: bytes
    value: bytes
    is_bucket: bool = False


class BadMeta(Exception):
    """These bytes are no valid meta page; the text says why."""


def pack_meta(page: int, meta: Meta) -> bytes:
    """A whole meta page."""
    body = _META.pack(
        _MAGIC,
        _VERSION,
        meta.page_bytes,
        0,
        meta.root,
        0,
        meta.freelist,
        meta.pages,
        meta.transaction,
    )
    data = PAGE_HEAD.pack(page, META, 0, 0) + body + _CHECKSUM.pack(_fnv64a(body))
    return data.ljust(meta.page_bytes, b"\0")


def parse_meta(data: bytes) -> Meta:
    """The meta in a page's first bytes. Raises BadMeta."""
    end = PAGE_HEAD_BYTES + _META.size
    if len(data) < end + _CHECKSUM.size:
        raise BadMeta("file size too small")
    body = data[PAGE_HEAD_BYTES:end]
    magic, version, page_bytes, _, root, _, freelist, pages, transaction = _META.unpack(body)
    if magic != _MAGIC:
        raise BadMeta("invalid database")
    if version != _VERSION:
        raise BadMeta("version mismatch")
    if _CHECKSUM.unpack_from(data, end)[0] != _fnv64a(body):
        raise BadMeta("checksum error")
    return Meta(page_bytes, root, freelist, pages, transaction)


def pack_empty_freelist(page: int) -> bytes:
    """A freelist that names no page."""
    return PAGE_HEAD.pack(page, FREELIST, 0, 0).ljust(PAGE_BYTES, b"\0")


def pack_leaf(page: int, overflow: int, entries: Sequence[Entry]) -> bytes:
    """A leaf, not padded to its full size."""
    elements = []
    data: list[bytes] = []
    position = ELEMENT_BYTES * len(entries)
    for key, value, is_bucket in entries:
        flags = BUCKET_FLAG if is_bucket else 0
        elements.append(LEAF_ELEMENT.pack(flags, position, len(key), len(value)))
        data += (key, value)
        position += len(key) + len(value) - ELEMENT_BYTES
    return b"".join((PAGE_HEAD.pack(page, LEAF, len(entries), overflow), *elements, *data))


def pack_branch(page: int, overflow: int, children: Sequence[tuple[bytes, int]]) -> bytes:
    """A branch over (first key, page) of each child, not padded to its full size."""
    elements = []
    position = ELEMENT_BYTES * len(children)
    for key, child in children:
        elements.append(BRANCH_ELEMENT.pack(position, len(key), child))
        position += len(key) - ELEMENT_BYTES
    head = PAGE_HEAD.pack(page, BRANCH, len(children), overflow)
    return b"".join((head, *elements, *(key for key, _ in children)))


def _fnv64a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
