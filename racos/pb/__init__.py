"""Generated protobuf stubs of Racos's own messages (see proto/racos)."""
