# usage: BENCH_REDIS_URL=... BENCH_JOBS=... celery_bench.py
import os
import subprocess
import sys
import time

from celery import group

from celery_tasks import count, noop

jobs = int(os.environ["BENCH_JOBS"])
pad = "x" * 270
start = time.monotonic()
group(noop.s(i, pad) for i in range(jobs)).apply_async()
print(f"celery_bulk {jobs / (time.monotonic() - start):.0f} jobs/s", flush=True)
worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "-P", "solo", "-l", "error",
                           "--without-gossip", "--without-mingle", "--without-heartbeat"], stdout=subprocess.DEVNULL)
deadline = time.monotonic() + 120
while not count.exists("bench:seconds"):
    if time.monotonic() > deadline:
        worker.terminate()
        sys.exit("celery did not end in time")
    time.sleep(0.05)
print(f"celery_drain {jobs / float(count.get('bench:seconds')):.0f} jobs/s", flush=True)
worker.terminate()
worker.wait()
