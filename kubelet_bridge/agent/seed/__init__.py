"""The NoCloud seed, read without cloud-init: for images whose boot must not wait for it (``seed`` on the command line).

``nocloud`` finds and reads the disk, ``userdata`` understands what is on it, ``apply`` does what of it the agent needs.
"""
