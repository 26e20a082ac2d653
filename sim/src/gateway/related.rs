//! Which sessions a packet means.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_xlate::SessionInfo;

/// Sessions that share the client (IPv6) or the pool address and server (IPv4) of a packet, and its port where the
/// packet is long enough to have one.
pub fn sessions_of(packet: &[u8]) -> impl Fn(&SessionInfo) -> bool {
    let octets4 = |at: usize| {
        packet
            .get(at..at + 4)
            .and_then(|b| <[u8; 4]>::try_from(b).ok())
            .map(Ipv4Addr::from)
    };
    let octets6 = |at: usize| {
        packet
            .get(at..at + 16)
            .and_then(|b| <[u8; 16]>::try_from(b).ok())
            .map(Ipv6Addr::from)
    };
    let port = |at: usize| packet.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let six = octets6(8).filter(|_| packet[0] >> 4 == 6);
    let four = octets4(12).zip(octets4(16)).filter(|_| packet[0] >> 4 == 4);
    // Behind a header without options or extensions; ICMP has the identifier in the place of no port.
    let port6 = port(40).filter(|_| packet.get(6).is_some_and(|p| [6, 17].contains(p)));
    let port4 = port(22).filter(|_| packet.get(9).is_some_and(|p| [6, 17].contains(p)));
    move |info: &SessionInfo| {
        let flow = &info.flow;
        six.is_some_and(|client| client == flow.client.0 && port6.is_none_or(|p| p == flow.client.1))
            || four.is_some_and(|(remote, pool)| {
                (remote, pool) == (flow.remote.0, flow.pool.0) && port4.is_none_or(|p| p == flow.pool.1)
            })
    }
}
