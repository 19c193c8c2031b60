"""How an exec or attach ended, in the words of the error stream (cri-streaming ``exec.go``, ``status.go``).

From version 4 of the protocol on a metav1.Status as JSON; before, text, and nothing at all for success.
"""

from typing import Any

import msgspec

from kubelet_bridge.kubelet_api.ports import Ended

_LONGEST = 4096  # characters of a message; it may come from a guest


def status_json(ended: Ended) -> bytes:
    """A metav1.Status. Clients parse the exit code as an unsigned byte and insist on ``details`` (client-go v4.go)."""
    return msgspec.json.encode(_status(ended))


def status_text(ended: Ended) -> bytes:
    """The message alone; empty for success."""
    message: str = _status(ended).get("message", "")
    return message.encode()


def _status(ended: Ended) -> dict[str, Any]:
    if ended.error:
        message = f"Internal error occurred: {ended.error[:_LONGEST]}"
        return {
            "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500,
        }  # fmt: skip
    if ended.code == 0:
        return {"metadata": {}, "status": "Success"}
    code = ended.code if 0 < ended.code <= 255 else 255
    return {
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }  # fmt: skip
