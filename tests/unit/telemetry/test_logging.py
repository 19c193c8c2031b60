import asyncio
import io
import logging
import threading

import msgspec
import pytest
import structlog

from kubelet_bridge.telemetry import logging as telemetry
from kubelet_bridge.telemetry.logging import LogFormat, bound, logging_to

log = structlog.get_logger("kubelet_bridge.test")


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_logger_event_and_values() -> None:
    stream = io.StringIO()
    with logging_to(stream, form=LogFormat.JSON):
        log.info("applied", vm="web-0", seconds=0.25)
    (line,) = lines_of(stream)
    assert line.pop("timestamp")
    assert line == {
        "level": "info", "logger": "kubelet_bridge.test", "event": "applied", "vm": "web-0", "seconds": 0.25,
    }  # fmt: skip


def test_bound_values_reach_records_of_libraries_too() -> None:
    stream = io.StringIO()
    with logging_to(stream, form=LogFormat.JSON), bound(pod="default/web-0", uid="u1"):
        logging.getLogger("some.library").warning("slow: %s", "reply")
        log.info("mine")
    theirs, ours = lines_of(stream)
    assert theirs["event"] == "slow: reply"
    assert (theirs["pod"], theirs["uid"]) == ("default/web-0", "u1")
    assert (ours["pod"], ours["uid"]) == ("default/web-0", "u1")


def test_tasks_do_not_see_each_others_values() -> None:
    stream = io.StringIO()

    async def one(name: str) -> None:
        with bound(pod=name):
            await asyncio.sleep(0)
            log.info("turn", of=name)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                group.create_task(one(name))

    with logging_to(stream, form=LogFormat.JSON):
        asyncio.run(both())
    assert [line["pod"] == line["of"] for line in lines_of(stream)] == [True, True]


@pytest.mark.parametrize("form", list(LogFormat))
def test_an_exception_is_printed_without_local_variables(form: LogFormat) -> None:
    stream = io.StringIO()

    def fail() -> None:
        local = "do-not-" + "print-me"
        raise ValueError(len(local))

    with logging_to(stream, form=form):
        try:
            fail()
        except ValueError:
            log.exception("failed")
    assert "ValueError: 15" in stream.getvalue()
    assert "in fail" in stream.getvalue()
    assert "do-not-print-me" not in stream.getvalue()


@pytest.mark.parametrize("form", list(LogFormat))
def test_secrets_are_hidden_by_key_and_by_form(form: LogFormat) -> None:
    stream = io.StringIO()
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0xxxx.c2lnbmF0dXJl"
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
    with logging_to(stream, form=form):
        log.info("one", token="opaque-1", headers={"Authorization": "opaque-2"}, secret_name="visible")
        log.info("two Bearer abcdef0123456789 %s", jwt, body=key.encode())
        logging.getLogger("lib").warning("three %s", "https://me:opaque-3@host/?token=opaque-4")
    text = stream.getvalue()
    for secret in ("opaque-", "abcdef0123456789", "eyJ", "MHcCAQEE"):
        assert secret not in text
    assert "visible" in text
    assert "https://me:" in text


def test_rendering_and_writing_are_not_done_by_the_caller() -> None:
    threads: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            threads.append(threading.current_thread().name)
            return super().write(text)

    with logging_to(Stream(), form=LogFormat.JSON):
        log.info("line")
    assert threads
    assert threading.current_thread().name not in threads


def test_a_stuck_reader_costs_lines_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "QUEUE_LIMIT", 2)
    stuck, free, drained = threading.Event(), threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            free.wait()
            if "third" in text:
                drained.set()
            return super().write(text)

    stream = Stuck()
    with logging_to(stream, form=LogFormat.JSON):
        log.info("first")
        stuck.wait()
        log.info("second")
        log.info("third")
        for _ in range(50):
            log.info("lost")
        free.set()
        drained.wait()
        log.info("last")
    lines = lines_of(stream)
    assert [line["event"] for line in lines] == ["first", "second", "third", "last"]
    assert lines[-1]["lines_lost_before"] == 50


def test_the_level_filters_ours_and_theirs() -> None:
    stream = io.StringIO()
    with logging_to(stream, level=logging.WARNING, form=LogFormat.JSON):
        log.info("no")
        logging.getLogger("lib").info("no")
        log.warning("yes")
    assert [line["event"] for line in lines_of(stream)] == ["yes"]


def test_leaving_restores_what_was_there() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with logging_to(io.StringIO()):
        assert list(root.handlers) != before[0]
    assert (list(root.handlers), root.level) == before
