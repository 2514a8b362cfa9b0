"""The ledger keeps order and counts, whatever order disk, broker and pipeline act in."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_outbox import event

from edge.ledger import BEFORE_ALL, Ledger, Waiting

MEMORY, WINDOW, IN_FLIGHT = 6, 4, 7
"""More may be on its way than the window holds: they are independent of each other."""


class DiskAndBroker(RuleBasedStateMachine):
    """A disk that is a dict, a broker that acknowledges in any order, and what must hold.

    A batch is under way between `begin` and `commit`, or fails; meanwhile anything may happen,
    as it does between threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(MEMORY, WINDOW)
        self.disk: dict[int, Waiting] = {}
        self.batch: list[tuple[int, Waiting]] | None = None
        self.deleting: frozenset[int] = frozenset()
        self.flying: list[int] = []
        self.sent: set[int] = set()
        self.arrived: set[int] = set()

    @rule(events=st.integers(1, 4))
    def append(self, events: int) -> None:
        for _ in range(events):
            self.ledger.append(event(self.ledger.last + 1), now_s=float(self.ledger.last))

    @precondition(lambda self: self.batch is None)
    @rule()
    def begin(self) -> None:
        self.batch, self.deleting = self.ledger.batch(3), self.ledger.gone

    @precondition(lambda self: self.batch is not None)
    @rule(room=st.integers(0, 12))
    def commit(self, room: int) -> None:
        assert self.batch is not None
        self.disk.update(self.batch)
        for number in self.deleting:
            self.disk.pop(number, None)
        surplus = sorted(self.disk)[: max(len(self.disk) - room, 0)] if room else []
        for number in surplus:
            del self.disk[number]
        self.ledger.written([number for number, _ in self.batch], self.deleting)
        self.ledger.given_up(surplus)
        self.batch = None

    @precondition(lambda self: self.batch is not None)
    @rule()
    def fail(self) -> None:
        self.ledger.unwritable()
        self.batch = None

    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        held = self.ledger.take(min(most, IN_FLIGHT - len(self.flying)))
        numbers = [each.number for each in held]
        assert numbers == sorted(numbers)
        assert not set(numbers) & (set(self.flying) | self.arrived)
        if self.flying and numbers:
            assert numbers[0] > max(self.flying)
        assert [each.event.seq for each in held] == numbers
        self.flying += numbers

    @precondition(lambda self: self.flying)
    @rule(choice=st.integers(0, 99))
    def acknowledge(self, choice: int) -> None:
        number = self.flying.pop(choice % len(self.flying))
        self.arrived.add(number)
        self.ledger.acknowledge(number)

    @rule()
    def release(self) -> None:
        self.ledger.release()
        self.flying = []

    @rule()
    def refill(self) -> None:
        wanted = self.ledger.wanted
        if wanted is not None:
            after, up_to, most = wanted
            found = sorted(number for number in self.disk if after < number <= up_to)[:most]
            self.ledger.read((number, self.disk[number]) for number in found)

    @precondition(lambda self: self.batch is None)
    @rule()
    def damage(self) -> None:
        self.disk.clear()
        self.ledger.start_afresh()

    @invariant()
    def counts_add_up(self) -> None:
        assert self.ledger.depth >= 0
        assert self.ledger.unwritten <= MEMORY + max(WINDOW, IN_FLIGHT)
        # One that was dropped on its way may arrive all the same: then it counts as both.
        gone = self.ledger.depth + self.ledger.dropped
        assert self.ledger.last - len(self.arrived) <= gone <= self.ledger.last

    def teardown(self) -> None:
        if self.batch is not None:
            self.commit(room=0)
        self.release()
        before = len(self.arrived)
        depth, dropped = self.ledger.depth, self.ledger.dropped
        rest: list[int] = []
        while self.ledger.depth:
            self.refill()
            taken = [each.number for each in self.ledger.take(100)]
            if not taken:
                self.begin()
                self.commit(room=0)
            for number in taken:
                self.ledger.acknowledge(number)
            rest += taken
        assert rest == sorted(set(rest))
        assert not set(rest) & self.arrived
        assert len(rest) == depth
        assert self.ledger.dropped == dropped
        assert before + len(rest) + dropped >= self.ledger.last
        self.begin()
        self.commit(room=0)
        assert not self.disk


DiskAndBroker.TestCase.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestDiskAndBroker = DiskAndBroker.TestCase


def test_a_disk_that_takes_nothing_leaves_a_queue_in_memory() -> None:
    ledger = Ledger(3, WINDOW)
    for seq in range(1, 6):
        ledger.append(event(seq), 0.0)
        ledger.batch(10)
        ledger.unwritable()
    assert (ledger.depth, ledger.dropped, ledger.unwritten) == (3, 2, 3)
    assert [held.number for held in ledger.take(9)] == [3, 4, 5]
    for number in (3, 4, 5):
        ledger.acknowledge(number)
    assert (ledger.depth, ledger.gone) == (0, frozenset())


def test_what_an_earlier_process_left_comes_first_and_is_not_new() -> None:
    ledger = Ledger(9, WINDOW)
    ledger.append(event(1), 0.0)
    ledger.recount(2)
    assert ledger.take(9) == []  # those on disk are older
    assert ledger.wanted == (BEFORE_ALL, 0, WINDOW)
    ledger.read([(-1, Waiting(event(7), 0.0)), (0, Waiting(event(8), 0.0))])
    assert [held.number for held in ledger.take(9)] == [-1, 0, 1]
    assert ledger.last == 1


def test_what_is_too_old_is_dropped_from_memory() -> None:
    ledger = Ledger(9, WINDOW)
    for seq in (1, 2, 3):
        ledger.append(event(seq), float(seq))
    ledger.expire(2.5)
    assert (ledger.depth, ledger.dropped) == (1, 2)
    ledger.expire(99.0)
    assert (ledger.depth, ledger.dropped) == (0, 3)


def test_what_was_dropped_while_it_was_written_is_not_read_again() -> None:
    ledger = Ledger(3, 2)
    on_disk = {}

    def write(*, meanwhile: int = 0) -> None:
        batch = ledger.batch(9)
        for _ in range(meanwhile):
            ledger.append(event(ledger.last + 1), 0.0)
        on_disk.update(batch)
        ledger.written([number for number, _ in batch], ())

    for _ in range(2):
        ledger.append(event(ledger.last + 1), 0.0)
    write()
    for _ in range(3):
        ledger.append(event(ledger.last + 1), 0.0)
    write(meanwhile=1)
    assert (ledger.depth, ledger.dropped) == (5, 1), "the third was pushed out of a full memory"
    for held in ledger.take(2):
        ledger.acknowledge(held.number)
    assert ledger.wanted == (2, 5, 2)
    ledger.read((number, on_disk[number]) for number in (3, 4))
    assert [held.number for held in ledger.take(9)] == [4]
    assert ledger.depth == 3


def test_what_is_on_its_way_while_it_is_written_can_be_acknowledged() -> None:
    ledger = Ledger(9, 2)
    for seq in (1, 2, 3):
        ledger.append(event(seq), 0.0)
    batch = ledger.batch(9)
    assert [held.number for held in ledger.take(9)] == [1, 2, 3]
    ledger.written([number for number, _ in batch], ())
    for number in (1, 2, 3):
        ledger.acknowledge(number)
    assert (ledger.depth, ledger.gone) == (0, frozenset({1, 2, 3}))
