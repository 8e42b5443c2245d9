"""How far confidence can be believed: calibration error, and the one temperature that mends it.

NumPy alone at import time: the service applies the temperature, only the evaluation fits it.
"""

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15
# The temperatures that are tried. On pictures without a single error the loss falls for ever as the temperature does:
# the lower bound then says how far so few pictures may sharpen an answer.
TEMPERATURES = (0.25, 4.0)

_SMALLEST = float(np.finfo(np.float32).tiny)


def expected_calibration_error(
    correct: NDArray[np.bool_], confidence: NDArray[np.floating], bins: int = ECE_BINS
) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by images (Guo et al. 2017).

    Args:
        correct: whether each prediction was right, shape (n,), n at least 1.
        confidence: probability of the predicted type, shape (n,), 0 to 1.
        bins: how many; 15 wherever a model is judged.

    Returns:
        A fraction, 0 to 1.
    """
    gaps = np.bincount(bin_of(confidence, bins), weights=correct - confidence.astype(np.float64))
    return float(min(np.abs(gaps).sum() / len(confidence), 1.0))


def bin_of(confidence: NDArray[np.floating], bins: int = ECE_BINS) -> NDArray[np.int64]:
    """The bin of the calibration error that each confidence falls into, counted from 0.

    Bins are open on the left, as in the paper: a confidence of exactly 1 belongs to the last.
    """
    return np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)


def log_loss(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Mean negative natural logarithm of the true type's probability.

    Args:
        labels: index of the true type, shape (n,), n at least 1.
        probabilities: shape (n, 8).
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(own, _SMALLEST, 1.0)).mean())


def tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """Soften (above 1) or sharpen (below 1) softmax probabilities: p^(1/T), each row renormalised.

    The same as softmax(logits / T), because logits are log-probabilities but for a constant of the row. The predicted
    type stays.

    Args:
        probabilities: shape (n, 8), rows sum to 1.
        temperature: above 0.
    """
    if temperature == 1:
        return np.asarray(probabilities, dtype=np.float32)
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def fit_temperature(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """The temperature at which :func:`tempered` probabilities have the smallest log loss (Guo et al. 2017).

    Args:
        labels: index of the true type, shape (n,), n at least 1; of pictures that trained nothing and judge nothing.
        probabilities: of the network at temperature 1, shape (n, 8).

    Returns:
        Within :data:`TEMPERATURES`.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logarithms = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    own = logarithms[np.arange(len(labels)), labels]

    def loss(inverse: float) -> float:
        return float((logsumexp(logarithms * inverse, axis=1) - own * inverse).mean())

    # In the inverse temperature the loss is convex: the one minimum within the bounds is the minimum.
    low, high = TEMPERATURES
    found = minimize_scalar(loss, bounds=(1 / high, 1 / low), method="bounded", options={"xatol": 1e-6})
    return float(np.clip(1 / found.x, low, high))
