"""Any message that the protocol can express, made from its descriptors; and what a guest would choose to do harm."""

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb

_NAMES = [
    "app", "web", "../../etc/passwd", "..", ".", "/", "a/b", "a\0b", "", "A", "x" * 300, "con\ntainer", "%2e%2e",
    "app.log",
]  # fmt: skip
_TEXTS = [
    *_NAMES,
    "CrashLoopBackOff",
    "OOMKilled",
    "Completed",
    "vmi-evil",
    "\u202e",
    "\x1b[31m",
    "\ud7ff",
    "'; DROP TABLE",
]
_text = st.one_of(st.sampled_from(_TEXTS), st.text(max_size=30), st.integers(0, 6000).map("x".__mul__))
_EDGES = [0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 1_700_000_000 * 10**9]

_SCALARS: dict[int, Callable[[], st.SearchStrategy[Any]]] = {
    FieldDescriptor.TYPE_STRING: lambda: _text,
    FieldDescriptor.TYPE_BYTES: lambda: st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\xff" * 20_000])),
    FieldDescriptor.TYPE_BOOL: st.booleans,
    FieldDescriptor.TYPE_UINT32: lambda: _number(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: lambda: _number(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: lambda: _number(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: lambda: _number(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_ENUM: lambda: st.integers(-5, 80),
    FieldDescriptor.TYPE_DOUBLE: st.floats,
}


def guest_messages() -> st.SearchStrategy[pb.GuestMessage]:
    """Any body with any fields, but a second Hello, which ends the stream whatever it holds."""
    bodies = pb.GuestMessage.DESCRIPTOR.oneofs_by_name["body"].fields
    return st.one_of([
        messages(body.message_type).map(lambda value, name=body.name: pb.GuestMessage(**{name: value}))
        for body in bodies if body.name != "hello"
    ])  # fmt: skip


def messages(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    """Any message of one type; every field is there or not, lists have a few items."""
    kind = GetMessageClass(descriptor)
    fields = {field.name: _values(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda found: _made(kind, descriptor, found))


def _made(kind: type[Message], descriptor: Descriptor, found: dict[str, Any]) -> Message:
    chosen = dict(found)
    for oneof in descriptor.oneofs:
        for field in [field.name for field in oneof.fields if field.name in chosen][1:]:
            del chosen[field]
    return kind(**chosen)


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    one = messages(field.message_type) if field.message_type is not None else _SCALARS[field.type]()
    return st.lists(one, max_size=4) if field.is_repeated else one


def _number(least: int, most: int) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from([one for one in _EDGES if least <= one <= most]), st.integers(least, most))
