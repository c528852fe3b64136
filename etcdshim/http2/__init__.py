"""An HTTP/2 server for gRPC and ASGI, and HTTP/1.1 beside it on the same port."""
