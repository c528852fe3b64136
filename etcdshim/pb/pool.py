"""The descriptor pool of this project's own stubs.

Other etcd clients bring stubs with the same full message names. In one common pool the second import
would fail; with a pool of our own both live in one process.
"""

from google.protobuf.descriptor_pool import DescriptorPool

_POOL = DescriptorPool()


def Default() -> DescriptorPool:
    """The private pool, under the name the generated code calls."""
    return _POOL
