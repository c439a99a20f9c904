"""Robust linear and logistic regression as scikit-learn estimators, over the study's own problems, method and oracles.

scikit-learn is not needed to use them and not imported; where it is installed they work in its pipelines and searches.
The radius is in the units of X: standardise X (and y) first, as the default step sizes assume.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import torch

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import iterate
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.newton import limit
from descent.papers.wdro.point import Point
from descent.papers.wdro.projected import Schedule, psgd
from descent.papers.wdro.regression import Regression, least_squares
from descent.papers.wdro.settings import PUBLIC

BLOCK = 25


class _Robust:
    """What both share: parameters as scikit-learn wants them, and the fit on a problem."""

    _kind = ""
    method: str
    epsilon: float
    decay: float
    steps: int
    batch: int
    samples: int
    step_size: float
    dual_step_size: float
    random_state: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"
        }

    def set_params(self, **params: Any) -> Any:
        """Change some of them; an unknown one raises SettingError."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise SettingError(f"{type(self).__name__}: unknown parameter `{name}`; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type=self._kind,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_class=False) if self._kind == "classifier" else None,
            regressor_tags=RegressorTags() if self._kind == "regressor" else None,
            input_tags=InputTags(),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coef_")

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        owner = type(self).__name__
        check(
            owner,
            PUBLIC,
            **{name: value for name, value in self.get_params().items() if value is not None and name in PUBLIC},
        )
        X, y = np.asarray(X), np.asarray(y)
        if X.ndim != 2 or y.shape != (len(X),) or len(X) < 2:
            raise SettingError(
                f"{owner}: X must be (n, d) and y (n,) with n of at least 2, got {X.shape} and {y.shape}"
            )
        X = X.astype(np.float32 if X.dtype == np.float32 else np.float64)
        if not np.isfinite(X).all():
            raise SettingError(f"{owner}: X must be finite")
        return X, y

    def _solve(
        self, problem: Regression | Classification, ball: float, lam: tuple[float, float, float], start: float
    ) -> None:
        """Fit and keep what was found."""
        self.n_features_in_ = problem.dimension
        if self.method == "exact":
            point, self.n_iter_ = limit(problem).point, 0
            point = Point(*(x[None] for x in point))
        else:
            streams = Streams("wdro")
            method = psgd(
                problem, [Schedule(self.epsilon, self.decay)], [self.random_state], streams, batch=self.batch,
                samples=self.samples, step_size=self.step_size, lam_step_size=self.dual_step_size, ball=ball, lam_low=lam[0],
                lam_start=lam[1], lam_high=lam[2], weight_start=start, block=BLOCK,
            )  # fmt: skip
            context = Context(torch.device("cpu"), streams, {})
            state, _ = iterate(context, "fit", method.init(), method, steps=self.steps, block=BLOCK)
            point, self.n_iter_ = Point(*(x[0] for x in state.point)), self.steps
        value, best = problem.worst_case(point)
        self.coef_, self.intercept_ = point.weight[0].numpy(), point.intercept[0].item()
        self.dual_, self.worst_case_risk_, self.best_dual_ = point.lam[0].item(), value[0].item(), best[0].item()

    def _linear(self, X: Any) -> np.ndarray:
        if not hasattr(self, "coef_"):
            raise SettingError(f"{type(self).__name__}: call fit before predict")
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise SettingError(f"{type(self).__name__}: X must be (n, {self.n_features_in_}), got {X.shape}")
        return X @ self.coef_ + self.intercept_


class RobustLinearRegression(_Robust):
    """Least squares against the worst law within `radius` (Wasserstein, squared cost on X, y fixed).

    method: "psgd", projected stochastic gradients with epsilon_k = epsilon (k + 1)^-decay; or "exact". After fit: coef_,
    intercept_, dual_ (lam), worst_case_risk_ (exact, at the best lam), best_dual_ (that lam), n_iter_.
    """

    _kind = "regressor"

    def __init__(
        self,
        radius: float = 0.1,
        *,
        method: str = "psgd",
        epsilon: float = 0.1,
        decay: float = 1.0,
        deviation: float | None = None,
        steps: int = 4000,
        batch: int = 16,
        samples: int = 16,
        step_size: float = 0.05,
        dual_step_size: float = 20.0,
        fit_intercept: bool = True,
        random_state: int = 0,
    ) -> None:
        self.radius, self.method, self.epsilon, self.decay, self.deviation = radius, method, epsilon, decay, deviation
        self.steps, self.batch, self.samples, self.step_size = steps, batch, samples, step_size
        self.dual_step_size, self.fit_intercept, self.random_state = dual_step_size, fit_intercept, random_state

    def fit(self, X: Any, y: Any) -> RobustLinearRegression:
        """X (n, d), y (n,) numbers. Raises SettingError, one sentence, before anything is computed."""
        X, y = self._checked(X, y)
        if y.dtype.kind not in "fiu" or not np.isfinite(y).all():
            raise SettingError("RobustLinearRegression: y must hold finite numbers")
        deviation = self.deviation or 3 * max(self.radius, 1e-3)
        x, y = torch.tensor(X), torch.tensor(y.astype(X.dtype))
        problem = Regression(x, y, float(self.radius), deviation, self.fit_intercept)
        ols = least_squares(problem)
        ball = max(1.0, 1.1 * math.hypot(ols.weight.norm().item(), ols.intercept.item()))
        low = 1.1 * ball**2
        start = max(5.0, 2 * low)
        self._solve(problem, ball, (low, start, 10 * start), 0.0)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,)."""
        return self._linear(X)

    def score(self, X: Any, y: Any) -> float:
        """R^2."""
        y = np.asarray(y, dtype=float)
        return float(1 - ((y - self.predict(X)) ** 2).sum() / ((y - y.mean()) ** 2).sum())


class RobustLogisticRegression(_Robust):
    """Logistic regression of two classes against the worst law within `radius`; labels may flip at `label_cost` each.

    label_cost: None keeps labels fixed. label_flip: how often the reference flips. The rest as RobustLinearRegression,
    and classes_.
    """

    _kind = "classifier"

    def __init__(
        self,
        radius: float = 0.1,
        *,
        method: str = "psgd",
        epsilon: float = 0.1,
        decay: float = 1.0,
        deviation: float | None = None,
        label_cost: float | None = None,
        label_flip: float = 0.1,
        steps: int = 4000,
        batch: int = 32,
        samples: int = 16,
        step_size: float = 0.3,
        dual_step_size: float = 100.0,
        fit_intercept: bool = True,
        random_state: int = 0,
    ) -> None:
        self.radius, self.method, self.epsilon, self.decay, self.deviation = radius, method, epsilon, decay, deviation
        self.label_cost, self.label_flip, self.steps, self.batch, self.samples = (
            label_cost,
            label_flip,
            steps,
            batch,
            samples,
        )
        self.step_size, self.dual_step_size = step_size, dual_step_size
        self.fit_intercept, self.random_state = fit_intercept, random_state

    def fit(self, X: Any, y: Any) -> RobustLogisticRegression:
        """X (n, d), y (n,) of two classes. Raises SettingError, one sentence, before anything is computed."""
        X, y = self._checked(X, y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) != 2:
            raise SettingError(f"RobustLogisticRegression: y must hold two classes, got {len(classes)}")
        self.classes_ = classes
        deviation = self.deviation or 3 * max(self.radius, 1e-3)
        x, signs = torch.tensor(X), torch.tensor((2 * codes - 1).astype(X.dtype))
        problem = Classification(
            x, signs, float(self.radius), deviation, self.label_cost, self.label_flip, self.fit_intercept
        )
        self._solve(problem, 5.0, (1.0, 10.0, 100.0), 0.01)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The log-odds of classes_[1], (n,)."""
        return self._linear(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, 2) in the order of classes_."""
        p = 0.5 * (1 + np.tanh(0.5 * self._linear(X)))
        return np.stack([1 - p, p], 1)

    def predict(self, X: Any) -> np.ndarray:
        """(n,) classes."""
        return self.classes_[(self._linear(X) > 0).astype(int)]

    def score(self, X: Any, y: Any) -> float:
        """Accuracy."""
        return float((self.predict(X) == np.asarray(y)).mean())
