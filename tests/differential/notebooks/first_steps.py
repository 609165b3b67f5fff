# %%
print("Hello, world!")
# %%
2 + 3 * 4
# %%
_
# %%
_ * 2
# %%
7 / 2, 7 // 2, 7 % 2, -7 // 2
# %%
name = "Ada"; name
# %%
print("Hello", name)
# %%
print(nme)
# %%
type(name), type(3), type(3.0), type(None)
# %%
len(name), name.upper(), name[0], name[-1]
# %%
name[10]
# %%
"5" + 5
# %%
int("5") + 5
# %%
int("five")
# %%
fruits = ["apple", "banana", "cherry"]; fruits
# %%
fruits.append("date"); fruits
# %%
fruits.append("elder")
# %%
for i, f in enumerate(fruits): print(i, f)
# %%
[f.upper() for f in fruits if "a" in f]
# %%
prices = {"apple": 1.2, "banana": 0.5}; prices["cherry"]
# %%
prices.get("cherry", "unknown"), list(prices), prices.items()
# %%
if prices["apple"] > 1:
    print("expensive")
else:
    print("cheap")
# %%
def add(a, b=1):
    """Add two numbers."""
    return a + b
add(2), add(2, 3)
# %%
add()
# %%
add?
# %%
x = 5
x
y = 6
y
# %%
x; y
# %%
x, y = y, x
print(x, y)
# %%
%whos
# %%
Out[2], In[2]
# %%
_3
# %%
%pwd
# %%
!echo "shell: $((1 + 1))"
# %%
files = !ls -d .
files
# %%
for n in range(3)
    print(n)
# %%
while True:
    x += 1
    if x > 10: break
x
# %%
import math
math.pi
# %%
math.
# %%
round(math.pi, 2), f"{math.pi:.4f}", math.floor(-2.5)
# %%
%time sum(range(100))
# %%
from datetime import date
date(2024, 5, 17), date(2024, 5, 17).strftime("%d.%m.%y")
# %%
help(add)
# %%
True and False, not True, 3 in [1, 2, 3], "a" < "b"
# %%
try:
    1 / 0
except ZeroDivisionError as error:
    print("Error:", error)
# %%
t = (1, 2); t[0] = 5
# %%
{1, 2, 2, 3}, set("hello"), {}
# %%
a = [1, 2]; b = a; b.append(3); a is b, a
# %%
%%timeit -n 1 -r 1
sum(range(10))
# %%
with open("notes.txt", "w") as f:
    f.write("one\ntwo\n")
# %%
%cat notes.txt
# %%
input("Your name? ") if False else "skipped"
# %%
%history -n 1-3
# %%
print(*range(5), sep=", "); print("a", end=""); print("b")
