# %% display a value
display(5)
# %% several
display(1, "a", [2])
# %% none
display(None)
# %% nothing
display()
# %% class
display(int)
# %% import display
from IPython.display import (
    HTML,
    JSON,
    SVG,
    Audio,
    Code,
    IFrame,
    Image,
    Javascript,
    Latex,
    Markdown,
    Math,
    Pretty,
    YouTubeVideo,
)
from IPython.display import (
    Video,
    display,
    update_display,
    publish_display_data,
    FileLink,
    FileLinks,
    GeoJSON,
    ProgressBar,
    DisplayHandle,
    DisplayObject,
    TextDisplayObject,
    Image,
)
# %% html
HTML("<b>bold</b>")
# %% display html
display(HTML("<i>x</i>"))
# %% markdown
Markdown("# Title")
# %% latex
Latex("$x$")
# %% math
Math(r"\frac{1}{2}")
# %% json
JSON({"a": [1, 2]})
# %% javascript
Javascript("1 + 1")
# %% svg
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>')
# %% pretty
Pretty("as it is")
# %% code
Code("x = 1", language="python")
# %% frame
IFrame("page.html", 200, 100)
# %% video site
YouTubeVideo("abc")
# %% image from bytes
import base64

png = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
Image(png)
# %% image from a file
open("dot.png", "wb").write(png)
Image("dot.png")
# %% image with a size
Image(data=png, width=20, format="png")
# %% image by url
Image(url="http://example.invalid/a.png")
# %% audio
Audio([0.0, 0.5, -0.5] * 100, rate=8000)
# %% file link
FileLink("dot.png")
# %% missing file link
FileLink("missing.txt")
# %% geo json
GeoJSON({"type": "Point", "coordinates": [1, 2]})
# %% progress bar
ProgressBar(3)
# %% display id
handle = display("first", display_id="d")
# %% type of the handle
type(handle).__name__
# %% update in another cell
update_display("second", display_id="d")
# %% update in the same cell
h = display("one", display_id=True)
h.update("two")
# %% handle display
h2 = display("a", display_id="h2")
h2.display("b")
# %% raw
display({"text/plain": "raw text", "text/html": "<p>raw</p>"}, raw=True)
# %% publish
publish_display_data({"text/plain": "published", "application/json": {"a": 1}})
# %% include
display(HTML("x"), include=["text/plain"])
# %% exclude
display(HTML("x"), exclude=["text/html"])
# %% metadata
display(HTML("x"), metadata={"text/html": {"isolated": True}})
# %% repr html
class Html:
    def _repr_html_(self):
        return "<b>me</b>"

    def __repr__(self):
        return "Html()"

Html()
# %% every repr
class Every:
    def __repr__(self):
        return "every"

    def _repr_html_(self):
        return "<b>"

    def _repr_markdown_(self):
        return "**"

    def _repr_latex_(self):
        return "$x$"

    def _repr_svg_(self):
        return "<svg/>"

    def _repr_json_(self):
        return {"a": 1}

    def _repr_javascript_(self):
        return "1"

    def _repr_png_(self):
        return png

Every()
# %% repr html that is None
class NoHtml:
    def _repr_html_(self):
        return None

    def __repr__(self):
        return "no html"

NoHtml()
# %% repr html that raises
class BadHtml:
    def _repr_html_(self):
        raise ValueError("bad html")

    def __repr__(self):
        return "bad"

try:
    BadHtml()
finally:
    pass
# %% repr html of a wrong type
class IntHtml:
    def _repr_html_(self):
        return 5

    def __repr__(self):
        return "int html"

x = IntHtml()
# %% mimebundle
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "bundle", "text/html": "<p>"}

Bundle()
# %% mimebundle with metadata
class BundleMeta:
    def _repr_mimebundle_(self, **kwargs):
        return {"text/plain": "meta", "image/png": png}, {"image/png": {"width": 10}}

BundleMeta()
# %% mimebundle of its own type
class Own:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"application/x-own": {"a": 1}, "text/plain": "own"}

Own()
# %% mimebundle without text
class NoText:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": "<p>"}

    def __repr__(self):
        return "notext"

NoText()
# %% shows itself
class Itself:
    def _ipython_display_(self):
        print("I show myself")

Itself()
# %% displayed itself
display(Itself())
# %% those in a list
[Itself(), Html()]
# %% pretty
class P:
    def _repr_pretty_(self, p, cycle):
        with p.group(2, "P(", ")"):
            p.pretty([1, 2])

P()
# %% latex with metadata
class L:
    def _repr_latex_(self):
        return "$y$", {"x": 1}

    def __repr__(self):
        return "L"

L()
# %% class is not an instance
Html
# %% getattr answers everything
class Any:
    def __getattr__(self, name):
        return lambda *a, **k: 5

    def __repr__(self):
        return "any"

x = Any()
# %% dynamic getattr that raises
class Raises:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        return "raises"

x = Raises()
# %% display in a loop
for n in range(3):
    display(n)
# %% display and print
print("a")
display("b")
print("c")
display("d")
"e"
# %% display of a frame
import pandas as pd

display(pd.DataFrame({"a": [1, 2]}))
# %% display of two frames
df = pd.DataFrame({"a": [1, 2]})
display(df, df.describe())
# %% display in a function
def show(x):
    display(x)
    return None

show(3)
# %% display and an error
display("before")
1 / 0
# %% sympy
import sympy

x, y = sympy.symbols("x y")
x**2 + y / 2
# %% sympy list
[x**2, sympy.sqrt(2)]
# %% sympy with printing
sympy.init_printing()
x**3
# %% sympy expand
sympy.expand((x + y) ** 3)
# %% sympy matrix
sympy.Matrix([[1, x], [y, 2]])
# %% sympy solve
sympy.solve(x**2 - 2, x)
# %% sympy integral
sympy.Integral(sympy.sin(x), x)
# %% sympy dict
{x: 1, y: sympy.pi}
# %% plotly
import plotly.graph_objects as go

fig = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
type(fig).__name__
# %% networkx
import networkx as nx

g = nx.path_graph(3)
g
# %% graph edges
g.edges, list(g.nodes), dict(g.degree)
# %% scikit-learn
from sklearn.linear_model import LinearRegression

LinearRegression()
# %% fitted
import numpy as np

model = LinearRegression().fit(np.array([[0.0], [1.0], [2.0]]), [0.0, 1.0, 2.0])
model
# %% predictions
model.predict([[3.0]]).round(6), model.score([[0.0], [1.0]], [0.0, 1.0])
# %% pipeline
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

make_pipeline(StandardScaler(), LinearRegression())
# %% pillow
from PIL import Image as P

P.new("RGB", (4, 4), "red")
# %% progress by hand
from IPython.display import clear_output

print("no clearing")
# %% sys displayhook
import sys

sys.displayhook(5)
# %% displayhook of a text
sys.displayhook("abc")
# %% displayhook replaced
old = sys.displayhook
sys.displayhook = lambda v: print("hook", v)
5
# %% displayhook back
sys.displayhook = old
5
# %% capture output
from IPython.utils.capture import capture_output

with capture_output() as c:
    print("hidden")
    display("shown")
c.stdout, [o.data for o in c.outputs]
# %% capture io and show
c.show()
