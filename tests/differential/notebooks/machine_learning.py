# %%
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
from sklearn import datasets
from sklearn.model_selection import train_test_split
# %%
iris = datasets.load_iris(as_frame=True)
iris.keys()
# %%
df = iris.frame
df.head()
# %%
df.target.value_counts()
# %%
iris.target_names, iris.feature_names
# %%
df.groupby("target").mean()
# %%
X_train, X_test, y_train, y_test = train_test_split(iris.data, iris.target, random_state=0)
X_train.shape, X_test.shape
# %%
plt.scatter(df.iloc[:, 0], df.iloc[:, 1], c=df.target)
plt.xlabel(df.columns[0]); plt.ylabel(df.columns[1])
# %%
from sklearn.neighbors import KNeighborsClassifier
knn = KNeighborsClassifier(n_neighbors=1)
knn.fit(X_train, y_train)
# %%
knn.predict([[5, 2.9, 1, 0.2]])
# %%
print(f"Test score: {knn.score(X_test, y_test):.2f}")
# %%
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
pipe = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(max_iter=500))])
pipe
# %%
pipe.fit(X_train, y_train).score(X_test, y_test)
# %%
pipe.get_params()["model__max_iter"], pipe.named_steps
# %%
from sklearn.metrics import classification_report, confusion_matrix
print(classification_report(y_test, pipe.predict(X_test)))
# %%
confusion_matrix(y_test, pipe.predict(X_test))
# %%
from sklearn.model_selection import GridSearchCV, cross_val_score
cross_val_score(knn, iris.data, iris.target, cv=3).round(3)
# %%
grid = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3, 5]}, cv=3).fit(X_train, y_train)
grid.best_params_, round(grid.best_score_, 3)
# %%
grid.best_estimator_
# %%
pd.DataFrame(grid.cv_results_)[["params", "mean_test_score"]].round(3)
# %%
from sklearn.decomposition import PCA
p = PCA(2).fit(iris.data); p.explained_variance_ratio_.round(3), p
# %%
z = p.transform(iris.data); plt.scatter(*z.T, c=iris.target); plt.title("PCA");
# %%
from sklearn.cluster import KMeans
KMeans(3, n_init=1, random_state=0).fit(iris.data).cluster_centers_.round(1)
# %%
Ridge().predict([[1]])
# %%
LogisticRegression().fit([[1], [2]], [0, 0])
# %%
KNeighborsClassifier(n_neighbors="many").fit(X_train, y_train)
# %%
from sklearn.tree import DecisionTreeClassifier, export_text
tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(iris.data, iris.target)
print(export_text(tree))
# %%
tree.feature_importances_.round(2), tree.get_depth()
# %%
class Perceptron:
    def __init__(self, lr=0.1, epochs=5): self.lr, self.epochs = lr, epochs
    def fit(self, X, y):
        self.w = np.zeros(X.shape[1] + 1)
        self.errors = []
        for _ in range(self.epochs):
            wrong = 0
            for x, t in zip(X, y):
                d = self.lr * (t - self.predict(x)); self.w[1:] += d * x; self.w[0] += d; wrong += d != 0
            self.errors.append(int(wrong))
        return self
    def predict(self, x): return np.where(x @ self.w[1:] + self.w[0] >= 0, 1, -1)
pn = Perceptron().fit(iris.data.values[:100, :2], np.where(iris.target[:100] == 0, -1, 1)); pn.errors
# %%
plt.plot(pn.errors, marker="o")
# %%
pn.w.round(3)
