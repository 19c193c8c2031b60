"""The protocol between agent and bridge, generated from ``proto/`` by ``make proto``."""
