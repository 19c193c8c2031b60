"""Which addresses a cluster must leave alone although no route names them."""

import ipaddress
from pathlib import Path

from kubelet_bridge.devcluster.network import free_range
from kubelet_bridge.devcluster.reserved import reserved


def test_name_servers_hosts_and_proxies_are_left_alone(tmp_path: Path) -> None:
    resolvers = tmp_path / "resolv.conf"
    resolvers.write_text("# nameserver 10.1.1.1\nsearch example.org\nnameserver 10.255.255.53\nnameserver fd00::53\n")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.130.0.7\tmirror\n::1 localhost\n")
    environment = {
        "HTTPS_PROXY": "http://user:word@10.140.0.9:3128",
        "no_proxy": "10.0.0.0/8",
        "http_proxy": "http://proxy:1",
    }
    found = reserved(environment, [resolvers, tmp_path / "absent"], hosts)
    assert {str(one.network_address) for one in found} == {"10.255.255.53", "127.0.0.1", "10.130.0.7", "10.140.0.9"}


def test_no_range_holds_a_reserved_address() -> None:
    nameserver = ipaddress.IPv4Network("10.255.255.53")
    ranges = {free_range(str(seed), [nameserver]) for seed in range(1000)}
    assert len(ranges) == 63
    assert all(not ipaddress.IPv4Network(one).overlaps(nameserver) for one in ranges)
