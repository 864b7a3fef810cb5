"""upstash-ratelimit for Python: each algorithm lets through what it should, and says when to come back."""

import time

import pytest
from upstash_ratelimit import FixedWindow, Ratelimit, SlidingWindow, TokenBucket


@pytest.mark.parametrize(
    "limiter",
    [
        FixedWindow(max_requests=5, window=60),
        SlidingWindow(max_requests=5, window=60),
        TokenBucket(max_tokens=5, refill_rate=1, interval=60),
    ],
    ids=["fixed window", "sliding window", "token bucket"],
)
def test_the_limit_holds(redis, limiter):
    # A window that ends between two requests would let more of them through.
    time.sleep(max(0.0, 5 - (60 - time.time() % 60)) + 0.01)
    limit = Ratelimit(redis=redis, limiter=limiter, prefix="rl")
    answers = [limit.limit("ann") for _ in range(8)]
    assert [answer.allowed for answer in answers] == [True] * 5 + [False] * 3
    assert answers[0].limit == 5
    assert answers[0].remaining == 4
    assert answers[-1].reset > time.time()
    assert limit.limit("bob").allowed
    assert limit.get_remaining("ann") == 0


def test_a_window_ends(redis):
    limit = Ratelimit(redis=redis, limiter=FixedWindow(max_requests=1, window=1), prefix="short")
    time.sleep(1 - time.time() % 1)
    assert limit.limit("ann").allowed
    assert not limit.limit("ann").allowed
    assert limit.block_until_ready("ann", timeout=5).allowed
