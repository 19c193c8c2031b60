"""Hypothesis strategies for protocol messages: every field of every message, with values that hurt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

_Kind = FieldDescriptor
# No word here is a program, a user or a host of the machine the tests run on.
WORDS = st.sampled_from(["", "app", "app-2", "../../up", "a/b", "nul\0", "line\nbreak", "\u202e", "x" * 300, "sane"])
_UNSIGNED = (_Kind.CPPTYPE_UINT32, _Kind.CPPTYPE_UINT64)
_SIGNED = (_Kind.CPPTYPE_INT32, _Kind.CPPTYPE_INT64, _Kind.CPPTYPE_ENUM)
DEPTH = 4


def messages(kind: Descriptor, chosen: dict[str, st.SearchStrategy[Any]], depth: int = DEPTH) -> st.SearchStrategy[Any]:
    """Messages of this kind; ``chosen`` replaces the values of fields by their names (``Kind.field``)."""
    fields = {one.name: _field(one, chosen, depth) for one in kind.fields if depth or one.message_type is None}
    made: Callable[..., Any] = GetMessageClass(kind)
    one_of = {one.name for group in kind.oneofs for one in group.fields if len(group.fields) > 1}
    plain = {name: value for name, value in fields.items() if name not in one_of}
    alternatives = [(name, value) for name, value in fields.items() if name in one_of]
    choice: st.SearchStrategy[dict[str, Any]] = st.just({})
    if alternatives:
        choice = st.one_of(*[value.map(lambda one, name=name: {name: one}) for name, value in alternatives])
    return st.builds(lambda some, one: made(**some, **one), st.fixed_dictionaries({}, optional=plain), choice)


def _field(field: FieldDescriptor, chosen: dict[str, st.SearchStrategy[Any]], depth: int) -> st.SearchStrategy[Any]:
    own = chosen.get(f"{field.containing_type.name}.{field.name}")
    single = own if own is not None else _single(field, chosen, depth)
    return st.lists(single, max_size=3) if field.label == _Kind.LABEL_REPEATED else single


def _single(field: FieldDescriptor, chosen: dict[str, st.SearchStrategy[Any]], depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, chosen, depth - 1)
    if field.type == _Kind.TYPE_BYTES:
        return st.binary(max_size=20)
    if field.cpp_type == _Kind.CPPTYPE_STRING:
        return WORDS
    if field.cpp_type == _Kind.CPPTYPE_DOUBLE:
        return st.sampled_from([0.0, 0.001, -1.0, 1e300, float("inf"), float("nan")])
    if field.cpp_type == _Kind.CPPTYPE_BOOL:
        return st.booleans()
    most = 2**64 - 1 if field.cpp_type in (_Kind.CPPTYPE_UINT64, _Kind.CPPTYPE_INT64) else 2**32 - 1
    if field.cpp_type in _UNSIGNED:
        return st.sampled_from([0, 1, 2, 3, 1000, most // 2, most])
    assert field.cpp_type in _SIGNED
    return st.sampled_from([-1, 0, 1, 2, 3, 1000, most // 2])
