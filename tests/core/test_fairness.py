"""Virtual token counters: who is next, and how far anybody can get ahead."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.engine import Sampling
from wsserver.core.fairness import ANSWER_WEIGHT, FairQueue, prompt_estimate
from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord


def job(stream_id: str, owner: str, *, priority: int = 0, prompt: str = "x") -> Job:
    return Job(
        stream_id=stream_id,
        model_id="m",
        owner=owner,
        messages=None,
        raw=prompt,
        max_tokens=10,
        sampling=Sampling(),
        priority=priority,
    )


def push(queue: FairQueue, stream_id: str, owner: str, **more: object) -> None:
    priority = more.get("priority", 0)
    assert isinstance(priority, int)
    queue.push(job(stream_id, owner, priority=priority), StreamRecord(stream_id, "m", 0.0))


def serve(queue: FairQueue, tokens: float = 100.0) -> str:
    """Give the next job a slot, have it use tokens, and end it."""
    entry = queue.pop()
    assert entry is not None
    queue.charge(entry.job.owner, tokens * ANSWER_WEIGHT)
    queue.done(entry.job.owner)
    return entry.job.stream_id


def test_one_owner_is_served_in_order_of_arrival() -> None:
    """Equal priorities of one owner keep their order."""
    queue = FairQueue()
    for number in range(5):
        push(queue, f"a{number}", "a")
    assert [serve(queue) for _ in range(5)] == ["a0", "a1", "a2", "a3", "a4"]


def test_a_flood_delays_another_owner_by_one_turn_at_most() -> None:
    """Whoever has 500 requests waiting, a newcomer's single request is next."""
    queue = FairQueue()
    for number in range(500):
        push(queue, f"a{number}", "a")
    running = queue.pop()
    assert running is not None
    push(queue, "b", "b")
    assert serve(queue) == "b"


def test_a_returning_owner_has_not_banked_its_idleness() -> None:
    """After a pause an owner is lifted to those who worked meanwhile, and takes turns with them."""
    queue = FairQueue()
    push(queue, "b0", "b")
    serve(queue)
    for number in range(20):
        push(queue, f"a{number}", "a")
    for _ in range(10):
        serve(queue)
    for number in range(1, 6):
        push(queue, f"b{number}", "b")
    served = Counter(serve(queue)[0] for _ in range(8))
    assert served == {"a": 4, "b": 4}


def test_long_answers_count_more_than_short_ones() -> None:
    """Fairness is in tokens: who asks for ten times as much is served a tenth as often."""
    queue = FairQueue()
    for number in range(100):
        push(queue, f"long{number}", "long")
        push(queue, f"short{number}", "short")
    served: Counter[str] = Counter()
    for _ in range(55):
        entry = queue.pop()
        assert entry is not None
        owner = entry.job.owner
        served[owner] += 1
        queue.charge(owner, 1000.0 if owner == "long" else 100.0)
        queue.done(owner)
    assert served["short"] >= 9 * served["long"]


def test_priority_goes_before_fairness() -> None:
    """A higher priority is served first, whoever asks."""
    queue = FairQueue()
    push(queue, "low", "a")
    push(queue, "high", "a", priority=5)
    push(queue, "other", "b")
    assert [serve(queue) for _ in range(3)] == ["high", "other", "low"]


def test_what_was_begun_goes_ahead_of_its_owners_other_work() -> None:
    """A job put back after a crash does not lose its turn."""
    queue = FairQueue()
    push(queue, "a0", "a")
    push(queue, "a1", "a")
    begun = queue.pop()
    assert begun is not None
    queue.done("a")
    queue.push_front(begun.job, begun.record)
    assert serve(queue) == "a0"


def test_a_stopped_job_costs_its_owner_nothing() -> None:
    """Taking waiting jobs out leaves the owner where it was."""
    queue = FairQueue()
    push(queue, "b", "b")
    for number in range(100):
        push(queue, f"a{number}", "a")
    for number in range(99):
        assert queue.remove(f"a{number}")
    assert not queue.remove("a0")
    assert {serve(queue), serve(queue)} == {"a99", "b"}


def test_nothing_is_kept_of_owners_who_are_gone() -> None:
    """When nobody waits or runs, no row is left."""
    queue = FairQueue()
    for number in range(50):
        push(queue, f"s{number}", f"owner{number}")
        serve(queue)
    assert len(queue) == 0
    assert not queue._owners


Steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["push", "pop", "remove"])), max_size=60
)


@given(Steps)
def test_every_job_leaves_exactly_once(steps: list[tuple[str, str]]) -> None:
    """Whatever the order of arrivals, claims and removals, no job is lost or served twice."""
    queue = FairQueue()
    waiting: set[str] = set()
    for number, (owner, step) in enumerate(steps):
        if step == "push":
            push(queue, f"{owner}{number}", owner)
            waiting.add(f"{owner}{number}")
        elif step == "pop":
            entry = queue.pop()
            assert (entry is None) == (not waiting)
            if entry is not None:
                waiting.remove(entry.job.stream_id)
                queue.done(entry.job.owner)
        elif waiting:
            victim = min(waiting)
            assert queue.remove(victim)
            waiting.remove(victim)
    assert len(queue) == len(waiting)
    assert {entry.job.stream_id for entry in queue.in_order()} == waiting


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_places_in_line_begin_with_who_is_next(owners: list[str]) -> None:
    """The first of the told order is the one that is served first."""
    queue = FairQueue()
    for number, owner in enumerate(owners):
        push(queue, f"{owner}{number}", owner)
    first = next(iter(queue.in_order()))
    entry = queue.pop()
    assert entry is not None
    assert entry.job.stream_id == first.job.stream_id


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 1)), min_size=1, max_size=40))
def test_a_place_is_where_the_order_has_it(arrivals: list[tuple[str, int]]) -> None:
    """Each job's own place is its index in the whole order."""
    queue = FairQueue()
    for number, (owner, priority) in enumerate(arrivals):
        push(queue, f"{owner}{number}", owner, priority=priority)
        queue.charge(owner, 100.0 * number)
    order = [entry.job.stream_id for entry in queue.in_order()]
    assert [queue.place(stream_id) for stream_id in order] == list(range(1, len(order) + 1))


def test_an_estimate_grows_with_the_prompt() -> None:
    """A long prompt is charged at admission, before a tokenizer has counted it."""
    assert prompt_estimate(job("s", "a", prompt="x" * 4000)) > 1000
