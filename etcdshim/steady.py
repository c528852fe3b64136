"""Long work over the whole store in steps, between which everything else goes on."""

from __future__ import annotations

import asyncio

from etcdshim.backend import Backend
from etcdshim.errors import BackendFailure, Refusal, translate
from racos.mvcc.fingerprint import Fingerprint
from racos.mvcc.view import View

KEYS_PER_STEP = 256  # about a millisecond


def view_of(backend: Backend) -> View:
    """The store as it is now. Raises GrpcError if it cannot be shown."""
    try:
        return backend.view()
    except BackendFailure as failure:
        raise translate(failure) from None


async def fingerprint(backend: Backend, revision: int) -> tuple[Fingerprint, int]:
    """The finished hash at a revision (the current one if it is not above 0), and the store's
    revision. Raises GrpcError for one that is compacted or in the future."""
    view = view_of(backend)
    try:
        wanted = revision if revision > 0 else view.revision
        if wanted < view.compact_revision:
            raise Refusal.COMPACTED.error()
        if wanted > view.revision:
            raise Refusal.FUTURE_REVISION.error()
        work = Fingerprint(view, wanted, view.compact_revision)
        while not work.step(KEYS_PER_STEP):  # noqa: ASYNC110 - there is work, not a wait
            await asyncio.sleep(0)
        return work, view.revision
    finally:
        view.close()
