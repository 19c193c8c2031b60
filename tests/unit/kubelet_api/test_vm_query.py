import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.vms.query import BadQuery, VmQuery, parse, position, token


def test_without_anything_the_living_are_listed() -> None:
    assert parse({}) == VmQuery(namespace="", name="", destroyed=False, limit=500, after=None)


def test_filters_are_read_and_what_is_not_ours_is_left_alone() -> None:
    found = parse({"namespace": "ns", "name": "web", "destroyed": "true", "limit": "7", "timeout": "30s"})
    assert found == VmQuery(namespace="ns", name="web", destroyed=True, limit=7)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"limit": "0"}, "limit"), ({"limit": "-1"}, "limit"), ({"limit": "1001"}, "limit"), ({"limit": "x"}, "limit"),
        ({"limit": "٣"}, "limit"), ({"limit": "9" * 100_000}, "limit"), ({"destroyed": "perhaps"}, "destroyed"),
        ({"continue": "!"}, "continue"), ({"continue": "AAAA"}, "continue"), ({"continue": "bnVsbA"}, "continue"),
        ({"continue": "WyJhIl0"}, "continue"), ({"continue": "ü"}, "continue"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_in_a_few_words(query: dict[str, str], named: str) -> None:
    with pytest.raises(BadQuery, match=f"^{named}: ") as found:
        parse(query)
    assert len(str(found.value)) < 200


@given(st.tuples(st.text(), st.text(), st.text(), st.text()))
def test_a_position_survives_its_token(after: tuple[str, str, str, str]) -> None:
    assert position(token(after)) == after


@given(st.text())
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        found = position(text)
    except BadQuery:
        return
    assert found is None or len(found) == 4
