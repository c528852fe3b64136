"""Fetches the bytes of coded values that a response needs, in one call to the backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from etcdshim.backend import Backend
from racos.mvcc.command import CodedValue

NOTHING: Mapping[CodedValue, bytes] = MappingProxyType({})


async def load(backend: Backend, wanted: Iterable[CodedValue]) -> Mapping[CodedValue, bytes]:
    """The bytes of all `wanted` values; does not suspend when they are all in memory.

    Raises what `Backend.load` raises.
    """
    loaded: dict[CodedValue, bytes] = {}
    missing: list[CodedValue] = []
    for value in dict.fromkeys(wanted):
        data = backend.cached(value)
        if data is None:
            missing.append(value)
        else:
            loaded[value] = data
    if missing:
        loaded.update(zip(missing, await backend.load(missing), strict=True))
    return loaded
