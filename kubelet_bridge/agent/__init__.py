"""The in-guest agent, shipped into VMs as a single file. Nothing yet.

Imports nothing of the rest but the generated protocol; nothing imports it.
"""
