"""The process between the agent and one command: keeps log, terminal and exit code while agents come and go.

One per container, so it is small: no asyncio, no typing, no pathlib, no subprocess. ``main.run`` is its entry.
"""
