"""The grammar of image references: ``github.com/distribution/reference``, regexp.go."""

import re

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII
)
_BARE_DIGEST = re.compile(r"[a-f0-9]{64}")
_LONGEST_PATH = 255
_LONGEST_REFERENCE = 1024


def reference_fault(reference: str) -> str:
    """What is wrong with an image reference, in the words a kubelet uses; empty when nothing is."""
    if not reference:
        return "repository name must have at least one component"
    if len(reference) > _LONGEST_REFERENCE:
        return f"invalid reference format: longer than {_LONGEST_REFERENCE} characters"
    if _BARE_DIGEST.fullmatch(reference):
        return f"invalid repository name ({reference}), cannot specify 64-byte hexadecimal strings"
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        lowercase = reference != reference.lower() and _REFERENCE.fullmatch(reference.lower())
        return "invalid reference format" + (": repository name must be lowercase" if lowercase else "")
    if len(match["path"]) > _LONGEST_PATH:
        return f"repository name must not be more than {_LONGEST_PATH} characters"
    return ""
