"""Generated protobuf stubs of etcd's public API (see proto/etcd)."""
