"""Fixtures of the shim's transport tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from etcdshim.asgi import GrpcApp
from tests.etcdshim.asgi_support import Client, Service, make_app, running


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def app(service: Service) -> GrpcApp:
    return make_app(service)


@pytest.fixture(params=["own", "hypercorn"])
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def address(server: str, app: GrpcApp) -> AsyncIterator[str]:
    """Where the service runs, on each server in turn."""
    async with running(server, app) as bound:
        yield bound


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    client = Client(address)
    yield client
    await client.channel.close(None)
