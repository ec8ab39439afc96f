"""The end of a forked notebook."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from contextlib import suppress

import pytest

from d2lenv.smoke.execution import fork


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_notebook_that_keeps_talking_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "_END_S", 0.3)
    text = json.dumps({"msg_type": "stream", "content": {}}).encode()
    message = struct.pack(fork._HEAD.format, len(text)) + text

    async def wait() -> bool:
        talking = fork.Fork.__new__(fork.Fork)
        talking.ended = {}
        talking.reader = asyncio.StreamReader()

        async def talk() -> None:
            while True:
                talking.reader.feed_data(message)
                await asyncio.sleep(0.05)

        task = asyncio.create_task(talk())
        try:
            # Ten times the limit: without the mend this never ends.
            return await asyncio.wait_for(talking._wait_for_the_end(), 3)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    assert asyncio.run(wait()) is False
