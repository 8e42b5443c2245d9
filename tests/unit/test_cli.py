"""What the command line says when it ends with an error."""

import errno
import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from rich.table import Table

from bloodyspy import cli
from bloodyspy.cli import terminal
from bloodyspy.errors import BloodySpyError

ROOT = Path(__file__).parents[2]


def said(error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "whole", lambda: fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_an_error_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "slides[a]/x.png, a[/b].png and :warning:.png are not there."
    assert said(BloodySpyError(sentence), monkeypatch, capsys) == f"error: {sentence}\n"


def test_no_word_of_somebody_else_moves_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(BloodySpyError("\x1b[1A\x1b[2Knothing\nhappened\x9b"), monkeypatch, capsys) == (
        "error: \\x1b[1A\\x1b[2Knothing\nhappened\\x9b\n"
    )
    table = Table("what", title="see [/ticket/12] \x1b[8m")
    table.add_row("a [/reason] with \x07")
    terminal.console.print(table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "see [/ticket/12] \\x1b[8m" in shown
    assert "a [/reason] with \\x07" in shown


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_words(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = said(OSError(number, "full", "slides[a]/state.npz"), monkeypatch, capsys)
    assert words.startswith("error: No space is left for slides[a]/state.npz. Free some and run the same command again")
    assert said(OSError(number, "full"), monkeypatch, capsys).startswith("error: No space is left. Free some")
    wrapped = RuntimeError("the storage does not answer")
    wrapped.__context__ = OSError(number, "full")
    assert said(wrapped, monkeypatch, capsys).startswith("error: No space is left. Free some")


def test_any_other_fault_of_the_system_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(cli, "whole", lambda: fail)
    with pytest.raises(OSError, match="broken"):
        cli.main()


def test_an_installed_package_adds_its_commands(tmp_path: Path) -> None:
    module = "import typer\napp = typer.Typer()\n@app.command()\ndef knock() -> None:\n    typer.echo('who is there')\n"
    (tmp_path / "guest.py").write_text(module + "@app.command()\ndef leave() -> None: ...\n")
    known = tmp_path / "guest-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text(f"[{cli.COMMANDS}]\nguest = guest:app\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "bloodyspy.cli", "knock"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "who is there\n", done.stderr


def test_the_entry_points_of_pyproject_are_applications() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][cli.COMMANDS]
    for name, place in declared.items():
        assert isinstance(EntryPoint(name, place, cli.COMMANDS).load(), typer.Typer)
