"""The chain of `support` as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.payments.support import Scene, scene


@pytest.fixture
async def stage() -> AsyncIterator[Scene]:
    """A chain on which a headset can pay."""
    async with scene() as found:
        found.trust_phone()
        yield found
