"""The loop that makes the cluster match the intents: ports, planner (pure), executor, sync loop, status manager.

It knows the adapters only through ``ports`` (Protocols); ``daemon`` plugs them in. Only this package writes to the
cluster or to the store on behalf of Pods.
"""
