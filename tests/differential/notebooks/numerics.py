# %%
import numpy as np
from numpy.linalg import eig, inv, norm, solve
# %%
a = np.arange(15).reshape(3, 5); a
# %%
a.shape, a.ndim, a.dtype.name, a.itemsize, a.size, type(a)
# %%
np.array([(1.5, 2, 3), (4, 5, 6)])
# %%
np.array(1, 2, 3, 4)
# %%
np.zeros((3, 4)), np.ones((2, 3, 4), dtype=np.int16)
# %%
np.linspace(0, 2, 9)
# %%
print(np.arange(10000))
# %%
x = np.linspace(0, 2 * np.pi, 5); f = np.sin(x); f
# %%
a = np.array([20, 30, 40, 50]); b = np.arange(4); a - b, b ** 2, 10 * np.sin(a), a < 35
# %%
A = np.array([[1, 1], [0, 1]]); B = np.array([[2, 0], [3, 4]]); print(A * B); print(A @ B); A.dot(B)
# %%
a = np.ones((2, 3), dtype=int); b = np.random.default_rng(1).random((2, 3)); b += a; b
# %%
a += b
# %%
b.sum(axis=0), b.min(axis=1), b.cumsum(axis=1)
# %%
a = np.arange(10) ** 3; a[2], a[2:5], a[:6:2]
# %%
a[:6:2] = 1000; a[::-1]
# %%
for i in a[:3]:
    print(i ** (1 / 3.0))
# %%
def f(x, y): return 10 * x + y
b = np.fromfunction(f, (5, 4), dtype=int); b
# %%
b[2, 3], b[0:5, 1], b[-1], b[..., 0]
# %%
for element in b[:1].flat: print(element)
# %%
c = np.floor(10 * np.random.default_rng(2).random((3, 4))); c, c.ravel(), c.reshape(6, 2), c.T.shape
# %%
np.vstack((c, c)).shape, np.hsplit(c, 2)
# %%
palette = np.array([[0, 0, 0], [255, 0, 0]]); palette[np.array([[0, 1], [1, 0]])]
# %%
np.ix_([0, 1], [2, 3])
# %%
M = np.array([[4.0, 1.0], [2.0, 3.0]]); w, v = eig(M); w
# %%
inv(M) @ M
# %%
solve(M, np.array([1.0, 2.0]))
# %%
solve(np.zeros((2, 2)), [1, 1])
# %%
norm([3, 4]), np.trace(M), np.linalg.matrix_rank(M), np.linalg.cond(M).round(4)
# %%
import math
def newton(f, df, x, steps=6):
    for k in range(steps):
        x = x - f(x) / df(x)
        print(f"{k}: {x:.12f}")
    return x
newton(lambda x: x * x - 2, lambda x: 2 * x, 1.0)
# %%
from scipy import integrate, optimize, stats
integrate.quad(np.sin, 0, np.pi)
# %%
optimize.minimize(lambda p: (p[0] - 1) ** 2 + (p[1] + 2) ** 2, [0, 0]).x.round(4)
# %%
r = optimize.root_scalar(lambda x: x ** 3 - 1, bracket=[0, 3]); r.root.__round__(6), r.converged
# %%
stats.norm.cdf(1.96), stats.ttest_ind([1, 2, 3], [2, 3, 4])
# %%
from scipy.interpolate import interp1d
interp1d([0, 1], [0, 10])(0.5)
# %%
%timeit -n1 -r1 np.dot(np.ones(10), np.ones(10))
# %%
sieve = np.ones(30, dtype=bool); sieve[:2] = False
for i in range(2, 6): sieve[i * i::i] = False
np.nonzero(sieve)[0]
# %%
np.array([1, 2, 3]) == np.array([1, 5, 3]), np.allclose(0.1 + 0.2, 0.3)
# %%
np.seterr(all="warn"); np.array([1.0]) / 0, np.int8(127) + np.int8(1)
