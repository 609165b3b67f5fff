# %%
import asyncio
import time
# %%
async def fetch(n, delay):
    print(f"start {n}")
    await asyncio.sleep(delay)
    print(f"end {n}")
    return n * 10
# %%
fetch
# %%
await fetch(1, 0.01)
# %%
results = await asyncio.gather(*(fetch(n, 0.02 * n) for n in range(3)))
results
# %%
start = time.perf_counter()
await asyncio.gather(*(asyncio.sleep(0.1) for _ in range(5)))
time.perf_counter() - start < 0.4
# %%
async def countdown(n):
    while n:
        yield n
        n -= 1
        await asyncio.sleep(0)
# %%
async for n in countdown(3):
    print(n)
# %%
[n async for n in countdown(4) if n % 2]
# %%
class Timer:
    async def __aenter__(self):
        self.t = time.perf_counter(); return self
    async def __aexit__(self, *exc):
        print("took a while" if time.perf_counter() - self.t > 5 else "quick")
async with Timer():
    await asyncio.sleep(0.01)
# %%
queue = asyncio.Queue(maxsize=2)
async def produce():
    for n in range(4):
        await queue.put(n)
    await queue.put(None)
async def consume():
    got = []
    while (item := await queue.get()) is not None:
        got.append(item)
    return got
_, got = await asyncio.gather(produce(), consume())
got
# %%
try:
    await asyncio.wait_for(asyncio.sleep(1), timeout=0.01)
except asyncio.TimeoutError:
    print("timed out")
# %%
await asyncio.wait_for(fetch(9, 1), timeout=0.01)
# %%
async def fails():
    await asyncio.sleep(0)
    raise ConnectionError("no route")
await fails()
# %%
outcome = await asyncio.gather(fails(), fetch(2, 0), return_exceptions=True)
outcome
# %%
task = asyncio.create_task(fetch("later", 0.02), name="later")
task.get_name(), task.done()
# %%
await task
# %%
task.done(), task.result()
# %%
cancelled = asyncio.create_task(asyncio.sleep(10))
await asyncio.sleep(0)
cancelled.cancel()
try:
    await cancelled
except asyncio.CancelledError:
    print("was cancelled:", cancelled.cancelled())
# %%
lock = asyncio.Lock()
async def careful(n, log):
    async with lock:
        log.append(f"in {n}"); await asyncio.sleep(0); log.append(f"out {n}")
log = []
await asyncio.gather(careful(1, log), careful(2, log))
log
# %%
def blocking(): time.sleep(0.01); return "blocked"
await asyncio.to_thread(blocking)
# %%
loop = asyncio.get_running_loop()
await loop.run_in_executor(None, blocking)
# %%
async def main():
    async with asyncio.TaskGroup() as group:
        a = group.create_task(fetch("a", 0.01))
        b = group.create_task(fetch("b", 0.02))
    return a.result() + b.result()
await main()
# %%
from contextlib import asynccontextmanager
@asynccontextmanager
async def connection(name):
    print("open", name)
    try: yield name.upper()
    finally: print("close", name)
async with connection("db") as c:
    print(c)
# %%
import functools
def retry(times):
    def deco(f):
        @functools.wraps(f)
        async def wrapper(*a):
            for n in range(times):
                try: return await f(*a)
                except ValueError as e: print("try", n, e)
            raise RuntimeError("gave up")
        return wrapper
    return deco
attempts = []
@retry(3)
async def flaky():
    attempts.append(1)
    if len(attempts) < 3: raise ValueError(len(attempts))
    return "ok"
await flaky()
# %%
@retry(2)
async def never(): raise ValueError("no")
await never()
# %%
async def server():
    async def handle(reader, writer):
        data = await reader.readline()
        writer.write(data[::-1]); await writer.drain(); writer.close()
    return await asyncio.start_unix_server(handle, "echo.sock")
srv = await server()
r, w = await asyncio.open_unix_connection("echo.sock")
w.write(b"olleh\n"); await w.drain()
(await r.read()).decode()
# %%
srv.close()
# %%
proc = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 3", stdout=-1, stderr=-1)
await proc.communicate(), proc.returncode
# %%
sem = asyncio.Semaphore(2); peak = current = 0
async def job():
    global peak, current
    async with sem:
        current += 1; peak = max(peak, current); await asyncio.sleep(0.005); current -= 1
await asyncio.gather(*(job() for _ in range(6))); peak
