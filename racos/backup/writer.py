"""Writes a bbolt database as a stream: sorted entries in, pages out in the order of the file.

A tree is built from below: a leaf goes out when it is full, a branch when its children are out, so
what is held is one open page per level. Only the metas come before what they name. Therefore the
same entries are fed twice: first their lengths, to a `Layout` that counts pages; then whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from racos.backup.pages import (
    BUCKET_HEAD,
    ELEMENT_BYTES,
    LEAF,
    PAGE_BYTES,
    PAGE_HEAD,
    PAGE_HEAD_BYTES,
    Entry,
    Meta,
    pack_branch,
    pack_empty_freelist,
    pack_leaf,
    pack_meta,
)

__all__ = ["Layout", "Size", "Writer"]

_FREELIST_PAGE = 2
_FIRST_FREE_PAGE = 3
_COUNT_MAX = 0xFFFF  # elements of a page
_EMPTY_INLINE = PAGE_HEAD.pack(0, LEAF, 0, 0)


class Size(NamedTuple):
    """What the metas must say before the rest is known."""

    root: int  # page of the tree of buckets
    pages: int

    @property
    def bytes(self) -> int:
        """Of the whole file, without a trailer."""
        return self.pages * PAGE_BYTES


class _Branch:
    """An open branch: children that are out, and how many bytes they take here."""

    __slots__ = ("children", "size")

    def __init__(self) -> None:
        self.children: list[tuple[bytes, int]] = []
        self.size = PAGE_HEAD_BYTES


class Layout:
    """Where everything will be. Buckets come in the order of their names, entries in key order.

    `begin_bucket`, `add` for each entry, and again; then `finish`.
    """

    def __init__(self) -> None:
        self._next = _FIRST_FREE_PAGE
        self._bucket: bytes | None = None
        self._buckets: list[Entry] = []
        self._leaf: list[Entry] = []
        self._leaf_first = b""
        self._leaf_count = 0
        self._leaf_size = PAGE_HEAD_BYTES
        self._branches: list[_Branch] = []  # by level, the lowest in front
        self._last_key = b""

    def begin_bucket(self, name: bytes) -> None:
        """End the bucket before, if there is one, and begin this one."""
        self._end_bucket()
        assert not self._buckets or self._buckets[-1].key < name, "buckets come in order"
        self._bucket = name
        self._last_key = b""

    def add_length(self, key: bytes, value_bytes: int) -> None:
        """An entry whose value has this length."""
        self._place(key, value_bytes, None)

    def finish(self) -> Size:
        """End the last bucket, and the file."""
        self._end_bucket()
        buckets, self._buckets = self._buckets, []
        for key, value, _ in buckets:
            self._place(key, len(value), Entry(key, value, True))
        root = self._close_tree()
        return Size(root, self._next)

    def _place(self, key: bytes, value_bytes: int, entry: Entry | None) -> None:
        assert key > self._last_key, "keys come in order, and are not empty"
        self._last_key = key
        size = ELEMENT_BYTES + len(key) + value_bytes
        if self._leaf_count and (
            self._leaf_size + size > PAGE_BYTES or self._leaf_count == _COUNT_MAX
        ):
            self._close_leaf()
        if not self._leaf_count:
            self._leaf_first = key
        self._leaf_count += 1
        self._leaf_size += size
        if entry is not None:
            self._leaf.append(entry)

    def _end_bucket(self) -> None:
        if self._bucket is None:
            return
        if self._leaf_count or self._branches:
            value = BUCKET_HEAD.pack(self._close_tree(), 0)
        else:
            value = BUCKET_HEAD.pack(0, 0) + _EMPTY_INLINE
        self._buckets.append(Entry(self._bucket, value, True))
        self._bucket = None
        self._last_key = b""

    def _close_leaf(self) -> None:
        page, overflow = self._take(self._leaf_size)
        self._write_leaf(page, overflow)
        first = self._leaf_first
        self._leaf = []
        self._leaf_count = 0
        self._leaf_size = PAGE_HEAD_BYTES
        self._add_child(0, first, page)

    def _add_child(self, level: int, first: bytes, page: int) -> None:
        if level == len(self._branches):
            self._branches.append(_Branch())
        branch = self._branches[level]
        size = ELEMENT_BYTES + len(first)
        if branch.children and branch.size + size > PAGE_BYTES:
            self._close_branch(level)
            branch = self._branches[level]
        branch.children.append((first, page))
        branch.size += size

    def _close_branch(self, level: int) -> None:
        branch = self._branches[level]
        self._branches[level] = _Branch()
        page, overflow = self._take(branch.size)
        self._write_branch(page, overflow, branch.children)
        self._add_child(level + 1, branch.children[0][0], page)

    def _close_tree(self) -> int:
        """Close every open page of the tree; returns the root's."""
        if self._leaf_count:
            self._close_leaf()
        level = 0
        while level + 1 < len(self._branches) or len(self._branches[level].children) > 1:
            if self._branches[level].children:
                self._close_branch(level)
            level += 1
        root = self._branches[level].children[0][1]
        self._branches = []
        return root

    def _take(self, size: int) -> tuple[int, int]:
        """The next page for that many bytes, and how many more pages it needs."""
        page = self._next
        overflow = (size - 1) // PAGE_BYTES
        self._next += 1 + overflow
        return page, overflow

    def _write_leaf(self, page: int, overflow: int) -> None:
        """A layout writes nothing."""

    def _write_branch(self, page: int, overflow: int, children: list[tuple[bytes, int]]) -> None:
        """A layout writes nothing."""


class Writer(Layout):
    """Makes the pages. `take` what has gathered after each few entries; `size` is the layout's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self._size = size
        self._pieces: list[bytes] = []
        self.waiting_bytes = 0
        for page, transaction in ((0, 2), (1, 1)):  # page 0 counts: its number is the higher one
            meta = Meta(PAGE_BYTES, size.root, _FREELIST_PAGE, size.pages, transaction)
            self._write(pack_meta(page, meta), 0)
        self._write(pack_empty_freelist(_FREELIST_PAGE), 0)

    def add(self, key: bytes, value: bytes) -> None:
        """The next entry of the bucket."""
        self._place(key, len(value), Entry(key, value))

    def take(self) -> Iterator[bytes]:
        """The bytes that are ready, in order."""
        pieces, self._pieces = self._pieces, []
        self.waiting_bytes = 0
        return iter(pieces)

    def finish(self) -> Size:
        """As Layout's; the entries must have been those of the layout."""
        done = super().finish()
        assert done == self._size, "other entries than the layout's"
        return done

    def _write_leaf(self, page: int, overflow: int) -> None:
        self._write(pack_leaf(page, overflow, self._leaf), overflow)

    def _write_branch(self, page: int, overflow: int, children: list[tuple[bytes, int]]) -> None:
        self._write(pack_branch(page, overflow, children), overflow)

    def _write(self, data: bytes, overflow: int) -> None:
        full = (1 + overflow) * PAGE_BYTES
        assert len(data) <= full
        self._pieces.append(data.ljust(full, b"\0"))
        self.waiting_bytes += full
