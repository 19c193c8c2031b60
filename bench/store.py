"""How long a save takes until it is on disk, with 1, 10 and 100 callers at the same time.

    python bench/store.py [--seconds 3] [--directory DIR]

Each caller saves one intent over and over, as the sync loop does. ``--directory`` chooses the disk that is measured.
Prints a table and writes ``bench/results/store.json``.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec

from kubelet_bridge.model.intent import Allocation, Intent, IntentStatus
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone

CALLERS = (1, 10, 100)
RESULTS = Path(__file__).parent / "results" / "store.json"
COLUMNS = ("callers", "saves/s", "p50 ms", "p99 ms", "max ms", "saves/transaction", "thread ms/transaction")


def _intent(number: int) -> Intent:
    return Intent(
        uid=f"00000000-0000-0000-0000-{number:012d}", id=f"dpl_{number:08d}", namespace="bench", name=f"web-{number}",
        vm_name=f"web-{number}", status=IntentStatus.RUNNING, allocation=Allocation(cpu=2, memory=1 << 30),
        accepted_at=datetime.now(UTC),
    )  # fmt: skip


async def _save_until(store: IntentStore, number: int, end: float, waits: list[float]) -> None:
    intent = _intent(number)
    for restarts in count(1):
        start = time.perf_counter()
        if start >= end:
            return
        intent = msgspec.structs.replace(intent, restart_count=restarts)
        await store.save(intent, reason="Bench", now=datetime.now(UTC))
        waits.append(time.perf_counter() - start)


async def _measure(directory: Path, callers: int, seconds: float) -> dict[str, Any]:
    transactions: list[float] = []
    waits: list[float] = []
    async with standalone(directory, observe=lambda _, spent, __: transactions.append(spent)) as database:
        store = await IntentStore.load(database)
        end = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(_save_until(store, number, end, waits))
    hundredths = quantiles(waits, n=100)
    return {
        "callers": callers,
        "saves/s": round(len(waits) / seconds),
        "p50 ms": round(hundredths[49] * 1000, 2),
        "p99 ms": round(hundredths[98] * 1000, 2),
        "max ms": round(max(waits) * 1000, 2),
        "saves/transaction": round(len(waits) / len(transactions), 1),
        "thread ms/transaction": round(sum(transactions) / len(transactions) * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    results = []
    for callers in CALLERS:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            results.append(asyncio.run(_measure(Path(directory), callers, options.seconds)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print("  ".join(f"{name:>10}" for name in COLUMNS))
    for result in results:
        print("  ".join(f"{result[name]:>{max(10, len(name))}}" for name in COLUMNS))


if __name__ == "__main__":
    main()
