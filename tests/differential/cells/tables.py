# %% import
import numpy as np
import pandas as pd
# %% frame
df = pd.DataFrame({"name": ["Ann", "Bob", "Cy"], "age": [31, 25, 47], "city": ["Oslo", "Rome", "Oslo"]})
df
# %% head and tail
df.head(2)
# %% series
df["age"]
# %% several columns
df[["name", "age"]]
# %% info
df.info()
# %% describe
df.describe()
# %% describe all
df.describe(include="all")
# %% shape and types
df.shape, df.columns, df.index
# %% dtypes
df.dtypes
# %% filter
df[df.age > 30]
# %% query
df.query("age < 40 and city == 'Oslo'")
# %% sort
df.sort_values("age", ascending=False)
# %% group
df.groupby("city")["age"].mean()
# %% group object
df.groupby("city")
# %% aggregate
df.groupby("city").agg({"age": ["mean", "max"]})
# %% named aggregate
df.groupby("city").agg(n=("name", "count"), oldest=("age", "max")).reset_index()
# %% apply
df["age"].apply(lambda a: a * 2)
# %% apply by row
df.apply(lambda r: f"{r['name']}-{r['age']}", axis=1)
# %% assign
df.assign(double=df.age * 2)
# %% loc
df.loc[0], df.loc[1, "name"]
# %% iloc
df.iloc[0:2, 0:2]
# %% at
df.at[0, "age"], df.iat[1, 1]
# %% missing
pd.DataFrame({"a": [1, None, 3], "b": ["x", None, "z"]})
# %% isna
pd.DataFrame({"a": [1, None, 3]}).isna().sum()
# %% fill and drop
m = pd.DataFrame({"a": [1, None, 3]})
m.fillna(0), m.dropna()
# %% merge
pd.merge(df, pd.DataFrame({"city": ["Oslo", "Rome"], "land": ["NO", "IT"]}), on="city")
# %% concat
pd.concat([df, df], ignore_index=True)
# %% pivot
pd.pivot_table(df, values="age", index="city", aggfunc="mean")
# %% melt
df.melt(id_vars="name")
# %% crosstab
pd.crosstab(df.city, df.name)
# %% value counts
df.city.value_counts()
# %% unique
df.city.unique(), df.city.nunique()
# %% map
df.city.map({"Oslo": "O"})
# %% strings
df.name.str.upper(), df.name.str.len()
# %% cut
pd.cut(df.age, [0, 30, 60])
# %% get dummies
pd.get_dummies(df.city)
# %% dates
pd.date_range("2024-01-01", periods=3)
# %% time series
ts = pd.Series(range(6), index=pd.date_range("2024-01-01", periods=6, freq="D"))
ts
# %% resample
ts.resample("2D").sum()
# %% rolling
ts.rolling(2).mean()
# %% shift and diff
pd.DataFrame({"s": ts.shift(1), "d": ts.diff()})
# %% timestamps
pd.Timestamp("2024-01-01 10:00"), pd.Timedelta("1 day"), pd.Period("2024-01", "M")
# %% missing values
pd.NaT, pd.NA, np.nan
# %% categorical
pd.Categorical(["a", "b", "a"])
# %% category series
pd.Series(["a", "b"], dtype="category")
# %% interval
pd.Interval(0, 1), pd.interval_range(0, 3)
# %% multi index
mi = df.set_index(["city", "name"])
mi
# %% multi index lookup
mi.loc["Oslo"]
# %% multi index object
mi.index
# %% multi columns
pd.DataFrame(np.arange(4).reshape(2, 2), columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
# %% stack
df.set_index("name")[["age"]].stack()
# %% transpose
df.T
# %% wide frame
pd.DataFrame(np.arange(60).reshape(2, 30))
# %% long frame
pd.DataFrame({"n": range(200)})
# %% long series
pd.Series(range(200))
# %% long text
pd.DataFrame({"t": ["x" * 100]})
# %% options
pd.set_option("display.max_rows", 4)
pd.DataFrame({"n": range(10)})
# %% option context
with pd.option_context("display.precision", 2):
    display(pd.DataFrame({"f": [1 / 3]}))
# %% reset
pd.reset_option("all")
# %% floats
pd.DataFrame({"f": [1.0, 1e10, 1e-5]})
# %% empty frame
pd.DataFrame()
# %% empty series
pd.Series(dtype=float)
# %% styled
df.style.hide(axis="index").to_html()[:6]
# %% print a frame
print(df)
# %% print a series
print(df.age)
# %% to string
print(df.to_string(index=False))
# %% to csv
df.to_csv("a.csv", index=False)
print(open("a.csv").read())
# %% read csv
pd.read_csv("a.csv")
# %% read csv text
import io

pd.read_csv(io.StringIO("a;b\n1;2"), sep=";")
# %% to json
df.to_json(orient="records")
# %% read json
pd.read_json(io.StringIO('[{"a": 1}]'))
# %% to dict
df.head(1).to_dict("records"), df.age.tolist()
# %% to html
pd.DataFrame({"a": [1]}).to_html()
# %% pickle
df.to_pickle("a.pkl")
pd.read_pickle("a.pkl").equals(df)
# %% iterrows
for i, r in df.iterrows():
    print(i, r["name"])
# %% itertuples
list(df.itertuples())
# %% eval
df.eval("age + 1")
# %% where and mask
df.age.where(df.age > 30), df.age.clip(30, 40)
# %% rank and cumsum
df.age.rank(), df.age.cumsum()
# %% corr
pd.DataFrame({"a": [1, 2, 3], "b": [2, 4, 6.5]}).corr()
# %% sample
df.sample(2, random_state=1)
# %% quantile
df.age.quantile([0.25, 0.5])
# %% duplicates
pd.concat([df, df]).drop_duplicates(), df.duplicated().any()
# %% rename
df.rename(columns={"age": "years"}).columns
# %% astype
df.age.astype(float), df.age.astype(str)
# %% to datetime
pd.to_datetime(["2024-01-02", "2024-03-04"]), pd.to_datetime(pd.Series(["2024-01-02"])).dt.month
# %% explode
pd.DataFrame({"a": [[1, 2], [3]]}).explode("a")
# %% nested
pd.json_normalize([{"a": {"b": 1}}])
# %% index
pd.Index([3, 1, 2]).sort_values(), pd.RangeIndex(3)
# %% copy warning
sub = df[df.age > 30]
sub["x"] = 1
sub
# %% chained assignment
df["age"][0] = 99
# %% display two
display(df.head(1))
display(df.tail(1))
# %% array
np.array([1, 2, 3])
# %% two dimensions
np.arange(12).reshape(3, 4)
# %% floats array
np.linspace(0, 1, 5)
# %% mixed magnitudes
np.array([1e-10, 1.0, 1e10])
# %% large array
np.arange(10000)
# %% large matrix
np.zeros((100, 100))
# %% dtype forms
np.array([1, 2], dtype="int8"), np.array([True]), np.array(["a", "bb"]), np.array([1 + 2j])
# %% scalars
np.float64(1.5), np.int64(3), np.bool_(True), np.str_("a"), np.float32(0.1)
# %% scalar alone
np.float64(2.5)
# %% scalar results
np.mean([1, 2]), np.sum([1, 2]), np.max([1.5])
# %% in a list
[np.array([1, 2]), np.float64(1)]
# %% in a dict
{"a": np.arange(3), "b": np.float64(0.5)}
# %% nested array in a tuple
(np.eye(2), np.zeros(3))
# %% array shape
np.zeros((2, 3)).shape, np.zeros(3).dtype, np.zeros(3).ndim
# %% structured
np.array([(1, "a")], dtype=[("n", int), ("s", "U1")])
# %% record array
np.rec.array([(1, 2.0)], dtype=[("x", int), ("y", float)])
# %% masked
np.ma.array([1, 2, 3], mask=[0, 1, 0])
# %% matrix
np.matrix([[1, 2]])
# %% datetime array
np.array(["2024-01-01"], dtype="datetime64[D]"), np.datetime64("2024-01-01"), np.timedelta64(1, "D")
# %% object array
np.array([{"a": 1}, None], dtype=object)
# %% boolean index
a = np.arange(5)
a[a > 2]
# %% fancy index
a[[0, 2]], a[::-1], a[-1]
# %% broadcasting
np.arange(3)[:, None] + np.arange(2)
# %% linear algebra
np.linalg.det(np.array([[1.0, 2], [3, 4]])).round(6), np.linalg.solve([[2.0, 0], [0, 4]], [2.0, 4])
# %% eigen
np.linalg.eigvals(np.diag([1.0, 2.0]))
# %% random
np.random.seed(0)
np.random.rand(2), np.random.randint(0, 9, 3)
# %% generator
rng = np.random.default_rng(42)
rng.normal(size=2), rng.integers(10, size=3), rng
# %% print options
np.set_printoptions(precision=3, suppress=True)
np.array([1 / 3, 1e-9])
# %% print options context
with np.printoptions(precision=1):
    print(np.array([0.123]))
# %% print options back
np.set_printoptions(precision=8, suppress=False)
np.array([1 / 3])
# %% print arrays
print(np.arange(3), np.eye(2))
# %% nan and inf
np.array([np.nan, np.inf, -np.inf]), np.nan, np.inf
# %% division warning
np.array([1, 0]) / np.array([0, 0])
# %% log warning
np.log(0)
# %% overflow warning
np.float32(1e38) * 10
# %% errstate
with np.errstate(all="ignore"):
    r = np.log(-1.0)
r
# %% ufunc
np.add, np.sin
# %% functions and modules
np.array, np.linalg, np.ndarray
# %% dtype
np.dtype("float64"), np.dtype([("a", int)])
# %% finfo
np.finfo(np.float32)
# %% poly
np.poly1d([1, 2, 3])
# %% print poly
print(np.poly1d([1, 2, 3]))
# %% meshgrid
np.meshgrid([1, 2], [3, 4])
# %% where and argmax
np.where([True, False], 1, 2), np.argmax([1, 3, 2]), np.unique([1, 1, 2], return_counts=True)
# %% save and load
np.save("a.npy", a)
np.load("a.npy")
# %% savetxt
np.savetxt("a.txt", [[1, 2]])
np.loadtxt("a.txt")
# %% memory view
memoryview(np.arange(3)), np.arange(3).tobytes()[:2]
# %% iterate
for row in np.eye(2):
    print(row)
# %% ellipsis index
np.arange(8).reshape(2, 2, 2)[..., 0]
# %% view and copy
b = a.view()
b[0] = 100
a
# %% config is text
type(np.__version__)
