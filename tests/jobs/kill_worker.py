"""A worker process for the kill tests: notes each run, fails some, and is killed whenever its parent likes."""

import asyncio
import logging
import os
import sys

import psycopg

from slaq.jobs import JobQueue
from slaq.jobs.runner import QueueWorker

queue = JobQueue()


@queue.work("k")
async def handler(job):
    async with await psycopg.AsyncConnection.connect(os.environ["KILL_DSN"], autocommit=True) as conn:
        await conn.execute("INSERT INTO kill_runs (job, attempt) VALUES (%s, %s)", [job.id, job.attempt])
    await asyncio.sleep(0.002)
    if job.data["n"] % 10 == 0:
        raise ValueError("one of those")


logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
asyncio.run(QueueWorker(queue, os.environ["KILL_DSN"], concurrency=8, polling_interval=0.1).run(asyncio.Event()))
