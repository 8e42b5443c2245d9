"""What the command line says when it ends with an error."""

import errno

import pytest

from bloodyspy import cli
from bloodyspy.errors import BloodySpyError


def said(error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_an_error_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "slides[a]/x.png, a[/b].png and :warning:.png are not there."
    assert said(BloodySpyError(sentence), monkeypatch, capsys) == f"error: {sentence}\n"


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

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="broken"):
        cli.main()
