"""Building what the development cluster's machines run: disks that boot, and application images with their registry.

Everything is made from Debian's packages, into the cache, by the recipes in ``images/``. ``catalogue`` is what others
use; below it ``builder`` and ``oci``, then a module for each step. Of the rest of ``devcluster`` it knows ``progress``.
"""
