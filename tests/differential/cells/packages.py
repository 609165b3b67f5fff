# %% imports
import inspect
import sys

import matplotlib.pyplot as plt
from IPython.display import display
# %% first use of the inline backend
%config InlineBackend.figure_format = "svg"
plt.plot([1, 2]);
# %% back to png
%config InlineBackend.figure_format = "png"
plt.plot([1, 2]);
# %% capture a shown figure
%%capture shown
plt.plot([1, 2]); plt.show()
# %% captured shown
len(shown.outputs), type(shown.outputs[0]).__name__
# %% show captured
shown.show()
# %% capture an open figure
%%capture opened
plt.plot([1, 2])
# %% captured open
len(opened.outputs)
# %% own underscore
_ = 5
# %% value beside it
11
# %% own underscore stays
_
# %% own underscore deleted
del _
# %% next value
12
# %% underscores again
_, __
# %% encodings
sys.stdout.encoding, sys.stderr.encoding
# %% last function
def documented(a):
    return a
# %% source of the last function
print(inspect.getsource(documented))
# %% is this a notebook
def is_notebook():
    try:
        return get_ipython().__class__.__name__ == "ZMQInteractiveShell"
    except NameError:
        return False
is_notebook()
# %% rich print
from rich import print as rich_print
rich_print("[bold]x[/bold]", {"a": 1})
# %% rich table
from rich.console import Console
from rich.table import Table
table = Table("a", "b"); table.add_row("1", "2")
Console(width=30).print(table)
# %% rich value
table
