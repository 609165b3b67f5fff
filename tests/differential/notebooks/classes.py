# %%
"""Object-oriented programming: a bank, shapes, and a small game."""
# %%
class Account:
    """A bank account.

    Attributes:
        owner: Who owns it.
    """
    bank = "First"
    def __init__(self, owner, balance=0):
        self.owner = owner
        self._balance = balance
    def deposit(self, amount):
        if amount <= 0:
            raise ValueError(f"cannot deposit {amount}")
        self._balance += amount
        return self
    @property
    def balance(self):
        return self._balance
    def __repr__(self):
        return f"Account({self.owner!r}, {self._balance})"
# %%
acc = Account("Ann", 10)
acc
# %%
acc.deposit(5).deposit(7)
acc.balance
# %%
acc.deposit(-1)
# %%
acc.balance = 100
# %%
acc.missing
# %%
Account.bank, acc.__dict__, Account.__doc__.splitlines()[0]
# %%
help(Account.deposit)
# %%
Account?
# %%
class Savings(Account):
    rate = 0.02
    def add_interest(self):
        self.deposit(self.balance * self.rate)
s = Savings("Bob", 100); s.add_interest(); s
# %%
isinstance(s, Account), issubclass(Savings, Account), Savings.__mro__
# %%
Savings
# %%
[Account, Savings]
# %%
accounts = [Account("A", 3), Account("B", 1), Savings("C", 2)]
sorted(accounts, key=lambda a: a.balance)
# %%
{a.owner: a for a in accounts}
# %%
from abc import ABC, abstractmethod
import math
class Shape(ABC):
    @abstractmethod
    def area(self): ...
class Circle(Shape):
    def __init__(self, r): self.r = r
    def area(self): return math.pi * self.r ** 2
Shape()
# %%
f"{Circle(2).area():.3f}"
# %%
from dataclasses import dataclass, field
@dataclass(order=True)
class Card:
    rank: int
    suit: str = field(compare=False)
hand = [Card(10, "♠"), Card(3, "♥"), Card(12, "♦")]
max(hand), sorted(hand)
# %%
class Deck:
    def __init__(self): self.cards = [Card(r, s) for s in "♠♥" for r in range(1, 4)]
    def __len__(self): return len(self.cards)
    def __getitem__(self, i): return self.cards[i]
    def __contains__(self, c): return c in self.cards
d = Deck(); len(d), d[0], d[-1], d[1:3], Card(1, "x") in d
# %%
import random
random.seed(4); random.choice(d), random.sample(list(d), 2)
# %%
for card in d:
    print(card.rank, card.suit, end="; ")
# %%
class Temperature:
    def __init__(self, c): self.celsius = c
    @property
    def fahrenheit(self): return self.celsius * 9 / 5 + 32
    @fahrenheit.setter
    def fahrenheit(self, f): self.celsius = (f - 32) * 5 / 9
t = Temperature(25); t.fahrenheit = 212; t.celsius
# %%
class Stack:
    def __init__(self): self._items = []
    def push(self, x): self._items.append(x)
    def pop(self): return self._items.pop()
Stack().pop()
# %%
class Meta(type):
    def __call__(cls, *a, **k):
        print("creating", cls.__name__)
        return super().__call__(*a, **k)
class Thing(metaclass=Meta): pass
Thing()
# %%
class Singleton:
    _instance = None
    def __new__(cls):
        cls._instance = cls._instance or super().__new__(cls)
        return cls._instance
Singleton() is Singleton()
# %%
class Poly:
    def __init__(self, *c): self.c = c
    def __call__(self, x): return sum(k * x ** n for n, k in enumerate(self.c))
    def _repr_latex_(self): return "$" + " + ".join(f"{k}x^{n}" for n, k in enumerate(self.c)) + "$"
Poly(1, 2, 3)
# %%
Poly(1, 2, 3)(2), [Poly(1)]
# %%
class Board:
    def __init__(self): self.cells = [" "] * 9
    def __str__(self): return "\n-+-+-\n".join("|".join(self.cells[i:i + 3]) for i in (0, 3, 6))
b = Board(); b.cells[4] = "X"; print(b)
# %%
class Loud(Exception):
    def __init__(self, what): super().__init__(what.upper())
try:
    raise Loud("oops")
except Loud as e:
    print(type(e).__name__, e, e.args)
# %%
raise Loud("unhandled") from ValueError("cause")
# %%
dir(Account)[-4:], [m for m in dir(acc) if not m.startswith("_")]
# %%
type("Dynamic", (Account,), {"x": 1})("d").x
# %%
del acc
acc
