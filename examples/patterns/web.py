"""Fetch JSON over HTTP and turn it into a table. The server runs on this machine, for the example."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from examples.patterns import require
from sandbox_client.tools import SandboxTools, local_sessions

CITIES = [{"city": "Oslo", "people": 717}, {"city": "Rome", "people": 2748}, {"city": "Bonn", "people": 322}]

FETCH = """
import pandas as pd
import requests

session = requests.Session()
session.trust_env = False  # no proxy: the server is on this machine
answer = session.get({url!r}, timeout=10)
answer.raise_for_status()
cities = pd.DataFrame(answer.json())
print(cities.sort_values('people', ascending=False).to_string(index=False))
int(cities['people'].sum())
"""


class _Cities(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(CITIES).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Run a server during the block and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Cities) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/cities"
        server.shutdown()
        thread.join()


async def run(tools: SandboxTools) -> str:
    """Return the table and its total."""
    with serve() as url:
        return (await tools.execute_code(FETCH.format(url=url))).text


async def main() -> None:
    require(requests="requests")
    async with SandboxTools(local_sessions()) as tools:
        print(await run(tools))


if __name__ == "__main__":
    asyncio.run(main())
