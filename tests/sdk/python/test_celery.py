"""Celery with Dormouse as broker and as result backend: tasks, retries, countdowns, groups and chords."""

import os
import time

import pytest
from celery import Celery, chord, group
from celery.contrib.testing.worker import start_worker

app = Celery("tests")
app.conf.update(
    task_always_eager=False,
    broker_connection_retry_on_startup=True,
    result_expires=60,
    worker_hijack_root_logger=False,
)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@pytest.fixture
def worker(redis):
    app.conf.broker_url = app.conf.result_backend = os.environ["RESP_URL"] + "/0"
    with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR"):
        yield


def test_tasks(worker):
    assert add.delay(2, 3).get(timeout=20) == 5
    assert flaky.delay().get(timeout=20) == 2
    began = time.monotonic()
    assert add.apply_async((1, 1), countdown=1).get(timeout=20) == 2
    assert time.monotonic() - began >= 0.9
    assert group(add.s(n, n) for n in range(20)).apply_async().get(timeout=20) == [2 * n for n in range(20)]
    assert chord((add.s(n, 1) for n in range(10)), total.s()).apply_async().get(timeout=20) == 55
