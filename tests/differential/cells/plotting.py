# %% import
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
# %% plot
plt.plot([1, 2, 3])
# %% plot with show
plt.plot([1, 2, 3])
plt.show()
# %% plot with a semicolon
plt.plot([1, 2, 3]);
# %% title is the value
plt.plot([1, 2])
plt.title("T")
# %% labels
plt.plot([1, 2])
plt.xlabel("x"); plt.ylabel("y"); plt.legend(["a"])
# %% scatter
plt.scatter([1, 2], [3, 4])
# %% bar
plt.bar(["a", "b"], [1, 2])
# %% hist
plt.hist([1, 2, 2, 3])
# %% pie
plt.pie([1, 2], labels=["a", "b"])
# %% image
plt.imshow(np.eye(3))
# %% box
plt.boxplot([1, 2, 3])
# %% figure object
fig = plt.figure()
# %% figure object with a plot
fig, ax = plt.subplots()
ax.plot([1, 2])
# %% figure from an earlier cell
fig
# %% figure of an earlier cell changed
ax.set_title("later")
fig
# %% empty figure
plt.figure()
# %% empty subplots
plt.subplots()
# %% two figures
plt.figure(); plt.plot([1]); plt.figure(); plt.plot([2]);
# %% two shows
plt.plot([1]); plt.show(); plt.plot([2]); plt.show()
# %% show and print
print("a"); plt.plot([1]); plt.show(); print("b")
# %% print after a plot
plt.plot([1]);
print("after")
# %% grid of axes
fig, axes = plt.subplots(2, 2, figsize=(4, 4))
axes.shape
# %% axes values
fig, axes = plt.subplots(1, 2)
axes
# %% one axis
fig, ax = plt.subplots()
ax
# %% closed figure
fig, ax = plt.subplots()
plt.close(fig)
# %% closed all
plt.plot([1]); plt.close("all")
# %% error after a plot
plt.plot([1, 2])
1 / 0
# %% error in a plot
plt.plot([1, 2], [1])
# %% cleared
plt.close("all")
# %% savefig
plt.plot([1, 2]); plt.savefig("a.png")
# %% saved file
import os
os.path.getsize("a.png") > 1000
# %% style
plt.style.use("ggplot"); plt.plot([1]);
# %% style context
with plt.style.context("default"):
    plt.plot([2])
# %% rc
plt.rcParams["figure.figsize"] = (3, 2); plt.plot([1]);
# %% rc value
plt.rcParams["figure.figsize"]
# %% defaults
plt.rcdefaults(); plt.rcParams["figure.dpi"], plt.rcParams["figure.figsize"]
# %% object interface
from matplotlib.figure import Figure
f = Figure(); f.subplots().plot([1, 2]); f
# %% display a figure
fig, ax = plt.subplots(); ax.plot([3]); display(fig)
# %% display and close
fig, ax = plt.subplots(); ax.plot([3]); display(fig); plt.close(fig)
# %% gca and gcf
plt.plot([1]); plt.gca().get_title(), type(plt.gcf()).__name__
# %% line properties
(line,) = plt.plot([1, 2]); line.get_linewidth(), line.get_xdata()
# %% text
plt.text(0.5, 0.5, "hi")
# %% annotate
plt.annotate("here", (0, 0))
# %% fill
plt.fill_between([0, 1], [0, 1])
# %% colour bar
plt.imshow(np.eye(2)); plt.colorbar()
# %% 3d
ax = plt.figure().add_subplot(projection="3d"); ax.plot([0, 1], [0, 1], [0, 1])
# %% polar
plt.polar([0, 1], [1, 2])
# %% log
plt.semilogy([1, 10, 100])
# %% loop of figures
for n in range(3):
    plt.figure(); plt.plot([n])
# %% loop with show
for n in range(2):
    plt.plot([n]); plt.show(); print(n)
# %% function that plots
def draw():
    plt.plot([1, 2])
    plt.show()
draw()
# %% function that returns a figure
def make():
    fig, ax = plt.subplots(); ax.plot([1]); return fig
make()
# %% interactive
plt.ion(); plt.isinteractive()
# %% interactive off
plt.close("all")
plt.ioff(); plt.plot([1])
# %% figure kept with interactive off
plt.gcf().number
# %% interactive on
plt.ion(); plt.close("all")
# %% magic
%matplotlib inline
# %% plot after the magic
plt.plot([1, 2])
# %% svg
%config InlineBackend.figure_format = "svg"
plt.plot([1])
# %% retina
%config InlineBackend.figure_format = "retina"
plt.plot([1])
# %% png again
%config InlineBackend.figure_format = "png"
plt.plot([1])
# %% several formats
%config InlineBackend.figure_formats = {"png", "svg"}
plt.plot([1])
# %% back to png
%config InlineBackend.figure_formats = {"png"}
# %% set formats
from matplotlib_inline.backend_inline import set_matplotlib_formats
set_matplotlib_formats("png")
# %% backend use
matplotlib.use("Agg")
# %% plot with agg
plt.plot([5])
# %% inline again
%matplotlib inline
plt.close("all")
plt.plot([6])
# %% pandas plot
import pandas as pd
pd.DataFrame({"a": [1, 2], "b": [2, 1]}).plot()
# %% series plot
pd.Series([1, 2, 3]).plot(kind="bar", title="bars")
# %% frame hist
pd.DataFrame({"a": [1, 2, 2]}).hist()
# %% scatter matrix type
type(pd.plotting.scatter_matrix(pd.DataFrame({"a": [1, 2], "b": [3, 5]}))).__name__
# %% animation
from matplotlib.animation import FuncAnimation
fig, ax = plt.subplots()
anim = FuncAnimation(fig, lambda n: [], frames=2)
# %% warning of a plot
plt.plot([1], label="_x"); plt.legend()
# %% categorical
plt.plot(["a", "b"], [1, 2])
# %% dates
import datetime
plt.plot([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], [1, 2])
# %% twin
fig, a = plt.subplots(); a.plot([1]); b = a.twinx(); b.plot([2]); b
# %% tight layout
plt.plot([1]); plt.tight_layout()
# %% subplot
plt.subplot(2, 1, 1); plt.plot([1]); plt.subplot(2, 1, 2); plt.plot([2])
# %% mosaic
fig, axd = plt.subplot_mosaic("AB"); axd
# %% lines
plt.axhline(1), plt.axvline(2)
# %% list of artists
plt.plot([1, 2], [1, 2], [2, 3])
# %% containers
plt.errorbar([1], [1], yerr=[0.1])
# %% stem
plt.stem([1, 2])
# %% contour
plt.contour(np.arange(9).reshape(3, 3))
# %% quiver
plt.quiver([0], [0], [1], [1])
# %% step and stack
plt.step([0, 1], [0, 1]); plt.stackplot([0, 1], [[1, 2]])
# %% hexbin
plt.hexbin([1, 2], [1, 2])
# %% violin
plt.violinplot([1, 2, 3])
# %% axis limits
plt.plot([1]); plt.xlim(0, 2), plt.ylim()
# %% axis off
plt.plot([1]); plt.axis("off")
# %% ticks
plt.plot([1, 2]); plt.xticks([0, 1], ["a", "b"])
# %% grid
plt.plot([1]); plt.grid(True)
# %% figure text
plt.figure(figsize=(2, 2)); plt.suptitle("S")
# %% add axes
fig = plt.figure(); fig.add_axes([0, 0, 1, 1])
# %% colour map
plt.get_cmap("viridis")
# %% matplotlib version type
type(matplotlib.__version__), plt.get_backend() != ""
