"""Lock-out and rate limits on a clock that the test turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.serving import throttle
from bloodyspy.serving.throttle import Buckets, Lockout, SignIns, network


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_gives_a_minutes_requests_and_then_one_as_it_fills(clock: Clock) -> None:
    buckets = Buckets(60, clock)
    assert [buckets.take("anna") for _ in range(60)] == [0] * 60
    assert buckets.take("anna") == pytest.approx(1)
    assert buckets.take("bert") == 0
    clock.now += 0.5
    assert buckets.take("anna") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("anna") == 0
    assert buckets.take("anna") > 0
    clock.now += 10_000
    assert [buckets.take("anna") > 0 for _ in range(61)] == [False] * 60 + [True]


def test_no_limit_is_no_limit(clock: Clock) -> None:
    assert not any(Buckets(0, clock).take("anna") for _ in range(1000))


@given(st.integers(1, 1000), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_a_bucket_never_gives_more_than_it_holds_and_what_flowed_in(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(per_minute, clock)
    given = 0
    for pause in pauses:
        clock.now += pause
        given += buckets.take("anna") == 0
    assert given <= per_minute * (1 + sum(pauses) / 60) + 1e-6


def test_the_wait_doubles_up_to_its_longest_and_is_forgiven(clock: Clock) -> None:
    lockout = Lockout(3, clock)
    waits = []
    for _ in range(14):
        lockout.failed("anna")
        waits.append(lockout.wait("anna"))
        clock.now += lockout.wait("anna")
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert lockout.wait("anna") == 0
    clock.now += throttle.FORGIVEN_AFTER
    lockout.failed("anna")
    assert lockout.wait("anna") == 0


def test_what_is_kept_is_bounded(clock: Clock) -> None:
    lockout, buckets = Lockout(1, clock, kept=3), Buckets(1, clock, kept=3)
    for name in "abcd":
        lockout.failed(name)
        buckets.take(name)
    assert [lockout.wait(name) > 0 for name in "abcd"] == [False, True, True, True]
    assert [buckets.take(name) > 0 for name in "dcb"] == [True] * 3


def fail(sign_ins: SignIns, clock: Clock, times: int, name: str, address: str) -> None:
    for _ in range(times):
        clock.now += sign_ins.wait(name, address)
        sign_ins.failed(name, address)


def test_guesses_at_one_name_lock_the_guesser_and_not_the_user(clock: Clock) -> None:
    sign_ins = SignIns(clock)
    fail(sign_ins, clock, throttle.PAIR_FREE + 2, "anna", "192.0.2.1")
    assert sign_ins.wait("anna", "192.0.2.1") > 0
    assert sign_ins.wait("anna", "192.0.2.2") == 0
    assert sign_ins.wait("bert", "192.0.2.1") == 0


def test_guesses_from_everywhere_make_a_name_wait_where_it_never_was(clock: Clock) -> None:
    sign_ins = SignIns(clock)
    sign_ins.succeeded("anna", "192.0.2.1")
    for number in range(throttle.NAME_FREE + 5):
        sign_ins.failed("anna", f"198.51.100.{number}")
    assert sign_ins.wait("anna", "203.0.113.1") > 0
    assert sign_ins.wait("anna", "192.0.2.1") == 0
    assert sign_ins.wait("bert", "203.0.113.1") == 0


def test_guesses_at_many_names_lock_the_address_but_not_who_is_at_home_there(clock: Clock) -> None:
    sign_ins = SignIns(clock)
    sign_ins.succeeded("anna", "192.0.2.1")
    for number in range(throttle.ADDRESS_FREE + 3):
        sign_ins.failed(f"user{number}", "192.0.2.1")
    assert sign_ins.wait("somebody else", "192.0.2.1") > 0
    assert sign_ins.wait_at("192.0.2.1") > 0
    assert sign_ins.wait("anna", "192.0.2.1") == 0


def test_a_right_password_does_not_forgive_the_guesses_at_others(clock: Clock) -> None:
    sign_ins = SignIns(clock)
    for number in range(throttle.ADDRESS_FREE + 3):
        sign_ins.failed(f"user{number}", "192.0.2.1")
        sign_ins.succeeded("mallory", "192.0.2.1")
    assert sign_ins.wait("anna", "192.0.2.1") > 0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_who_is_behind_an_address(host: str, expected: str) -> None:
    assert network(host) == expected
