"""etcd v3 API over any backend: gRPC over ASGI, one module per service."""
