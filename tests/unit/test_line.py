"""Whose picture is next, and how much is let in."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.errors import Overloaded, UnreadableImage
from bloodyspy.serving.house import House
from bloodyspy.serving.line import AT_ONCE, Asked, Line

ONE, OTHER = object(), object()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def asked(loop: asyncio.AbstractEventLoop, pictures: int, model: object = ONE, name: str = "request-1") -> Asked:
    return Asked(model, [f"{name} {i}".encode() for i in range(pictures)], name, loop.create_future())  # type: ignore[arg-type]


def drained(line: Line) -> list[list[tuple[str, int]]]:
    """What one thread after the other takes until nobody waits."""
    pieces = []
    while taken := line.take():
        pieces.append([(one.asked.request_id, one.place) for one in taken])
        line.done()
    return pieces


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 4), st.data())
def test_every_picture_is_taken_once_and_each_request_in_its_order(
    sizes: list[int], threads: int, data: st.DataObject
) -> None:
    line = Line(threads)
    with closing(asyncio.new_event_loop()) as loop:
        for number, size in enumerate(sizes):
            line.join(asked(loop, size, data.draw(st.sampled_from((ONE, OTHER))), f"request-{number}"))
        pieces = drained(line)
    assert line.waiting == 0
    assert all(1 <= len(piece) <= AT_ONCE for piece in pieces)
    flat = [one for piece in pieces for one in piece]
    for number, size in enumerate(sizes):
        assert [place for name, place in flat if name == f"request-{number}"] == list(range(size))
    assert len(flat) == sum(sizes)


def test_a_small_request_passes_a_large_one_by(loop: asyncio.AbstractEventLoop) -> None:
    line = Line(1)
    line.join(asked(loop, 256, name="large"))
    line.take()
    line.done()
    line.join(asked(loop, 1, name="small"))
    assert ("small", 0) in drained(line)[0]


def test_two_idle_threads_share_what_waits(loop: asyncio.AbstractEventLoop) -> None:
    line = Line(2)
    line.join(asked(loop, 1))
    line.join(asked(loop, 1))
    assert [len(line.take()), len(line.take()), len(line.take())] == [1, 1, 0]
    line.done()
    line.join(asked(loop, 3))
    assert len(line.take()) == 3  # the other thread is busy


def test_models_are_not_mixed(loop: asyncio.AbstractEventLoop) -> None:
    line = Line(1)
    line.join(asked(loop, 3, ONE, "before"))
    line.join(asked(loop, 3, OTHER, "after"))
    for piece in drained(line):
        assert len({name for name, _ in piece}) == 1


def test_who_has_gone_waits_no_longer(loop: asyncio.AbstractEventLoop) -> None:
    line = Line(1)
    gone, stays = asked(loop, 20, name="gone"), asked(loop, 2, name="stays")
    line.join(gone)
    line.take()
    line.done()
    line.join(stays)
    line.leave(gone)
    line.leave(gone)
    assert line.waiting == 2
    assert drained(line) == [[("stays", 0), ("stays", 1)]]


def test_a_request_is_complete_once(loop: asyncio.AbstractEventLoop) -> None:
    line = Line(1)
    both = asked(loop, 9)
    line.join(both)
    first, last = line.take(), line.take()
    assert line.settle(last, [UnreadableImage("the last")] * len(last)) == []
    assert line.settle(first, [UnreadableImage("the first")] * len(first)) == [both]
    assert [str(both.outcomes[place]).count("last") for place in range(9)] == [0] * 8 + [1]


def test_the_house_is_full_at_each_of_its_limits_and_empties_again() -> None:
    house = House(requests=2, pictures=10, size=100)
    with house.visit() as first, house.visit() as second:
        first.arrived(60)
        with pytest.raises(Overloaded):
            second.arrived(41)
        second.arrived(40)
        with pytest.raises(Overloaded), house.visit():
            raise AssertionError("no body is read where there is no room for it")
    assert (house.requests, house.pictures, house.size) == (0, 0, 0)
    with house.visit() as first, house.visit() as second, house.visit() as third:
        first.wait(8)
        with pytest.raises(Overloaded):
            second.wait(3)
        second.wait(1)
        with pytest.raises(Overloaded):
            third.wait(1)
        with pytest.raises(Overloaded), house.visit():
            raise AssertionError
    assert (house.requests, house.pictures, house.size) == (0, 0, 0)


def test_a_slow_body_keeps_nobody_from_waiting() -> None:
    house = House(requests=1)
    with house.visit() as slow, house.visit() as quick:
        slow.arrived(10)
        quick.arrived(10)
        quick.wait(1)
