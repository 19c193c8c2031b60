import os
import pwd
import stat
from pathlib import Path

import pytest

from kubelet_bridge.agent.marked import BEGIN, END
from kubelet_bridge.agent.sshkeys import KeysRefused, write_keys

UID = 54321


@pytest.fixture
def user(tmp_path: Path) -> pwd.struct_passwd:
    os.chown(tmp_path, UID, UID)
    return pwd.struct_passwd(("somebody", "x", UID, UID, "", str(tmp_path), "/bin/sh"))


def own(path: Path) -> None:
    os.lchown(path, UID, UID)


def test_keys_come_and_go_and_the_users_own_stay(user: pwd.struct_passwd, tmp_path: Path) -> None:
    path = tmp_path / ".ssh" / "authorized_keys"
    write_keys(user, ["ssh-ed25519 A"])
    assert path.read_text() == f"{BEGIN}\nssh-ed25519 A\n{END}\n"
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (UID, 0o600)
    assert (path.parent.stat().st_uid, stat.S_IMODE(path.parent.stat().st_mode)) == (UID, 0o700)
    path.write_text(f"mine\n{path.read_text()}also mine\n")
    write_keys(user, ["ssh-ed25519 B", "ssh-ed25519 C"])
    assert path.read_text() == f"mine\n{BEGIN}\nssh-ed25519 B\nssh-ed25519 C\n{END}\nalso mine\n"
    write_keys(user, [])
    assert path.read_text() == "mine\nalso mine\n"


def test_what_cloud_init_wrote_at_the_first_boot_goes_with_its_key(user: pwd.struct_passwd, tmp_path: Path) -> None:
    path = tmp_path / ".ssh" / "authorized_keys"
    path.parent.mkdir()
    path.write_text("mine\nssh-ed25519 A team\nssh-ed25519 B team\n")
    own(path.parent)
    own(path)
    write_keys(user, ["ssh-ed25519 A team", "ssh-ed25519 B team"])
    assert path.read_text() == f"mine\n{BEGIN}\nssh-ed25519 A team\nssh-ed25519 B team\n{END}\n"
    before = path.stat().st_ino
    write_keys(user, ["ssh-ed25519 A team", "ssh-ed25519 B team"])
    assert path.stat().st_ino == before, "nothing is written that is there"
    write_keys(user, ["ssh-ed25519 B team"])
    assert path.read_text() == f"mine\n{BEGIN}\nssh-ed25519 B team\n{END}\n"


@pytest.mark.parametrize("what", ["file link", "hard link", "directory link", "fifo", "somebody else's"])
def test_tricks_are_refused(user: pwd.struct_passwd, tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "authorized_keys").write_text("root's own")
    home = tmp_path / ".ssh"
    if what == "directory link":
        home.symlink_to(victim)
        own(home)
    else:
        home.mkdir()
        own(home)
    path = home / "authorized_keys"
    if what == "file link":
        path.symlink_to(victim / "authorized_keys")
    elif what == "hard link":
        own(victim / "authorized_keys")
        path.hardlink_to(victim / "authorized_keys")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "somebody else's":
        path.write_text("secret")
    with pytest.raises(KeysRefused):
        write_keys(user, ["ssh-ed25519 A"])
    assert (victim / "authorized_keys").read_text() == "root's own"


def test_a_line_is_one_line(user: pwd.struct_passwd) -> None:
    with pytest.raises(KeysRefused):
        write_keys(user, ["ssh-ed25519 A\nssh-ed25519 B"])
