# Celery with its solo pool, results ignored. The worker; celery_bench.py submits and counts.
import os
import time

import redis
from celery import Celery

url = os.environ["BENCH_REDIS_URL"]
app = Celery("bench", broker=url)
app.conf.task_ignore_result = True
count = redis.Redis.from_url(url)
state = {"done": 0, "first": 0.0}


@app.task
def noop(seq, pad):
    if not state["first"]:
        state["first"] = time.monotonic()
    state["done"] += 1
    if state["done"] == int(os.environ["BENCH_JOBS"]):
        count.set("bench:seconds", time.monotonic() - state["first"])
