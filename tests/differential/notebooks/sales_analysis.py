# %%
"""Analysing the sales of a small shop."""
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
%matplotlib inline
# %%
pd.__version__.split(".")[0].isdigit()
# %%
rng = np.random.default_rng(7)
dates = pd.date_range("2023-01-01", "2023-12-31", freq="D")
products = ["tea", "coffee", "cake", "bread"]
sales = pd.DataFrame({
    "date": rng.choice(dates, 500),
    "product": rng.choice(products, 500, p=[0.3, 0.4, 0.2, 0.1]),
    "units": rng.integers(1, 10, 500),
})
sales.head()
# %%
prices = {"tea": 2.5, "coffee": 3.2, "cake": 4.75, "bread": 3.9}
sales["price"] = sales["product"].map(prices)
sales["revenue"] = sales.units * sales.price
sales.sample(5, random_state=0)
# %%
sales.info()
# %%
sales.describe()
# %%
sales.dtypes
# %%
sales.isnull().sum()
# %%
print(f"Total revenue: {sales.revenue.sum():,.2f}")
print(f"Best day: {sales.groupby('date').revenue.sum().idxmax():%d %B}")
# %%
by_product = sales.groupby("product").agg(units=("units", "sum"), revenue=("revenue", "sum")).sort_values("revenue")
by_product
# %%
by_product.plot(kind="barh", y="revenue", legend=False)
plt.xlabel("Revenue")
plt.title("Revenue by product")
# %%
monthly = sales.set_index("date").resample("MS").revenue.sum()
monthly
# %%
fig, ax = plt.subplots(figsize=(8, 3))
monthly.plot(ax=ax, marker="o")
ax.axhline(monthly.mean(), color="grey", ls="--")
ax.set(title="Monthly revenue", ylabel="EUR");
# %%
monthly.pct_change().round(3).head()
# %%
sales["weekday"] = sales.date.dt.day_name()
order = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
weekday = sales.pivot_table(index="weekday", columns="product", values="units", aggfunc="sum").reindex(order)
weekday
# %%
weekday.style.highlight_max(axis=0)
# %%
plt.imshow(weekday, aspect="auto", cmap="Blues")
plt.xticks(range(4), weekday.columns)
plt.yticks(range(7), weekday.index)
plt.colorbar()
plt.show()
# %%
top = sales.nlargest(3, "revenue")[["date", "product", "revenue"]]
top.to_dict("records")
# %%
sales.corr(numeric_only=True)
# %%
sales["size"] = pd.cut(sales.units, bins=[0, 3, 6, 9], labels=["small", "medium", "large"])
sales["size"].value_counts()
# %%
pd.crosstab(sales["product"], sales["size"], normalize="index").round(2)
# %%
def summary(group):
    return pd.Series({"n": len(group), "mean": group.revenue.mean()})
sales.groupby("product")[["revenue"]].apply(summary)
# %%
sales.to_csv("sales.csv", index=False)
!head -3 sales.csv | cut -c1-30
# %%
again = pd.read_csv("sales.csv", parse_dates=["date"])
again.shape == sales.shape, again.date.dtype
# %%
sales.loc[sales.revenue > 1000]
# %%
assert (sales.revenue >= 0).all(), "negative revenue"
# %%
sales["profit"]
# %%
sales.query("product == 'cake' and units > 8").sort_values("date").tail(3)
# %%
sales.revenue.plot.hist(bins=20); plt.axvline(sales.revenue.median(), color="r")
# %%
quartiles = sales.revenue.quantile([.25, .5, .75]); quartiles
# %%
display(quartiles.to_frame("value"))
print("done")
