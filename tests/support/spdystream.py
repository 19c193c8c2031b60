"""What moby/spdystream v0.5.1 writes: the output of its Framer, one frame a line, headers compressed in this order."""

SYN_ERROR = bytes.fromhex(
    "800300010000003d0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc6461c0c0c0c059"
    "0489c44c50e2663400000000ffff"
)
"""Stream 1: streamtype error, port 80, requestid 0."""
FIN_1 = bytes.fromhex("0000000101000000")
SYN_DATA = bytes.fromhex("800300010000001c00000003000000000000826ac51445350c542e25a29a05000000ffff")
"""Stream 3: streamtype data, port 80, requestid 0."""
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
DATA_3 = bytes.fromhex("0000000300000012474554202f20485454502f312e300d0a0d0a")
PING_1 = bytes.fromhex("800300060000000400000001")
SETTINGS = bytes.fromhex("800300040000000c000000010000000400000064")
WINDOW_UPDATE = bytes.fromhex("80030009000000080000000300010000")
FIN_3 = bytes.fromhex("0000000301000000")
HEADERS_3 = bytes.fromhex("800300080000001300000003022904619030b3218311000000ffff")
"""Stream 3: a = 1 and 2."""
RST_3 = bytes.fromhex("80030003000000080000000300000005")
GOAWAY = bytes.fromhex("80030007000000080000000000000000")

REPLY_1 = bytes.fromhex("800300020000000e000000016260606000000000ffff")
"""Compressed after the others; what one side writes first begins with the dictionary's checksum."""

FORWARD = SYN_ERROR + FIN_1 + SYN_DATA + DATA_3 + PING_1 + SETTINGS + WINDOW_UPDATE + FIN_3 + HEADERS_3 + RST_3 + GOAWAY
