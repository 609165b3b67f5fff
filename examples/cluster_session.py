"""Creates, uses, saves, suspends and resumes a session of a cluster, with the asyncio API.

Run it with `python examples/cluster_session.py [NAMESPACE]`. The kubeconfig's cluster must have the operator installed.
"""

import asyncio
import sys

from sandbox_client import AsyncCluster, AsyncSandbox, SessionFailed


async def main(namespace: str | None) -> None:
    # `create` waits up to `timeout` seconds until the session is Ready, then connects. Inside the cluster it connects
    # directly, elsewhere through a port-forward.
    try:
        sandbox = await AsyncSandbox.create("example", namespace=namespace, timeout=180, on_phase=print)
    except SessionFailed as error:
        # The message has the session's conditions, such as an image that cannot be pulled.
        sys.exit(f"the session did not start: {error}")

    async with sandbox:
        async for event in sandbox.execute("for n in range(3): print(n)\n'done'"):
            print(event)
        await sandbox.files.write("notes.txt", "kept")
        report = await sandbox.workspace.push(
            on_progress=lambda at: print(at.files_done, "of", at.files_total, "files")
        )
        print("saved as generation", report.generation)

    async with await AsyncCluster.open(namespace) as cluster:
        print((await cluster.suspend("example")).phase)
        print((await cluster.resume("example", on_phase=print)).phase)
        # The files are back, the variables are lost.
        async with await AsyncSandbox.connect("example", namespace=namespace) as sandbox:
            print(await sandbox.files.read_text("notes.txt"))
        await cluster.delete("example")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
