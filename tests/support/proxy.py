"""A TCP proxy that delays, cuts and drops what goes through it."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_CHUNK_SIZE = 65536


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes bytes on to ``target``; use it in ``with``.

    Attributes:
        delay_s: How long each piece of an answer is held back.
        answer_size_max: After how many bytes of answers a connection is cut; None: never.
        cut: How many connections were cut.
    """

    def __init__(self, target: str) -> None:
        self.delay_s = 0.0
        self.answer_size_max: int | None = None
        self.cut = 0
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Return ``host:port`` to connect to."""
        assert self._server is not None, "the proxy was not started"
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(*self._target)
                asking = asyncio.create_task(self._pass(reader, back))
                answering = asyncio.create_task(self._answer(there, writer))
                try:
                    await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    asking.cancel()
                    answering.cancel()
                    await asyncio.gather(asking, answering, return_exceptions=True)
                    back.close()
        finally:  # cancelled while it connects, too
            writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_SIZE):
            writer.write(data)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(_CHUNK_SIZE):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.answer_size_max is not None and passed + len(data) > self.answer_size_max:
                writer.write(data[: self.answer_size_max - passed])
                self.cut += 1
                return
            writer.write(data)
            await writer.drain()
            passed += len(data)
