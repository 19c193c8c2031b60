"""Why a system call failed, in the words of the C library: asyncio's own texts hold addresses instead."""

from __future__ import annotations

import os


def reason(error: OSError) -> str:
    """In small letters, as Go's programs print it: ``connection refused``."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
