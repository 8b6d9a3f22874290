"""What is known of a step that Redis did not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.redis import redis_is_installed, running_redis
from tests.support.waiting import eventually
from wsserver.core.sessions.store import StoreUnavailable, StoreUntouched
from wsserver.stores.redis import RedisLink

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)


async def test_what_was_never_sent_has_not_been_done(tmp_path: Path) -> None:
    """Whoever asks a Redis that is known to be away learns that nothing has happened; who had asked
    it when it stopped answering does not learn whether it has."""
    with running_redis(tmp_path) as redis:
        link = RedisLink.open(redis.url)
        assert await link.command("INCR", "n") == 1
        redis.freeze()
        with pytest.raises(StoreUnavailable) as asked:
            await link.command("INCR", "n")
        assert not isinstance(asked.value, StoreUntouched)
        with pytest.raises(StoreUntouched):
            await link.command("INCR", "m")
        redis.thaw()
        await eventually(lambda: link.is_up)
        assert await link.command("INCR", "m") == 1
        await link.close()
