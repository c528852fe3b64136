"""Reads a bbolt database from a file, entry by entry, holding one page per level of the tree.

A file from elsewhere is not trusted: every page's number, kind and bounds and the order of all keys
are checked on the way, so damage is an error that names the page, never a wrong entry silently, and
a tree that bites its own tail ends at the first key that comes again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType

from racos.backup.pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET_FLAG,
    BUCKET_HEAD,
    ELEMENT_BYTES,
    LEAF,
    LEAF_ELEMENT,
    PAGE_HEAD,
    PAGE_HEAD_BYTES,
    BadMeta,
    Entry,
    Meta,
    parse_meta,
)

__all__ = ["BadDatabase", "Database"]

_DEPTH_MAX = 64
_PAGE_BYTES_MAX = 1 << 20
_VALUE_BYTES_MAX = 1 << 31  # bbolt's own bound on a value


class BadDatabase(Exception):
    """The file is not a sound bbolt database; one line says what and where."""


class Database:
    """An open database, read only. Use as a context manager. Raises BadDatabase, OSError."""

    def __init__(self, path: str | os.PathLike[str], size: int | None = None) -> None:
        """`size` in bytes if the file has more behind the database, such as a trailer."""
        self._path = os.fspath(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._size = os.fstat(self._fd).st_size if size is None else size
            self._meta = self._newest_meta()
            self._roots = {entry.key: entry.value for entry in self._bucket_heads()}
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @property
    def size(self) -> int:
        """Bytes of the database: its pages, without a trailer."""
        return self._meta.pages * self._meta.page_bytes

    @property
    def buckets(self) -> Mapping[bytes, bytes]:
        """The buckets at the top, in order, each with its head."""
        return self._roots

    def entries(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket, in key order; nothing if there is no such bucket."""
        head = self._roots.get(bucket)
        if head is None:
            return
        for entry in self._bucket_entries(bucket, head):
            if entry.is_bucket:
                raise self._bad(f"bucket {bucket!r} holds another bucket")
            yield entry.key, entry.value

    def last_key(self, bucket: bytes) -> bytes | None:
        """The highest key of a bucket; None if it has none."""
        head = self._roots.get(bucket)
        if head is None:
            return None
        where = f"bucket {bucket!r}"
        number, _ = BUCKET_HEAD.unpack_from(head)
        if not number:
            entries = list(self._leaf(head[BUCKET_HEAD.size :], where))
            return entries[-1].key if entries else None
        for _ in range(_DEPTH_MAX):
            flags, data = self._page(number, f"{where}, page {number}")
            if flags == LEAF:
                entries = list(self._leaf(data, where))
                return entries[-1].key if entries else None
            number = list(self._children(data, where))[-1]
        raise self._bad(f"{where}: the tree is too deep")

    def _newest_meta(self) -> Meta:
        """The valid meta with the highest transaction; the second one is one page behind."""
        found: list[Meta] = []
        why = ""
        first = self._try_meta(0)
        if isinstance(first, Meta):
            found.append(first)
            sizes = [first.page_bytes]
        else:
            why = first
            sizes = [1024 << shift for shift in range(11)]
        for offset in sizes:
            second = self._try_meta(offset)
            if isinstance(second, Meta) and second.page_bytes == offset:
                found.append(second)
                break
        if not found:
            raise self._bad(why)
        meta = max(found, key=lambda meta: meta.transaction)
        fits = 512 <= meta.page_bytes <= _PAGE_BYTES_MAX and meta.page_bytes % 512 == 0
        if not fits or not 2 <= meta.root < meta.pages:
            raise self._bad("its meta page makes no sense")
        if meta.pages * meta.page_bytes > self._size:
            raise self._bad(
                f"cut short: {meta.pages} pages of {meta.page_bytes} bytes are more than the "
                f"{self._size} bytes there are"
            )
        return meta

    def _try_meta(self, offset: int) -> Meta | str:
        try:
            return parse_meta(os.pread(self._fd, 512, offset))
        except BadMeta as bad:
            return str(bad)

    def _bucket_heads(self) -> Iterator[Entry]:
        for entry in self._tree(self._meta.root, "the tree of buckets"):
            if not entry.is_bucket or len(entry.value) < BUCKET_HEAD.size:
                raise self._bad(f"{entry.key!r} beside the buckets is not a bucket")
            yield entry

    def _bucket_entries(self, name: bytes, head: bytes) -> Iterator[Entry]:
        root, _ = BUCKET_HEAD.unpack_from(head)
        where = f"bucket {name!r}"
        if root:
            yield from self._tree(root, where)
        else:
            yield from _in_order(self._leaf(head[BUCKET_HEAD.size :], where), self, where)

    def _tree(self, root: int, where: str) -> Iterator[Entry]:
        return _in_order(self._walk(root, where, _DEPTH_MAX), self, where)

    def _walk(self, number: int, tree: str, depth: int) -> Iterator[Entry]:
        where = f"{tree}, page {number}"
        if depth == 0:
            raise self._bad(f"{where}: the tree is too deep")
        flags, data = self._page(number, where)
        if flags == LEAF:
            yield from self._leaf(data, where)
            return
        for child in self._children(data, where):
            yield from self._walk(child, tree, depth - 1)

    def _children(self, data: bytes, where: str) -> Iterator[int]:
        """The pages below a branch, in key order."""
        _, flags, count, _ = PAGE_HEAD.unpack_from(data)
        if flags != BRANCH:
            raise self._bad(f"{where}: a page of kind 0x{flags:x} in a tree")
        if not count or PAGE_HEAD_BYTES + count * ELEMENT_BYTES > len(data):
            raise self._bad(f"{where}: {count} children do not fit")
        for index in range(count):
            _, _, child = BRANCH_ELEMENT.unpack_from(data, PAGE_HEAD_BYTES + index * ELEMENT_BYTES)
            yield child

    def _page(self, number: int, where: str) -> tuple[int, bytes]:
        """A page's kind and bytes, those it goes on in among them."""
        size = self._meta.page_bytes
        if not 2 <= number < self._meta.pages:
            raise self._bad(f"{where}: there are {self._meta.pages} pages")
        data = os.pread(self._fd, size, number * size)
        if len(data) < size:
            raise self._bad(f"{where}: the file ends before")
        named, flags, _, overflow = PAGE_HEAD.unpack_from(data)
        if named != number:
            raise self._bad(f"{where}: it says it is page {named}")
        if number + overflow >= self._meta.pages or overflow * size > _VALUE_BYTES_MAX:
            raise self._bad(f"{where}: it goes on beyond the last page")
        if overflow:
            data += os.pread(self._fd, overflow * size, (number + 1) * size)
        return flags, data

    def _leaf(self, data: bytes, where: str) -> Iterator[Entry]:
        if len(data) < PAGE_HEAD_BYTES:
            raise self._bad(f"{where}: cut short")
        _, flags, count, _ = PAGE_HEAD.unpack_from(data)
        if flags != LEAF or PAGE_HEAD_BYTES + count * ELEMENT_BYTES > len(data):
            raise self._bad(f"{where}: not a sound leaf")
        for index in range(count):
            at = PAGE_HEAD_BYTES + index * ELEMENT_BYTES
            kind, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(data, at)
            start = at + position
            middle, end = start + key_bytes, start + key_bytes + value_bytes
            if end > len(data) or not key_bytes:
                raise self._bad(f"{where}: entry {index} does not fit")
            yield Entry(data[start:middle], data[middle:end], bool(kind & BUCKET_FLAG))

    def _bad(self, reason: str) -> BadDatabase:
        return BadDatabase(f"{self._path}: damaged database file: {reason}")


def _in_order(entries: Iterator[Entry], database: Database, where: str) -> Iterator[Entry]:
    last = b""
    for entry in entries:
        if entry.key <= last:
            raise database._bad(f"{where}: its keys are not in order")
        last = entry.key
        yield entry
