"""What the process says of itself: logging set-up, and every metric declared in one place.

Anybody above may import this package; it imports nothing of ours.
"""
