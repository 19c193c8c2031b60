"""Which addresses a host has and gives away."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.devcluster.devhost.addresses import MAX_HOSTS, AddressPool, first_address, host_index, share
from kubelet_bridge.errors import Terminal, Transient

CIDR = "10.128.0.0/15"


def test_a_name_tells_the_share() -> None:
    assert [host_index(name) for name in ("dev-host-0", "dev-host-3", "host")] == [0, 3, 0]
    with pytest.raises(Terminal, match="at most 8"):
        host_index("dev-host-8")


def test_shares_do_not_overlap() -> None:
    shares = [share(CIDR, index) for index in range(MAX_HOSTS)]
    assert sum(one.num_addresses for one in shares) == ipaddress.ip_network(CIDR).num_addresses
    assert len(set(shares)) == MAX_HOSTS
    assert first_address(shares[0]) == "10.128.0.1"


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40))
def test_an_address_has_one_owner(owners: list[str]) -> None:
    pool = AddressPool(share(CIDR, 1))
    held: dict[str, str] = {}
    for owner in owners:
        if owner in held:
            pool.release(owner)
            del held[owner]
        else:
            held[owner] = pool.allocate(owner)
        assert len(set(held.values())) == len(held)
        assert all(pool.allocate(known) == address for known, address in held.items())


def test_an_address_comes_back_last() -> None:
    pool = AddressPool(ipaddress.IPv4Network("10.0.0.0/27"))  # 15 addresses beyond the reserved ones
    first = pool.allocate("a")
    pool.release("a")
    others = [pool.allocate(f"b{number}") for number in range(14)]
    assert first not in others
    assert pool.allocate("c") == first
    with pytest.raises(Transient, match="no free address"):
        pool.allocate("d")


def test_a_restart_gives_nobody_anothers_address() -> None:
    pool = AddressPool(share(CIDR, 0))
    pool.claim("a", "10.128.0.20")
    pool.claim("stranger", "192.0.2.1")
    assert pool.allocate("a") == "10.128.0.20"
    assert pool.allocate("b") == "10.128.0.21"
