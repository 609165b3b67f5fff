"""Uses a local session: variables, streamed output, a picture, files, and a workspace that outlives the session.

Run it with `python examples/local_session.py`. It needs no cluster. It writes to the folder `.demo/example-store`.
"""

from pathlib import Path

from sandbox_client import InvalidArgument, NotFound, Sandbox

STORE = Path(".demo/example-store")

PLOT = """
import matplotlib.pyplot as plt
plt.plot([n ** 2 for n in range(20)])
plt.savefig("squares.png")
"""


def main() -> None:
    with Sandbox.local(store=STORE, env={"GREETING": "hello"}) as sandbox:
        # Variables persist from call to call, even after an exception.
        sandbox.run_code("total = sum(range(101))")
        print("value of the last expression:", sandbox.run_code("total").text)

        # An exception in the code is a result. `duration` is in seconds.
        failed = sandbox.run_code("1 / 0")
        print("failed with", failed.error.name if failed.error else None, "after", round(failed.duration, 3), "s")

        # Output arrives while the code runs. `timeout` is in seconds. If it is exceeded, `status` says so.
        sandbox.run_code("for n in range(3): print('step', n)", timeout=10, on_stdout=lambda text: print(text, end=""))

        # JavaScript and TypeScript share the files with Python, but not the variables.
        print(sandbox.run_code("const xs: number[] = [1, 2, 3]; xs.length", "typescript").text)

        # A string runs in a shell, a list runs without one. A non-zero exit code is a result.
        print(sandbox.run("echo $GREETING from $(pwd | xargs basename)").stdout, end="")

        sandbox.files.write("input/data.csv", "day,value\n1,3\n2,5\n")
        print([entry.path for entry in sandbox.files.list(depth=2)])
        sandbox.run_code(PLOT)

        # Errors of a call name the wrong field.
        try:
            sandbox.files.read("../etc/passwd")
        except InvalidArgument as error:
            print("refused:", error.field)
        try:
            sandbox.files.read("missing.txt")
        except NotFound as error:
            print("not found:", error.reason)

        report = sandbox.workspace.push()
        print(report.files_saved, "files are saved in generation", report.generation)

    # Another session on the same store has the files, but no variables.
    with Sandbox.local(store=STORE) as sandbox:
        print("still there:", sandbox.files.exists("squares.png"), sandbox.run_code("'total' in globals()").text)


if __name__ == "__main__":
    main()
