# %%
text = """It was the best of times, it was the worst of times, it was the age of wisdom,
it was the age of foolishness, it was the epoch of belief, it was the epoch of incredulity."""
text
# %%
print(text)
# %%
words = text.lower().replace(",", "").replace(".", "").split()
len(words), words[:6]
# %%
from collections import Counter, defaultdict
counts = Counter(words)
counts
# %%
counts.most_common(3)
# %%
counts["it"], counts["zebra"], sum(counts.values())
# %%
index = defaultdict(list)
for n, w in enumerate(words): index[w].append(n)
index["age"], dict(list(index.items())[:4])
# %%
index
# %%
import re
re.findall(r"\b\w{7,}\b", text)
# %%
re.sub(r"(\w+) of (\w+)", r"\2 of \1", text)[:60]
# %%
m = re.search(r"age of (?P<what>\w+)", text); m
# %%
m.group("what"), m.span(), m.groups(), m["what"]
# %%
for m in re.finditer(r"epoch of (\w+)", text): print(m.start(), m[1])
# %%
re.split(r"[,.\n]+\s*", text)
# %%
pattern = re.compile(r"(?i)it was the (\w+)")
pattern
# %%
set(pattern.findall(text))
# %%
{w: len(w) for w in sorted(set(words))}
# %%
from itertools import groupby
{k: list(g) for k, g in groupby(sorted(set(words), key=len), key=len)}
# %%
bigrams = Counter(zip(words, words[1:])); bigrams.most_common(4)
# %%
import string
table = str.maketrans("", "", string.punctuation); text.translate(table)[:40]
# %%
print("\n".join(f"{w:<12}{c:>3} {'#' * c}" for w, c in counts.most_common(5)))
# %%
"caesar", "".join(chr((ord(c) - 97 + 3) % 26 + 97) if c.isalpha() else c for c in "caesar")
# %%
def is_palindrome(s):
    s = re.sub(r"\W", "", s).lower()
    return s == s[::-1]
is_palindrome("A man, a plan, a canal: Panama")
# %%
import textwrap
print(textwrap.fill(text, width=40, initial_indent="> ", subsequent_indent="> "))
# %%
import unicodedata
[unicodedata.category(c) for c in "aÉ1 €"], "naïve café".encode("ascii", "ignore")
# %%
"naïve".encode("latin-1").decode("utf-8")
# %%
%%writefile poem.txt
Roses are red,
violets are blue.
# %%
with open("poem.txt") as f:
    for n, line in enumerate(f, 1): print(n, line.rstrip())
# %%
!wc -l poem.txt
# %%
lines = open("poem.txt").read().splitlines(); lines
# %%
import json
json.dumps({"lines": lines, "n": len(lines)})
# %%
print(json.dumps(counts.most_common(2), indent=1))
# %%
"{:>10}|{:^10}|{:<10}|{:+d}|{:,}".format("r", "c", "l", 5, 1234567)
# %%
"%s has %d items costing %.2f" % ("cart", 3, 9.5)
# %%
"%d" % "x"
# %%
"abc".index("z")
# %%
from difflib import SequenceMatcher
round(SequenceMatcher(None, "kitten", "sitting").ratio(), 4)
# %%
def levenshtein(a, b):
    prev = range(len(b) + 1)
    for i, x in enumerate(a, 1):
        cur = [i]
        for j, y in enumerate(b, 1):
            cur.append(min(prev[j] + 1, cur[-1] + 1, prev[j - 1] + (x != y)))
        prev = cur
    return prev[-1]
levenshtein("kitten", "sitting")
