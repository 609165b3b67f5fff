"""A client that speaks the Model Context Protocol on stdio without a library, so that it fits each version of a server.

    python tests/agents/raw_client.py COMMAND [ARGUMENT ...]

starts a server and checks it.
"""

import asyncio
import contextlib
import json
import sys
import time

TOOLS = 7
SOON = 20.0


class RawClient:
    """One server, and the messages that it sent unasked."""

    def __init__(self, process):
        self._process = process
        self._number = 0
        self.others = []

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, *command, **options):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26, **options)
        try:
            client = cls(process)
            client.greeting = await client.request(
                "initialize",
                protocolVersion="2025-06-18",
                capabilities={},
                clientInfo={"name": "raw", "version": "1"},
            )
            await client.send(method="notifications/initialized")
            yield client
        finally:
            process.stdin.close()
            try:
                async with asyncio.timeout(SOON):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
                raise
        if process.returncode:
            raise AssertionError(f"the server ended with exit code {process.returncode}")

    async def send(self, **message):
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self._process.stdin.drain()

    async def begin(self, method, **params):
        self._number += 1
        await self.send(id=self._number, method=method, params=params)
        return self._number

    async def answer(self, number):
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == number:
                return message["result"]
            self.others.append(message)
        raise EOFError("the server ended")

    async def request(self, method, **params):
        return await self.answer(await self.begin(method, **params))

    async def call(self, name, _meta=None, **arguments):
        more = {"_meta": _meta} if _meta else {}
        return await self.request("tools/call", name=name, arguments=arguments, **more)

    async def cancel(self, number):
        await self.send(method="notifications/cancelled", params={"requestId": number, "reason": "the user said so"})


def text_of(result):
    return result["content"][0]["text"]


async def check(client):
    """Check what each version of the server must do."""
    assert "Nothing is isolated" in client.greeting["instructions"]
    tools = (await client.request("tools/list"))["tools"]
    assert len(tools) == TOOLS
    hints = {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert all(hints == set(tool["annotations"]) and tool["title"] for tool in tools), tools
    assert not (await client.call("execute_code", code="kept = 41"))["isError"]
    for language, endless, use in [
        ("python", "import time; time.sleep(300)", "print(kept + 1)"),
        ("javascript", "while (true) {}", "console.log(42)"),
    ]:
        running = await client.begin(
            "tools/call", name="execute_code", arguments={"code": endless, "language": language}
        )
        waiting = await client.begin(
            "tools/call", name="execute_code", arguments={"code": endless, "language": language}
        )
        await asyncio.sleep(1)
        begin = time.monotonic()
        await client.cancel(waiting)
        await client.cancel(running)
        assert text_of(await client.call("execute_code", code=use, language=language)) == "42\n"
        assert time.monotonic() - begin < SOON
    command = await client.begin("tools/call", name="execute_command", arguments={"command": "sleep 300"})
    await asyncio.sleep(0.5)
    await client.cancel(command)
    assert text_of(await client.call("execute_command", command="echo next")) == "next\n"
    plot = await client.call("execute_code", code="import matplotlib.pyplot as plt; plt.plot([1]); plt.show()")
    assert [block.get("mimeType") for block in plot["content"]] == [None, "image/png"]
    for name, arguments in [("execute_code", {"code": 5}), ("no_such_tool", {}), ("workspace_read", {"path": "x"})]:
        failed = await client.call(name, **arguments)
        assert failed["isError"], failed
        assert json.loads(text_of(failed))["status"] == "error"
    await client.call("execute_command", command="touch a b")
    assert not (await client.call("ci_push_to_workspace", {"progressToken": "p"}))["isError"]
    assert any(message.get("method") == "notifications/progress" for message in client.others)
    # The server must end although this runs.
    await client.begin("tools/call", name="execute_code", arguments={"code": "time.sleep(300)"})
    await asyncio.sleep(0.3)


async def main(*command):
    async with RawClient.start(*command) as client:
        await check(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.write("mcp: the server did what it must\n")
