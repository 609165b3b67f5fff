# %%
def bubble_sort(a):
    a = a[:]
    for i in range(len(a)):
        for j in range(len(a) - 1 - i):
            if a[j] > a[j + 1]: a[j], a[j + 1] = a[j + 1], a[j]
    return a
bubble_sort([5, 2, 9, 1])
# %%
def quick(a): return a if len(a) < 2 else quick([x for x in a[1:] if x < a[0]]) + [a[0]] + quick([x for x in a[1:] if x >= a[0]])
quick(list("sorting"))
# %%
import bisect, heapq, itertools, functools, math
def search(a, x):
    i = bisect.bisect_left(a, x)
    return i if i < len(a) and a[i] == x else None
search([1, 3, 5], 3), search([1, 3, 5], 4)
# %%
search([1, 3, 5], 4)
# %%
@functools.cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
[fib(n) for n in range(30)]
# %%
fib(300)
# %%
def fact(n): return 1 if n == 0 else n * fact(n - 1)
fact(50)
# %%
fact(-1)
# %%
def hanoi(n, a="A", b="B", c="C"):
    if n:
        hanoi(n - 1, a, c, b); print(f"{a}->{c}", end=" "); hanoi(n - 1, b, a, c)
hanoi(3)
# %%
graph = {"A": {"B": 1, "C": 4}, "B": {"C": 2, "D": 5}, "C": {"D": 1}, "D": {}}
graph
# %%
def dijkstra(g, s):
    dist, heap = {s: 0}, [(0, s)]
    while heap:
        d, u = heapq.heappop(heap)
        for v, w in g[u].items():
            if d + w < dist.get(v, math.inf):
                dist[v] = d + w; heapq.heappush(heap, (d + w, v))
    return dist
dijkstra(graph, "A")
# %%
dijkstra(graph, "Z")
# %%
from collections import deque
def bfs(g, s):
    seen, q = [s], deque([s])
    while q:
        for v in g[q.popleft()]:
            if v not in seen: seen.append(v); q.append(v)
    return seen
bfs(graph, "A")
# %%
import networkx as nx
G = nx.DiGraph((u, v, {"weight": w}) for u in graph for v, w in graph[u].items())
G, nx.shortest_path(G, "A", "D", weight="weight")
# %%
G.nodes, G.edges(data=True)
# %%
nx.shortest_path(G, "D", "A")
# %%
def primes(n):
    s = [True] * (n + 1)
    for p in range(2, int(n ** 0.5) + 1):
        if s[p]: s[p * p::p] = [False] * len(s[p * p::p])
    return [p for p in range(2, n + 1) if s[p]]
primes(100)
# %%
len(primes(10_000)), sum(primes(1000))
# %%
def queens(n, row=0, cols=()):
    if row == n: yield cols
    for c in range(n):
        if all(c != d and abs(c - d) != row - r for r, d in enumerate(cols)): yield from queens(n, row + 1, cols + (c,))
len(list(queens(6))), next(queens(8))
# %%
list(queens(4))
# %%
for cols in queens(4):
    print("\n".join("." * c + "Q" + "." * (3 - c) for c in cols)); print()
# %%
def powerset(s): return itertools.chain.from_iterable(itertools.combinations(s, r) for r in range(len(s) + 1))
list(powerset("abc"))
# %%
def lcs(a, b):
    @functools.lru_cache(None)
    def go(i, j):
        if i == len(a) or j == len(b): return ""
        if a[i] == b[j]: return a[i] + go(i + 1, j + 1)
        return max(go(i + 1, j), go(i, j + 1), key=len)
    return go(0, 0)
lcs("algorithm", "logarithm")
# %%
def collatz(n):
    while n != 1:
        yield n
        n = n // 2 if n % 2 == 0 else 3 * n + 1
    yield 1
list(collatz(27))[:20], len(list(collatz(27)))
# %%
class Node:
    def __init__(self, v, l=None, r=None): self.v, self.l, self.r = v, l, r
    def __iter__(self):
        if self.l: yield from self.l
        yield self.v
        if self.r: yield from self.r
    def insert(self, v):
        side = "l" if v < self.v else "r"
        child = getattr(self, side)
        child.insert(v) if child else setattr(self, side, Node(v))
root = Node(5)
for v in (2, 8, 1, 9, 3): root.insert(v)
list(root)
# %%
root
# %%
def life(cells): 
    counts = {}
    for (x, y) in cells:
        for dx, dy in itertools.product((-1, 0, 1), repeat=2):
            if dx or dy: counts[x + dx, y + dy] = counts.get((x + dx, y + dy), 0) + 1
    return {c for c, n in counts.items() if n == 3 or (n == 2 and c in cells)}
life({(0, 1), (1, 1), (2, 1)})
# %%
def roman(n): return "".join(s * (n // v) for v, s, n in [(1000, "M", n), (100, "C", n % 1000), (10, "X", n % 100), (1, "I", n % 10)])
roman(2112)
# %%
memo = {}
def knap(items, cap):
    key = (len(items), cap)
    if key not in memo:
        memo[key] = 0 if not items or cap <= 0 else max(knap(items[1:], cap), (items[0][1] + knap(items[1:], cap - items[0][0])) if items[0][0] <= cap else 0)
    return memo[key]
knap([(2, 3), (3, 4), (4, 5), (5, 6)], 5), memo
# %%
%%time
sum(i * i for i in range(10000))
# %%
matrix = [[1, 2, 3], [4, 5, 6]]; list(zip(*matrix)), [row[::-1] for row in matrix]
# %%
def ack(m, n): return n + 1 if m == 0 else ack(m - 1, 1) if n == 0 else ack(m - 1, ack(m, n - 1))
ack(2, 3)
# %%
import sys
def forever(): return forever()
forever()
# %%
math.gcd(48, 18), math.lcm(4, 6), pow(7, 256, 13), divmod(17, 5), 0b1011 ^ 0b110
# %%
assert quick([3, 1, 2]) == [1, 2, 3]; print("ok")
