"""Cells that show something else in a session than in a notebook, by reason. docs/results.md explains each reason."""

EXPLAINED = {
    "A session shows what a task prints in the cell that is running then, a notebook nowhere.": [
        "asynchronous: awaited in the next",
        "async_web: cell 16",
        "async_web: cell 17",
    ],
    "The loop runs in cells that await or start a task. So asyncio.run works in the others.": [
        "asynchronous: loop",
        "asynchronous: current task",
    ],
    "The error of a session has Python's own traceback, of groups too. A notebook prints that of a group on stderr.": [
        "asynchronous: task group with an error",
        "errors: group",
        "errors: except star",
    ],
    "Tracebacks that IPython shows by itself are text. A notebook has a message for them.": [
        "magics: run the failing file",
        "magics: last traceback",
        "magics: run_cell with an error",
        "magics: show a traceback",
    ],
    "A notebook compiles cells several times, and shows warnings of the compiler again.": [
        "errors: call of a value",
        "output: syntax warning",
    ],
    "Python's message of a syntax error says what is missing, IPython's only that something is.": [
        "errors: parenthesis",
        "errors: text over lines without end",
        "errors: dedent",
        "errors: null byte",
    ],
    "A session shows the exception that was raised, although its text cannot be shown.": [
        "errors: bad str in an error",
        "errors: str of an error that is no text",
        "errors: error with a surrogate",
    ],
    "inspect finds the source of classes that cells define.": ["language: source of a class", "classes: cell 10"],
    "The module of the cells has no docstring, sys.argv no program, and sys.exit no advice.": [
        "language: dunder names",
        "language: argparse error",
    ],
    "sys.stdout is a Python text stream, with a buffer.": ["output: write bytes", "output: not a text"],
    "Shell lines keep their error stream apart, and report an exit code that is not 0.": [
        "magics: failing shell",
        "magics: shell error stream",
    ],
    "A page of text ends with a line end in a notebook only.": ["magics: pdef"],
    "numpy is imported before the first cell, so %precision changes it too.": ["magics: precision of numpy"],
    "With ast_node_interactivity, values before the last are displays.": ["magics: several values"],
    "A figure that is a cell's value is shown once.": [
        "plotting: empty figure",
        "plotting: function that returns a figure",
    ],
    "Figures are shown at the end of a cell with any backend, and after plt.ioff() too.": [
        "plotting: interactive off",
        "plotting: figure kept with interactive off",
        "plotting: plot with agg",
    ],
    "A figure with texts alone has a picture.": ["plotting: figure text"],
}
