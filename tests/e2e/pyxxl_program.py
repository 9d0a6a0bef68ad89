"""An executor of our own on pyxxl, run as a process with the Python of a virtual environment of its own.

pyxxl is GPL: nothing of the gateway imports it, and this file is neither imported nor shipped.
The handlers are those of java/common/Handlers.java.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path

from pyxxl import ExecutorConfig, PyxxlRunner
from pyxxl.ctx import g


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--admin", required=True, help="base URL; pyxxl wants …/api/")
    parser.add_argument("--appname", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--logpath", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--counter", required=True)
    return parser.parse_args()


args = arguments()
config = ExecutorConfig(
    xxl_admin_baseurl=f"{args.admin}/api/",
    executor_app_name=args.appname,
    access_token=args.token or None,
    executor_url=f"http://127.0.0.1:{args.port}",
    executor_listen_host="127.0.0.1",
    executor_listen_port=args.port,
    executor_log_path=f"{args.logpath}/pyxxl.log",
    log_local_dir=args.logpath,
    dotenv_try=False,
    task_queue_length=10_000,  # its own 30 would refuse what a long outage has kept waiting
)
runner = PyxxlRunner(config)
failed_once: set[str] = set()


def count(event: str) -> None:
    run = g.xxl_run_data
    line = {
        "event": event,
        "handler": run.executorHandler,
        "jobId": run.jobId,
        "runId": run.logId,
        "param": run.executorParams,
        "shardIndex": run.broadcastIndex,
        "shardTotal": run.broadcastTotal,
        "startMs": time.time_ns() // 1_000_000,
        "pid": os.getpid(),
    }
    with Path(args.counter).open("a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")


@runner.register(name="okHandler")
async def ok() -> str:
    count("start")
    run = g.xxl_run_data
    g.logger.info("param: %s", run.executorParams)
    g.logger.info("shard %s of %s", run.broadcastIndex, run.broadcastTotal)
    g.logger.info('text: 任务执行中 😀🚀 <b>bold</b> & "quoted"')
    for line in range(1, 6):
        g.logger.info("step %s", line)
    g.logger.info("last line")
    return f"done {run.executorParams}"


@runner.register(name="failHandler")
async def fail() -> None:
    count("start")
    g.logger.info("about to fail")
    raise RuntimeError(f"failed on purpose: {g.xxl_run_data.executorParams}")


@runner.register(name="throwHandler")
async def throw() -> None:
    count("start")
    g.logger.info("about to throw")
    raise ValueError(f"thrown on purpose: {g.xxl_run_data.executorParams}")


@runner.register(name="sleepHandler")
async def sleep() -> str:
    count("start")
    millis = int(g.xxl_run_data.executorParams or 60_000)
    g.logger.info("sleeping %s", millis)
    try:
        await asyncio.sleep(millis / 1000)
    except asyncio.CancelledError:
        count("interrupt")
        raise
    count("end")
    return f"slept {millis}"


@runner.register(name="napHandler")
async def nap() -> str:
    count("start")
    g.logger.info("napping")
    await asyncio.sleep(3)
    count("end")
    return "napped"


@runner.register(name="flakyHandler")
async def flaky() -> str:
    count("start")
    param = g.xxl_run_data.executorParams
    if param not in failed_once:
        failed_once.add(param)
        g.logger.info("failing the first time")
        raise RuntimeError(f"first time: {param}")
    g.logger.info("better now")
    return f"second time: {param}"


runner.run_executor()
