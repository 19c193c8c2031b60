"""What is to go wrong, and for whom."""

from pathlib import Path

import pytest

from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.faults import Fault, FaultKind, check_target, effects, from_image
from kubelet_bridge.errors import Terminal


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ("fault.test/crash-after-5:1", Fault(FaultKind.CRASH, after=5)),
        ("fault.test/containerdisks/shutdown-after-0.5", Fault(FaultKind.SHUTDOWN, after=0.5)),
        ("fault.test/pull-error@sha256:00", Fault(FaultKind.PULL_ERROR)),
        ("fault.test/never-ready", Fault(FaultKind.NEVER_READY)),
        ("fault.test/hang:latest", Fault(FaultKind.HANG)),
        ("fault.test/unschedulable", None),
        ("fault.test/debian:12", None),
        ("quay.io/pull-error", None),
        ("nginx", None),
    ],
)
def test_an_image_may_ask_for_a_fault(image: str, fault: Fault | None) -> None:
    assert from_image(image) == fault


def test_rules_and_images_add_up_and_the_earlier_wins() -> None:
    rules = [Fault(FaultKind.CRASH, "shop/web-*", after=3, id="a"), Fault(FaultKind.HANG, "*/db", id="b")]
    found = effects(rules, "shop", "web-0", ["fault.test/crash-after-9", "fault.test/never-ready"])
    assert found.crash == rules[0]
    assert (found.never_ready, found.hang, found.pull_error, found.shutdown) == (True, False, False, None)
    assert effects(rules, "other", "db", []).hang
    assert effects(rules, "other", "web-0", []).crash is None


def test_a_target_may_leave_the_namespace_out() -> None:
    assert check_target("web-*") == "*/web-*"
    assert check_target("shop/web") == "shop/web"
    for wrong in ("", "a/b/c", "/web", "shop/"):
        with pytest.raises(Terminal):
            check_target(wrong)


async def test_the_book_outlives_the_host(tmp_path: Path) -> None:
    spent, told = list[str](), list[int]()

    async def tell(rule: Fault) -> None:
        spent.append(rule.id)

    book = FaultBook(tmp_path / "run" / "faults.json", tell)
    await book.load()
    book.subscribe(lambda: told.append(len(book.rules)))
    once = Fault(FaultKind.CRASH, once=True, id="a")
    await book.set(once)
    await book.set(Fault(FaultKind.UNSCHEDULABLE, id="b"))
    assert book.unschedulable
    for _ in range(2):
        await book.used(once)
    assert (told, spent) == ([1, 2, 1], ["a"])
    again = FaultBook(tmp_path / "run" / "faults.json", tell)
    await again.load()
    assert [rule.id for rule in again.rules] == ["b"]
    assert (await again.clear(), await again.clear("b")) == (1, 0)
    assert not again.unschedulable
