"""A scripted getty and shell on a serial line: bytes in, bytes and wishes out. No I/O, no clock."""

from enum import StrEnum


class Wish(StrEnum):
    """What somebody at the console asked the machine to do."""

    POWEROFF = "poweroff"
    REBOOT = "reboot"
    PANIC = "panic"


class _At(StrEnum):
    LOGIN = "login"
    PASSWORD = "password"  # noqa: S105 - a state's name
    SHELL = "shell"


_ERASE = (0x08, 0x7F)
_CTRL_C, _CTRL_D = 0x03, 0x04
_COMMANDS = {Wish.POWEROFF.value: Wish.POWEROFF, Wish.REBOOT.value: Wish.REBOOT, Wish.PANIC.value: Wish.PANIC}


def boot_lines(hostname: str) -> list[bytes]:
    """What the kernel and init say before the login prompt."""
    lines = (
        "SeaBIOS (version 1.16.3)",
        "Booting from Hard Disk...",
        "[    0.000000] Linux version 6.1.0-scripted (dev host, mode none) #1 SMP",
        "[    0.000000] Command line: console=ttyS0",
        "[    0.412345] virtio_net virtio0 eth0: link becomes ready",
        f"[    1.234567] systemd[1]: Hostname set to <{hostname}>.",
        "[  OK  ] Reached target multi-user.target - Multi-User System.",
    )
    return [f"{line}\r\n".encode() for line in lines]


class Terminal:
    """The line discipline and what sits behind it. Any user and any password are let in.

    The shell knows ``echo``, ``hostname``, ``exit`` and the three wishes; nothing else is there to run.
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._at = _At.LOGIN
        self._user = ""
        self._line = bytearray()
        self._after_return = False

    def banner(self) -> bytes:
        """What getty prints on a fresh line."""
        self._at = _At.LOGIN
        self._line.clear()
        return f"\r\nScripted Linux {self._hostname} ttyS0\r\n\r\n".encode() + self._prompt()

    def feed(self, data: bytes) -> tuple[bytes, list[Wish]]:
        """What the machine prints in answer to keys pressed, and what they made it do."""
        out, wishes = bytearray(), list[Wish]()
        for key in data:
            if key == 0x0A and self._after_return:  # CR LF is one Return
                self._after_return = False
                continue
            self._after_return = key == 0x0D
            out += self._key(key, wishes)
        return bytes(out), wishes

    def _key(self, key: int, wishes: list[Wish]) -> bytes:
        if key in (0x0A, 0x0D):
            return b"\r\n" + self._enter(wishes)
        if key in _ERASE:
            return self._erase()
        if key == _CTRL_C:
            self._line.clear()
            return b"^C\r\n" + self._prompt()
        if key == _CTRL_D:
            return b"\r\n" + self.banner() if self._at is _At.SHELL and not self._line else b""
        self._line.append(key)
        return b"" if self._at is _At.PASSWORD else bytes((key,))

    def _erase(self) -> bytes:
        if not self._line:
            return b""
        self._line.pop()
        return b"" if self._at is _At.PASSWORD else b"\b \b"

    def _enter(self, wishes: list[Wish]) -> bytes:
        line = self._line.decode(errors="replace").strip()
        self._line.clear()
        match self._at:
            case _At.LOGIN:
                self._user = line
                self._at = _At.PASSWORD if line else _At.LOGIN
                return self._prompt()
            case _At.PASSWORD:
                self._at = _At.SHELL
                return self._prompt()
            case _At.SHELL:
                return self._command(line, wishes)

    def _command(self, line: str, wishes: list[Wish]) -> bytes:
        word, _, rest = line.partition(" ")
        if word == "exit":
            return self.banner()
        if word in _COMMANDS:
            wishes.append(_COMMANDS[word])
            return b""
        answer = {"": "", "echo": f"{rest}\r\n", "hostname": f"{self._hostname}\r\n"}
        return answer.get(word, f"-sh: {word}: not found\r\n").encode() + self._prompt()

    def _prompt(self) -> bytes:
        match self._at:
            case _At.LOGIN:
                return f"{self._hostname} login: ".encode()
            case _At.PASSWORD:
                return b"Password: "
            case _At.SHELL:
                return f"{self._user}@{self._hostname}:~$ ".encode()
