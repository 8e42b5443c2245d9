"""``train``: whatever of the graph is out of date."""

from prefect import flow

from bloodyspy.adapters import versioning
from bloodyspy.evaluation.comparison import Comparison, read_comparison
from pipelines import shown
from pipelines.project import project, step

reproduce = step(versioning.reproduce, "dvc repro")
push = step(versioning.push, "push to the remote", retries=2)


@flow(name="train")
def train() -> Comparison:
    """Run the stages of dvc.yaml that are out of date, push their outputs, and compare the candidates.

    Returns:
        The candidates, best first.
    """
    s, _ = project()
    reproduction = reproduce(s)
    push(s)
    comparison = read_comparison(s)
    shown.reproduction(reproduction)
    shown.comparison(comparison)
    return comparison
