"""What the counted answers say of the true cells, given how often the classifier takes one type for another.

A smear's composition is not that of the pictures the classifier was trained on, but how it answers a neutrophil is
taken to be the same (label shift). Then the answers y of a smear with true shares q are multinomial with p = C'q, where
the row C_i holds how a cell of type i is answered. C is known from as many images as the confusion matrix counts.
"""

import numpy as np
from numpy.typing import NDArray

# One cell's weight in all (Perks 1947), spread evenly over the answers of a row and over the types of a smear: what was
# never seen stays possible, the more so the fewer images there are. Chosen by measurement: docs/decisions/0035.
PRIOR = 1 / 8

CHAINS, BURN_IN, KEPT = 128, 16, 32
"""Of the sampler: chains side by side, steps of each that are thrown away and that are kept."""

_STEPS = 1_000  # of EM, at most; it ends when nothing moves
_STILL = 1e-8
_TINY = np.finfo(np.float64).tiny


def most_likely(
    answers: NDArray[np.integer], confusion: NDArray[np.integer], known: NDArray[np.integer] | int = 0
) -> NDArray[np.float64]:
    """True shares of the types under which the answers are likeliest, by expectation and maximisation.

    It is the maximum of the likelihood of p = C'q over the simplex: Saerens, Latinne and Decaestecker 2002 with answers
    in the place of probabilities. Where the inverse of C' (black box shift estimation, Lipton et al. 2018) gives shares
    that are all positive, it is that; else the inverse has negative shares and this has zeros.

    Args:
        answers: cells of the smear by predicted type, shape (..., 8); at least one of these or of ``known``.
        confusion: images by actual type (rows) and predicted type, shape (..., 8, 8). A row without images is taken to
            say nothing: every answer is as likely.
        known: further cells, by actual type, shape (..., 8).

    Returns:
        Fractions that sum to 1, shape (..., 8).
    """
    images = confusion.sum(axis=-1, keepdims=True)
    answered = np.where(images > 0, confusion, 1) / np.where(images > 0, images, confusion.shape[-1])
    # an answer that no image of any type got says nothing: it is taken for the type that it names
    unknown = answered.sum(axis=-2, keepdims=True) == 0
    answered = np.where(unknown, np.eye(confusion.shape[-1]), answered)
    cells = answers + known
    shares = (cells + 1) / (cells + 1).sum(axis=-1, keepdims=True)
    for _ in range(_STEPS):
        joint = shares[..., None] * answered
        actual_given_answer = joint / (joint.sum(axis=-2, keepdims=True) + _TINY)
        actual = (actual_given_answer * answers[..., None, :]).sum(axis=-1) + known
        moved = actual / cells.sum(axis=-1, keepdims=True)
        still = np.abs(moved - shares).max() < _STILL
        shares = moved
        if still:
            break
    return np.asarray(shares, dtype=np.float64)


def true_counts(
    answers: NDArray[np.integer],
    confusion: NDArray[np.integer],
    rng: np.random.Generator,
    chains: int = CHAINS,
    kept: int = KEPT,
    known: NDArray[np.integer] | None = None,
) -> NDArray[np.int64]:
    """Draws of how many cells of each type the smear truly has, from their posterior distribution.

    Gibbs sampling of three things in turn: which actual type each answer comes from, the shares, and the matrix. The
    rows of the matrix have Dirichlet distributions of the images that they were measured on, so what few images leave
    open is in the draws, beside the chance of the counts.

    Args:
        answers: cells by predicted type, shape (..., 8).
        confusion: images by actual and predicted type, shape (..., 8, 8).
        rng: of the draws; the same state gives the same draws.
        chains: side by side.
        kept: draws of each chain.
        known: further cells, by actual type, shape (..., 8).

    Returns:
        Cells by actual type, the known ones among them, shape (..., chains * kept, 8).
    """
    measured = np.asarray(confusion + PRIOR, dtype=np.float64)[..., None, :, :]
    matrix = _dirichlet(np.broadcast_to(measured, (*answers.shape[:-1], chains, *confusion.shape[-2:])), rng)
    counted = np.broadcast_to(answers[..., None, :], (*answers.shape[:-1], chains, answers.shape[-1]))
    seen = np.zeros_like(counted) if known is None else np.broadcast_to(known[..., None, :], counted.shape)
    shares = _dirichlet(counted + seen + PRIOR, rng)
    draws = []
    for step in range(BURN_IN + kept):
        joint = np.swapaxes(shares[..., :, None] * matrix, -1, -2)
        sources = rng.multinomial(counted, joint / joint.sum(axis=-1, keepdims=True))  # (..., predicted, actual)
        counts = sources.sum(axis=-2) + seen
        shares = _dirichlet(counts + PRIOR, rng)
        matrix = _dirichlet(measured + np.swapaxes(sources, -1, -2), rng)
        if step >= BURN_IN:
            draws.append(counts)
    return np.concatenate(draws, axis=-2)


def _dirichlet(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    drawn = rng.standard_gamma(weights) + _TINY  # of small weights all may round to zero
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True), dtype=np.float64)
