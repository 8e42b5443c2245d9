"""MLflow, the tracking half: a fit is a run that grows while it trains and goes on after a kill."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from bloodyspy.adapters.registry import connect
from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset import manifest as manifests
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.errors import Pruned, RegistryError
from bloodyspy.model.artifact import sha256
from bloodyspy.model.provenance import DIRTY, git_commit
from bloodyspy.params import Candidate, Params
from bloodyspy.settings import Settings

# Finds the run of a fit again. The fit draws it at random: two people on one server never share a run by chance.
IDENTITY = "bloodyspy.fit"

_PARENT = "mlflow.parentRunId"  # the UI draws a run with this tag below its parent

_NAMES = {"seconds": "epoch_seconds"}


def recording(name: str, s: Settings, p: Params) -> AbstractContextManager["RunRecorder"]:
    """A recorder for :func:`bloodyspy.model.fits.fit` of one candidate.

    The run is started, or found and reopened, when the fit begins. It ends as FINISHED; as KILLED on an interrupt from
    the keyboard and on :class:`Pruned`; as FAILED on any other exception. After ``kill -9`` it stays RUNNING until the
    fit goes on.

    Raises:
        ParamsError: there is no such candidate.
        RegistryError: the tracking store does not answer or refuses.
    """
    return _until_its_end(RunRecorder(name, s, _facts(p.candidate(name), p), f"bloodyspy train {name}"))


def recording_study(name: str, s: Settings, p: Params) -> AbstractContextManager["RunRecorder"]:
    """A recorder for :func:`bloodyspy.model.tuning.tune`: the run above the runs of all trials.

    It begins and ends as the one of :func:`recording` does. Its parameters are those of the base candidate, its tags
    tell the space.

    Raises:
        ParamsError: there is no such study.
        RegistryError: the tracking store does not answer or refuses.
    """
    study = p.study(name)
    space = {f"space.{key}": domain.words for key, domain in study.space.items()}
    facts = _facts(p.candidate(study.candidate), p)
    return _until_its_end(RunRecorder(name, s, facts, f"bloodyspy tune {name}", space))


@contextlib.contextmanager
def _until_its_end(recorder: "RunRecorder") -> Iterator["RunRecorder"]:
    try:
        yield recorder
    except (KeyboardInterrupt, Pruned):
        recorder.end("KILLED")
        raise
    except BaseException:
        recorder.end("FAILED")
        raise
    recorder.end("FINISHED")


def _facts(candidate: Candidate, p: Params) -> dict[str, str]:
    return {**candidate.facts(), "input_size": str(p.inputs[candidate.input].size)}


class RunRecorder:
    """One run. Implements :class:`bloodyspy.model.training.Recorder`."""

    def __init__(
        self,
        name: str,
        s: Settings,
        facts: Mapping[str, str],
        command: str,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
    ) -> None:
        self._name, self._settings, self._facts, self._command = name, s, dict(facts), command
        self._own_tags = {"candidate": name, **(tags or {}), **({_PARENT: parent} if parent else {})}
        self._client: MlflowClient | None = None
        self._run_id: str | None = None

    @property
    def run_id(self) -> str:
        """The run, once begun."""
        if self._run_id is None:
            raise RegistryError(f"The run of {self._name} was not begun.")
        return self._run_id

    def child(self, name: str, facts: Mapping[str, str]) -> AbstractContextManager["RunRecorder"]:
        """A recorder of a run below this one, of the same candidate; ends as :func:`recording` says.

        Args:
            name: what the run is called.
            facts: its parameters, where they differ from those of this run.
        """
        tags = {"candidate": self._own_tags["candidate"]}
        return _until_its_end(
            RunRecorder(name, self._settings, {**self._facts, **facts}, self._command, tags, self.run_id)
        )

    def begin(self, identity: str) -> int:
        """Start the run of a fit, or reopen it; tells how many epochs it has.

        Args:
            identity: what the fit is known by. A run that carries it is the fit's run; without one, a run is created.
        """
        with self._translated():
            client = self._client = connect(self._settings)
            experiment = experiment_id(client, self._settings)
            found = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1)
            run = found[0] if found else client.create_run(experiment, tags={IDENTITY: identity}, run_name=self._name)
            self._run_id = run.info.run_id
            client.update_run(self.run_id, status="RUNNING")
            if not run.data.params:  # what a run began with stays, whoever goes on with it
                params = [Param(key, value) for key, value in self._facts.items()]
                client.log_batch(self.run_id, params=params, tags=self._tags())
            elif run.data.tags.get(_PARENT) != self._own_tags.get(_PARENT):  # the store has lost the run above
                client.set_tag(self.run_id, _PARENT, self._own_tags[_PARENT])
            if not run.inputs or not run.inputs.dataset_inputs:
                client.log_inputs(self.run_id, self._inputs())
            return self._epochs(run)

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch as one batch: fifty times cheaper than metric by metric."""
        now = time.time_ns() // 1_000_000
        with self._translated():
            logged = [Metric(_NAMES.get(key, key), value, now, number) for key, value in metrics.items()]
            self._connected.log_batch(self.run_id, metrics=logged)

    def numbers(self, metrics: Mapping[str, float]) -> None:
        """Log what belongs to no epoch, as one batch; told again, a number takes the place of the one before."""
        now = time.time_ns() // 1_000_000
        with self._translated():
            logged = [Metric(key, value, now, 0) for key, value in metrics.items()]
            self._connected.log_batch(self.run_id, metrics=logged)

    def end(self, status: str) -> None:
        """Close the run, where it was begun."""
        if self._run_id is not None:
            with self._translated():
                self._connected.set_terminated(self._run_id, status)

    @property
    def _connected(self) -> MlflowClient:
        if self._client is None:
            raise RegistryError(f"The run of {self._name} was not begun.")
        return self._client

    def _epochs(self, run: Run) -> int:
        if "val_loss" not in run.data.metrics:
            return 0
        return len(self._connected.get_metric_history(run.info.run_id, "val_loss"))

    def _tags(self) -> list[RunTag]:
        s = self._settings
        commit, lock = git_commit(s.root), s.root / "dvc.lock"
        tags = {
            **self._own_tags,
            "mlflow.source.name": self._command,
            "mlflow.source.type": "PROJECT",
            "mlflow.source.git.commit": commit.removesuffix(DIRTY),
            "git_dirty": str(commit.endswith(DIRTY)).lower(),
            "dvc_lock": sha256(lock) if lock.exists() else "none",
            "manifest_digest": manifests.digest(s.manifest),
            "data_version": data_version(s.root),
            "synthetic": str(read_dataset(s.data).synthetic).lower(),
        }
        return [RunTag(key, value) for key, value in tags.items()]

    def _inputs(self) -> list[DatasetInput]:
        """The two parts of the data that a fit sees, each with its number of pictures by class."""
        s = self._settings
        manifest = manifests.read_manifest(s.manifest)
        schema = [{"type": str(kind), "name": name, "required": True} for name, kind in manifest.dtypes.items()]
        inputs = []
        for part, context in (("train", "training"), ("validation", "validation")):
            counts = manifest.loc[manifest["part"] == part, "cell_type"].value_counts()
            by_class = {str(cell): int(counts.get(str(cell), 0)) for cell in CELL_TYPES}
            dataset = Dataset(
                name=f"{s.experiment}-{context}",
                digest=data_version(s.root),
                source_type="local",
                source=json.dumps({"uri": s.manifest.as_uri()}),
                schema=json.dumps({"mlflow_colspec": schema}),
                profile=json.dumps({"num_rows": sum(by_class.values()), **by_class}),
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
        return inputs

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as exc:
            raise RegistryError(
                f"MLflow at {self._settings.mlflow_place} did not take the run of {self._name}: {exc}. "
                "Correct BLOODYSPY_MLFLOW_URI or start the server; the same command then goes on from the last epoch."
            ) from exc


def experiment_id(client: MlflowClient, s: Settings) -> str:
    """The experiment of the settings, created where it is absent."""
    known = client.get_experiment_by_name(s.experiment)
    if known is not None:
        return str(known.experiment_id)
    s.state.mkdir(parents=True, exist_ok=True)
    served = str(s.mlflow_uri).startswith(("http://", "https://"))
    # A folder of this machine means nothing to a server elsewhere: it uses its own artefact root.
    place = None if served and str(s.mlflow_artifacts).startswith("file:") else s.mlflow_artifacts
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI then opens on the runs
    return str(client.create_experiment(s.experiment, artifact_location=place, tags=kind))
