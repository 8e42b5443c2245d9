"""How many pictures of nothing a model refuses."""

from collections import defaultdict

from bloodyspy.evaluation.intervals import wilson
from bloodyspy.evaluation.scores import NoCells
from bloodyspy.images import no_cells
from bloodyspy.images.preprocess import to_array
from bloodyspy.images.statistics import describe
from bloodyspy.model.classifier import Classifier
from bloodyspy.policy import Action

IMAGES = 200


def measure(classifier: Classifier, images: int = IMAGES, seed: int = 0) -> NoCells:
    """Draw pictures without a cell (:mod:`bloodyspy.images.no_cells`) and see what the policy makes of them."""
    actions: dict[str, list[Action]] = defaultdict(list)
    for kind, pixels in no_cells.draw(images, seed):
        (seen,) = classifier.observed([describe(pixels)], to_array(pixels, classifier.spec.input)[None])
        actions[kind].append(seen.verdict.action)
    every = [action for of_kind in actions.values() for action in of_kind]
    return NoCells(
        images=images,
        reject=wilson(every.count(Action.REJECT), images),
        auto=wilson(every.count(Action.AUTO), images),
        kinds={kind: of_kind.count(Action.REJECT) / len(of_kind) for kind, of_kind in actions.items()},
    )
