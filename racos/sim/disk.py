"""The simulated disk: the memory disk, with power that can fail in the middle of a write.

Added to `MemDisk` (which loses, tears and reorders what was not synced): death at any step of a
batch, and a killed process whose file cache survives it. A record of what was read back after a
failed sync stays in the cache and is lost at the next power cut, as on Linux. And rot: bits of
synced bytes that flip by themselves.
"""

from __future__ import annotations

from racos.storage.memdisk import MemDisk


class Died(Exception):
    """The process ended, or the power did, before this step was done."""


class SimDisk(MemDisk):
    """`steps_left`: changes and syncs that still happen before the node's death; None: no death."""

    steps_left: int | None = None

    def check_failure(self) -> None:
        if self.steps_left is not None:
            if self.steps_left <= 0:
                raise Died
            self.steps_left -= 1
        super().check_failure()

    def flip(self, name: str, offset: int, bits: int) -> bool:
        """Rot: these bits of one synced byte change; False if no synced byte is there."""
        inode = self._visible.get(name)
        if inode is None or offset >= len(inode.durable):
            return False
        inode.durable[offset] ^= bits
        inode.visible[offset] ^= bits
        return True

    def power_off(self) -> None:
        """Everything not synced is lost, or kept, sector by sector."""
        self.steps_left = None
        self.crash()

    def process_died(self) -> None:
        """What was written stays readable; open handles are dead."""
        self.steps_left = None
        self.fail_after(None, None)
        self.generation += 1
