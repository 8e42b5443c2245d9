"""Puts a candidate into params.yaml as a person would: nothing else in the file moves."""

import os
from pathlib import Path

import yaml

from bloodyspy.params import Candidate, load_params


def put_candidate(path: Path, name: str, candidate: Candidate, remark: str) -> bool:
    """Add a candidate to the end of ``candidates``, or put it in the place of the one of that name.

    Comments, order and layout of all else stay, byte for byte; a file without an end of its last line may get one. The
    file, or the one that a link leads to, is replaced whole or not at all.

    Args:
        path: params.yaml.
        name: of the candidate.
        remark: stands beside the name, as a comment; one line.

    Returns:
        Whether the file had to be changed.

    Raises:
        ParamsError: the file cannot be read, or would not be valid any more.
    """
    if load_params(path).candidates.get(name) == candidate:
        return False
    path = path.resolve()
    text = path.read_bytes().decode()  # as text its line ends would all become one kind
    end = "\r\n" if "\r\n" in text else "\n"
    fields = yaml.safe_dump(candidate.model_dump(), sort_keys=False, allow_unicode=True)
    entry = [f"  {name}:  # {remark}{end}", *(f"    {line}{end}" for line in fields.splitlines())]
    lines = text.splitlines(keepends=True)
    first, beyond = _place(text, name)
    if first == len(lines) and not lines[-1].endswith(("\r", "\n")):
        lines[-1] += end
    writing = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writing.write_bytes("".join([*lines[:first], *entry, *lines[beyond:]]).encode())
        load_params(writing)
        writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)
    return True


def _place(text: str, name: str) -> tuple[int, int]:
    """The lines of the candidate of that name, from and up to; an empty place after the last where there is none."""
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)  # it was read as Params before
    (candidates,) = (value for key, value in root.value if key.value == "candidates")
    for key, value in candidates.value:
        if key.value == name:
            return key.start_mark.line, _last_line(value) + 1
    end = _last_line(candidates) + 1
    return end, end


def _last_line(node: yaml.Node) -> int:
    """Where a node ends. A block's own end is where the next thing begins, after comments that belong to that."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _last_line(node.value[-1][1])
    return int(node.end_mark.line)
