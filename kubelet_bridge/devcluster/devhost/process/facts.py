"""What a guest tells of its operating system, which is this machine's."""

import os
import platform
import time

from kubelet_bridge.devcluster.devhost.process.places import Places
from kubelet_bridge.devcluster.devhost.runtime import Filesystem, GuestInfo


def guest_info(hostname: str, places: Places, agent_version: str) -> GuestInfo:
    """As of now; blocks."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    kernel = os.uname()
    disk = os.statvfs(places.directory)
    total = disk.f_blocks * disk.f_frsize
    zone = time.localtime()
    return GuestInfo(
        agent_version=agent_version,
        hostname=hostname,
        os_id=release.get("ID", "linux"),
        os_name=release.get("NAME", "Linux"),
        os_pretty_name=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        kernel_release=kernel.release,
        kernel_version=kernel.version,
        machine=kernel.machine,
        timezone=f"{zone.tm_zone}, {zone.tm_gmtoff}",
        filesystems=(Filesystem("overlay", "/", "overlay", used=total - disk.f_bavail * disk.f_frsize, total=total),),
    )
