# %%
import sqlite3
con = sqlite3.connect("library.db")
con
# %%
cur = con.cursor()
cur.executescript("""
drop table if exists book; drop table if exists author;
create table author (id integer primary key, name text not null unique);
create table book (id integer primary key, title text, year integer, author_id integer references author(id));
""");
# %%
authors = ["Austen", "Borges", "Calvino"]
con.executemany("insert into author (name) values (?)", [(a,) for a in authors]).rowcount
# %%
books = [("Emma", 1815, 1), ("Ficciones", 1944, 2), ("El Aleph", 1949, 2), ("Invisible Cities", 1972, 3), ("Persuasion", 1817, 1)]
with con:
    con.executemany("insert into book (title, year, author_id) values (?, ?, ?)", books)
con.total_changes
# %%
con.execute("select * from book").fetchall()
# %%
for row in con.execute("select title, year from book order by year"): print(*row, sep=" | ")
# %%
con.execute("select name, count(*) n from author a join book b on b.author_id = a.id group by name order by n desc, name").fetchall()
# %%
con.execute("select count(*), min(year), avg(year) from book").fetchone()
# %%
con.execute("insert into author (name) values (?)", ("Austen",))
# %%
con.execute("select * from nothing")
# %%
con.execute("selec 1")
# %%
con.execute("select ? + ?", (1,))
# %%
con.execute("select title from book where year > :y", {"y": 1940}).fetchall()
# %%
con.row_factory = sqlite3.Row
r = con.execute("select * from book limit 1").fetchone()
r["title"], r.keys(), tuple(r)
# %%
try:
    with con:
        con.execute("delete from book")
        raise RuntimeError("changed my mind")
except RuntimeError as e:
    print("rolled back:", e)
con.execute("select count(*) from book").fetchone()[0]
# %%
con.create_function("shout", 1, lambda s: s.upper() + "!")
con.execute("select shout(name) from author").fetchall()[0][0]
# %%
class Longest:
    def __init__(self): self.s = ""
    def step(self, v): self.s = max(self.s, v, key=len)
    def finalize(self): return self.s
con.create_aggregate("longest", 1, Longest); con.execute("select longest(title) from book").fetchone()[0]
# %%
import pandas as pd
df = pd.read_sql("select * from book", con); df
# %%
df.to_sql("copy", con, index=False, if_exists="replace")
# %%
pd.read_sql("select year / 100 * 100 as century, count(*) as n from copy group by 1", con)
# %%
con.execute("explain query plan select * from book where id = 1").fetchall()[0][3]
# %%
con.execute("update book set year = year + 1 where author_id = 2").rowcount, con.in_transaction
# %%
con.rollback(); con.in_transaction
# %%
import datetime
con.execute("select date('2024-02-28', '+2 days')").fetchone()[0], datetime.date(2024, 2, 28) + datetime.timedelta(2)
# %%
import json
json.dumps([dict(r) for r in con.execute("select id, name from author")])
# %%
"\n".join(con.iterdump())[:60]
# %%
con.close()
# %%
con.execute("select 1")
# %%
import os
os.path.exists("library.db"), os.remove("library.db")
# %%
import csv, io
buf = io.StringIO(); csv.writer(buf, delimiter=";").writerows(books); print(buf.getvalue())
# %%
[row for row in csv.reader(io.StringIO(buf.getvalue()), delimiter=";")][:2]
# %%
import shelve
with shelve.open("shelf") as s: s["books"] = books; print(sorted(s), len(s["books"]))
# %%
import pickle
len(pickle.loads(pickle.dumps(books))), pickle.loads(b"garbage")
