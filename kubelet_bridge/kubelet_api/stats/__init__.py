"""Usage as a kubelet tells it: the summary API and the Prometheus endpoints, from figures that are given to them.

Everything that makes bytes is a pure function of ``model.usage.NodeUsage``; ``routes`` runs them on a thread.
"""
