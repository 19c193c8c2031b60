"""What one connection may cost us. The draft has hardly any limits, and no way to announce them."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection. A breach ends it, one stream too many is refused.

    Attributes:
        streams: open at once; a port-forward takes two for each connection.
        control_frame: bytes of a control frame that is read; others are skipped and may have any length.
        headers: number of headers of a stream.
        header_bytes: their size when decompressed, names and values together.
        stream_buffer: bytes of one stream that wait to be read; more, and nothing is read from the connection.
        buffer: likewise of all streams together.
        send_buffer: bytes that wait to be sent, more or less; who has more to write waits.
        frame: the largest data frame we send, in bytes.
        idle: seconds without a byte in either direction, after which the connection ends.
        creation: seconds that a client may take to open the streams that belong together.
        linger: seconds to get rid of the last bytes when we end the connection.
        probe: seconds between our pings while the connection is not read, which alone would not show that it has died.
    """

    streams: int = 2048
    control_frame: int = 32 * 1024
    headers: int = 64
    header_bytes: int = 16 * 1024
    stream_buffer: int = 1024 * 1024
    buffer: int = 16 * 1024 * 1024
    send_buffer: int = 256 * 1024
    frame: int = 64 * 1024
    idle: float = 4 * 3600.0
    creation: float = 30.0
    linger: float = 10.0
    probe: float = 15.0
