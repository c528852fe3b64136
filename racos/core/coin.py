"""The common coin: one unpredictable bit per slot and phase, equal at every replica.

A keyed hash, not a stored generator: no state to lose, nothing to diverge (Rabia's published code
reseeds one generator with a constant, which any scheduler can predict).
"""

from __future__ import annotations

from hashlib import blake2b


def coin(secret: bytes, position: int, phase: int) -> int:
    """0 or 1 for this slot position and phase; `secret` (at most 64 bytes) is the cluster's."""
    message = position.to_bytes(16, "big") + phase.to_bytes(8, "big")
    return blake2b(message, key=secret[:64], digest_size=1).digest()[0] & 1
