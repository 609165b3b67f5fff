# %% get_ipython in the first cell
get_ipython().__class__.__name__ != ""
# %% pwd
%pwd
# %% value of pwd
import os
here = %pwd
here == os.getcwd()
# %% time
%time sum(range(1000))
# %% time of a statement
%time y = 5
y
# %% cell time
%%time
total = sum(range(1000))
total
# %% cell time without a value
%%time
for n in range(3):
    pass
# %% timeit quietly
r = %timeit -o -q -n 1 -r 1 sum(range(10))
r.loops
# %% timeit
%timeit -n 10 -r 2 sum(range(10))
# %% cell timeit
%%timeit -n 5 -r 1
sum(range(10))
# %% capture
%%capture captured
print("hidden")
5
# %% captured
captured.stdout
# %% captured outputs
captured.outputs
# %% capture all
%%capture
print("nothing")
# %% show
captured.show()
# %% write a file
%%writefile hello.py
x = 5
print("hello from a file")
# %% append to a file
%%writefile -a hello.py
y = x + 1
# %% run a file
%run hello.py
# %% names of the file
x, y
# %% run with arguments
%%writefile arguments.py
import sys
print(sys.argv[1:], __name__)
# %% run it
%run arguments.py a b
# %% run in the namespace
inner = 3
%run -i hello.py
# %% run a missing file
%run missing.py
# %% run a failing file
%%writefile failing.py
def f():
    return 1 / 0
f()
# %% run the failing file
%run failing.py
# %% load
%load hello.py
# %% list variables
a, b = 1, "text"
%who
# %% list types
%who int
# %% sorted names
%who_ls
# %% whos
%whos
# %% env
%env FOO=bar
# %% read env
%env FOO
# %% set env
%set_env BAZ qux
# %% python sees them
os.environ["FOO"], os.environ["BAZ"]
# %% cd
%mkdir -p sub
%cd sub
# %% where
os.path.basename(os.getcwd())
# %% cd back
%cd ..
# %% ls
%ls hello.py
# %% shell
!echo hello from the shell
# %% shell with a variable
name = "world"
!echo hello {name} $name
# %% shell with an expression
!echo {1 + 1}
# %% shell with a shell variable
!echo $$HOME | wc -l
# %% shell assigned
lines = !printf 'a\nb\n'
lines
# %% fields of lines
lines.n, lines.s, lines.l
# %% shell in a function
def shell():
    !echo inside
shell()
# %% failing shell
!exit 3
# %% exit code
_exit_code
# %% shell error stream
!echo problem >&2
# %% shell in a loop
for n in range(2):
    !echo {n}
# %% sx
%sx echo captured
# %% double exclamation
!!echo double
# %% bash
%%bash
for i in 1 2; do echo "line $i"; done
# %% bash with an error stream
%%bash
echo out; echo err >&2
# %% failing bash
%%bash
exit 4
# %% bash to variables
%%bash --out o --err e
echo into o
# %% what bash wrote
o
# %% sh
%%sh
echo from sh
# %% script
%%script cat
to cat
# %% perl or python
%%python
print("another python")
# %% system
%system echo sys
# %% html
%%html
<b>bold</b>
# %% markdown
%%markdown
# Title
# %% latex
%%latex
$x^2$
# %% javascript
%%javascript
1 + 1
# %% svg
%%svg
<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>
# %% help
len?
# %% help of a function of a cell
def documented(a, b=2):
    """Return the sum.

    More text.
    """
    return a + b
documented?
# %% source
documented??
# %% help first
?documented
# %% pinfo
%pinfo documented
# %% pdoc
%pdoc documented
# %% pdef
%pdef documented
# %% psource
%psource documented
# %% help of a variable
a?
# %% help of a missing name
nothing_here?
# %% search
*doc*?
# %% psearch
%psearch docum*
# %% precision
%precision 3
# %% precise
3.14159265, [2.718281828]
# %% precision of numpy
import numpy as np
np.array([1 / 3])
# %% precision off
%precision
# %% pprint off
%pprint
# %% not pretty
int, {3, 1, 2}
# %% pprint on
%pprint
# %% xmode
%xmode Minimal
# %% minimal error
1 / 0
# %% xmode back
%xmode Context
# %% last traceback
%tb Minimal
# %% alias
%alias greet echo hi %s
# %% use the alias
%greet there
# %% unalias
%unalias greet
# %% macro of text
%macro -q m 1
# %% xdel
gone = [1, 2]
also = gone
%xdel gone
# %% xdel of all names
"gone" in globals(), "also" in globals()
# %% xdel by name
one = two = [3]
%xdel -n one
# %% only the name
"one" in globals(), "two" in globals()
# %% xdel of a missing name
%xdel no_such_name
# %% store
kept = [1, 2, 3]
%store kept
# %% store list
%store
# %% restore
del kept
%store -r kept
kept
# %% store to a file
%store kept >kept.txt
# %% stored file
open("kept.txt").read()
# %% delete a stored one
%store -d kept
# %% clear the store
%store -z
# %% store a missing name
%store missing_name
# %% automagic pwd
pwd
# %% automagic with an argument
cd .
# %% automagic that is valid Python
ls -d sub
# %% automagic who
who int
# %% automagic time
time sum([1, 2])
# %% automagic off
%automagic
# %% no automagic
pwd
# %% automagic on
%automagic
# %% a variable hides the magic
pwd = 5
pwd
# %% and again
del pwd
# %% matplotlib
%matplotlib inline
# %% config
%config InlineBackend.figure_format = "svg"
# %% config back
%config InlineBackend.figure_format = "png"
# %% config read
%config InteractiveShell.ast_node_interactivity
# %% all values
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.ast_node_interactivity = "all"
# %% several values
1
2
"three"
# %% last or assigned
InteractiveShell.ast_node_interactivity = "last_expr_or_assign"
# %% assigned
shown = 7
# %% none
get_ipython().ast_node_interactivity = "none"
# %% nothing
8
# %% interactivity back
get_ipython().ast_node_interactivity = "last_expr"
# %% back
9
# %% extension
%load_ext autoreload
# %% its magic
%autoreload 2
# %% extension again
%load_ext autoreload
# %% reload
%reload_ext autoreload
# %% missing extension
%load_ext no_such_extension
# %% unknown magic
%no_such_magic
# %% unknown cell magic
%%no_such_magic
body
# %% misplaced cell magic
x = 1
%%time
# %% magic with a wrong option
%timeit -z 1
# %% magics that exist
"timeit" in get_ipython().magics_manager.magics["line"]
# %% run a magic by a call
get_ipython().run_line_magic("pwd", "") == os.getcwd()
# %% run a cell magic by a call
get_ipython().run_cell_magic("capture", "c", "print('by call')")
# %% what it captured
c.stdout
# %% magic attribute
get_ipython().magics_manager.auto_magic
# %% own line magic
from IPython.core.magic import register_cell_magic, register_line_magic
@register_line_magic
def shout(line):
    return line.upper()
%shout hello
# %% own cell magic
@register_cell_magic
def double(line, cell):
    exec(cell + "\n" + cell, globals())
# %% use it
%%double
print("twice")
# %% magics class
from IPython.core.magic import Magics, line_magic, magics_class
@magics_class
class Mine(Magics):
    @line_magic
    def count(self, line):
        return len(line.split())
get_ipython().register_magics(Mine)
%count a b c
# %% value of a magic in an expression
n = %count one two
n + 1
# %% prun
%prun -q sum(range(10))
# %% debug without a debugger
%pdb off
# %% reset selective
temporary_a = 1
temporary_b = 2
%reset_selective -f temporary
# %% what is left
"temporary_a" in globals()
# %% pycat
%pycat hello.py
# %% pip list quietly
%pip --version
# %% indented magic
if True:
    %shout inside
# %% magic on two lines
%shout a \
    b
# %% magic in a with
with open("a.txt", "w") as f:
    f.write("x")
    %ls a.txt
# %% quick help of a method
"abc".upper?
# %% run_cell
result = get_ipython().run_cell("1 + 1")
# %% its result
result.result, result.success
# %% run_cell with an error
result = get_ipython().run_cell("1 / 0")
# %% its error
type(result.error_in_exec).__name__
# %% ex
get_ipython().ex("created = 3")
created
# %% ev
get_ipython().ev("created + 1")
# %% push
get_ipython().push({"pushed": 4})
pushed
# %% user namespace
get_ipython().user_ns is globals()
# %% set_next_input
type(get_ipython().set_next_input).__name__
# %% system by a call
get_ipython().system("echo called")
# %% getoutput by a call
get_ipython().getoutput("echo got")
# %% execution count
isinstance(get_ipython().execution_count, int)
# %% In and Out
len(In) > 3, isinstance(Out, dict)
# %% a value to look up
"looked up"
# %% last output
Out[max(Out)]
# %% output by number
eval(f"_{max(Out)}")
# %% last input
In[-1]
# %% input by name
_i
# %% input before
_ii
# %% history
%history -l 3
# %% recall
"%history" in In[-2]
# %% exit is there
exit.__class__.__name__ != ""
# %% events
def before(*args):
    print("before the cell")
get_ipython().events.register("pre_run_cell", before)
# %% event seen
"cell"
# %% unregister
get_ipython().events.unregister("pre_run_cell", before)
# %% not seen
"cell"
# %% event after
def after(result):
    print("after:", result.result)
get_ipython().events.register("post_run_cell", after)
# %% post event seen
6 * 7
# %% unregister it
get_ipython().events.unregister("post_run_cell", after)
# %% input transformer
def polite(lines):
    return [line.replace("please ", "") for line in lines]
get_ipython().input_transformers_cleanup.append(polite)
# %% transformed
please print("polite")
# %% remove it
get_ipython().input_transformers_cleanup.remove(polite)
# %% ast transformer
import ast
class Doubler(ast.NodeTransformer):
    def visit_Constant(self, node):
        return ast.copy_location(ast.Constant(node.value * 2), node) if isinstance(node.value, int) else node
doubler = Doubler()
get_ipython().ast_transformers.append(doubler)
# %% doubled
21
# %% remove the transformer
get_ipython().ast_transformers.clear()
# %% not doubled
21
# %% custom exception handler
def handle(shell, etype, value, tb, tb_offset=None):
    print("handled", etype.__name__)
get_ipython().set_custom_exc((ValueError,), handle)
# %% handled
raise ValueError("x")
# %% no handler
get_ipython().set_custom_exc((), None)
# %% show a traceback
try:
    1 / 0
except ZeroDivisionError:
    get_ipython().showtraceback()
# %% formatter for a type
formatter = get_ipython().display_formatter.formatters["text/plain"]
before_int = formatter.for_type(int, lambda n, p, cycle: p.text(f"int:{n}"))
# %% formatted
5
# %% formatted in a list
[5, 6]
# %% formatter back
formatter.for_type(int, before_int)
# %% plain again
5
# %% html for a type
html = get_ipython().display_formatter.formatters["text/html"]
html.for_type(str, lambda s: f"<i>{s}</i>")
# %% text with html
"emphasised"
# %% html for no type
html.pop(str);
# %% float format
formatter.float_precision = "%.2f"
# %% float formatted
3.14159
# %% float format back
formatter.float_precision = ""
# %% float as before
3.14159
