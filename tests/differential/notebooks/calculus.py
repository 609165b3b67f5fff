# %%
from sympy import *
x, y, z, t = symbols("x y z t")
k, m, n = symbols("k m n", integer=True)
f, g = symbols("f g", cls=Function)
# %%
init_printing(use_latex="mathjax")
# %%
x ** 2 + 2 * x + 1
# %%
factor(x ** 2 + 2 * x + 1)
# %%
expand((x + y) ** 5)
# %%
diff(sin(x) * exp(x), x)
# %%
integrate(exp(x) * sin(x) + exp(x) * cos(x), x)
# %%
integrate(sin(x ** 2), (x, -oo, oo))
# %%
limit(sin(x) / x, x, 0)
# %%
solve(x ** 2 - 2, x)
# %%
dsolve(Eq(f(x).diff(x, x) - 2 * f(x).diff(x) + f(x), sin(x)), f(x))
# %%
Matrix([[1, 2], [2, 2]]).eigenvals()
# %%
besselj(nu := symbols("nu"), z)
# %%
Integral(cos(x) ** 2, (x, 0, pi))
# %%
latex(Integral(cos(x) ** 2, (x, 0, pi)))
# %%
Rational(1, 3) + Rational(1, 6), sqrt(8), pi.evalf(20)
# %%
simplify(sin(x) ** 2 + cos(x) ** 2)
# %%
expr = x ** 2 + y; expr.subs({x: 3, y: 1}), expr.free_symbols
# %%
series(exp(x), x, 0, 5)
# %%
Sum(1 / n ** 2, (n, 1, oo)).doit()
# %%
lambdify(x, x ** 2 + 1)(3)
# %%
Matrix([[1, x], [y, 2]]).det()
# %%
[x + 1, y ** 2]
# %%
{x: 1, y: sqrt(2)}
# %%
(x, [y, {z}])
# %%
srepr(x + 1), str(x ** 2), repr(sqrt(x))
# %%
print(pretty(Integral(x ** 2, x), use_unicode=False))
# %%
pprint(x ** 2 / y)
# %%
apart(1 / (x ** 2 - 1)), together(1 / x + 1 / y)
# %%
linsolve([x + y - 1, x - y - 3], (x, y))
# %%
factorint(360), isprime(97), list(primerange(1, 20))
# %%
Eq(x, y), x > 2, And(x > 1, x < 3)
# %%
solveset(sin(x), x)
# %%
sympify("1 +* 2")
# %%
x.undefined_thing
# %%
Symbol("α_1"), symbols("a:c")
# %%
N(E, 5), 1.5 * x, 7
