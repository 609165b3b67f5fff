# %% await
import asyncio

await asyncio.sleep(0)
# %% await with a value
async def one():
    return 1

await one()
# %% coroutine not awaited
c = one()
c
# %% close it
c.close()
# %% await in an expression
[await one(), await one() + 1]
# %% gather
await asyncio.gather(one(), one())
# %% gather with sleeps
async def after(n):
    await asyncio.sleep(n / 100)
    print(n)
    return n

await asyncio.gather(after(3), after(1), after(2))
# %% task
t = asyncio.create_task(one())
await t
# %% task object
t.done(), t.result()
# %% task in one cell
task = asyncio.create_task(after(1))
# %% awaited in the next
await task
# %% task over cells
async def background():
    for n in range(3):
        await asyncio.sleep(0.01)
        ticks.append(n)

ticks = []
bg = asyncio.create_task(background())
# %% it runs
await bg
ticks
# %% error in a coroutine
async def bad():
    raise ValueError("async bad")

await bad()
# %% error in a task
t = asyncio.create_task(bad())
try:
    await t
except ValueError as e:
    print("caught", e)
# %% gather with exceptions
await asyncio.gather(one(), bad(), return_exceptions=True)
# %% timeout
await asyncio.wait_for(asyncio.sleep(5), 0.02)
# %% timeout as a context
async with asyncio.timeout(0.02):
    await asyncio.sleep(5)
# %% async for
async def agen():
    for n in range(3):
        yield n

async for x in agen():
    print(x)
# %% async comprehension
[x async for x in agen()], {x async for x in agen() if x}
# %% async with
class A:
    async def __aenter__(self):
        print("enter")
        return 5

    async def __aexit__(self, *a):
        print("exit")

async with A() as v:
    print(v)
# %% async generator object
agen()
# %% queue
q = asyncio.Queue()

async def producer():
    for n in range(3):
        await q.put(n)

async def consumer():
    return [await q.get() for _ in range(3)]

await asyncio.gather(producer(), consumer())
# %% semaphore and lock
async def limited(sem, n):
    async with sem:
        return n

sem = asyncio.Semaphore(2)
await asyncio.gather(*(limited(sem, n) for n in range(4)))
# %% event
e = asyncio.Event()

async def waiter():
    await e.wait()
    return "set"

w = asyncio.create_task(waiter())
e.set()
await w
# %% task group
async with asyncio.TaskGroup() as tg:
    t1, t2 = tg.create_task(one()), tg.create_task(after(1))
t1.result(), t2.result()
# %% task group with an error
async with asyncio.TaskGroup() as tg:
    tg.create_task(bad())
# %% as completed
for f in asyncio.as_completed([after(2), after(1)]):
    print("done", await f)
# %% wait
done, pending = await asyncio.wait(
    [asyncio.create_task(one()), asyncio.create_task(asyncio.sleep(9))], return_when="FIRST_COMPLETED"
)
len(done), len(pending)
# %% cancel
p = pending.pop()
p.cancel()
try:
    await p
except asyncio.CancelledError:
    print("cancelled")
# %% to thread
await asyncio.to_thread(sum, [1, 2])
# %% executor
await asyncio.get_running_loop().run_in_executor(None, lambda: "executor")
# %% loop
asyncio.get_event_loop().is_running()
# %% running loop
asyncio.get_running_loop() is asyncio.get_event_loop()
# %% call later
got = []
asyncio.get_running_loop().call_later(0.01, got.append, 1)
await asyncio.sleep(0.05)
got
# %% call soon
asyncio.get_running_loop().call_soon(print, "soon")
await asyncio.sleep(0)
# %% subprocess
p = await asyncio.create_subprocess_exec("echo", "async child", stdout=asyncio.subprocess.PIPE)
(await p.communicate())[0]
# %% await in a function at the top
async def inner():
    return await one() + 1

await inner()
# %% await in if
if await one():
    print("yes")
# %% await in for
for n in [one(), one()]:
    print(await n)
# %% await in with
import contextlib

with contextlib.suppress(ValueError):
    await bad()
# %% await in a lambda is an error
(lambda: await one())()
# %% nested function without async
def no():
    return await one()
# %% future
f = asyncio.get_running_loop().create_future()
f.set_result(3)
await f
# %% print order
print("a")
await asyncio.sleep(0.01)
print("b")
"c"
# %% context variable in a task
import contextvars

v = contextvars.ContextVar("v", default=0)

async def setter():
    v.set(1)
    return v.get()

await asyncio.create_task(setter()), v.get()
# %% streams
async def handle(r, w):
    w.write((await r.readline()).upper())
    await w.drain()
    w.close()

server = await asyncio.start_unix_server(handle, "s.sock")
r, w = await asyncio.open_unix_connection("s.sock")
w.write(b"hello\n")
reply = await r.readline()
w.close()
server.close()
reply
# %% iscoroutine
asyncio.iscoroutinefunction(one), asyncio.iscoroutine(5)
# %% current task
asyncio.current_task() is not None
# %% shield
await asyncio.shield(one())
# %% asyncio run in a thread
import threading

out = []

def run():
    out.append(asyncio.run(one()))

t = threading.Thread(target=run)
t.start()
t.join()
out
