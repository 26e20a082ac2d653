//! Which sessions a `clear services sessions` or a packet means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat64_driver::GatewayConfig;
use nat64_host::config::SessionFilter;
use nat64_xlate::rfc6052::Pref64;
use nat64_xlate::SessionInfo;

fn inside(address: IpAddr, (prefix, length): (IpAddr, u8)) -> bool {
    let (a, b, width) = match (address, prefix) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
        _ => return false,
    };
    let length = u32::from(length).min(width);
    length == 0 || (a ^ b) >> (width - length) == 0
}

/// Whether a session is one the filter names. Source is the client, by its IPv6 address or by its pool address;
/// destination is the server, by its IPv4 address or as the client sees it.
pub fn matcher(filter: &SessionFilter, config: &GatewayConfig) -> impl Fn(&SessionInfo) -> bool {
    let filter = filter.clone();
    // A set of this name that does not exist has no sessions.
    let set = filter
        .service_set
        .as_ref()
        .map(|name| config.xlate.service_sets.iter().position(|s| s.name == *name));
    move |info: &SessionInfo| {
        let flow = &info.flow;
        let within = |prefix: &Option<(IpAddr, u8)>, addresses: [Option<IpAddr>; 2]| {
            prefix.is_none_or(|prefix| addresses.into_iter().flatten().any(|a| inside(a, prefix)))
        };
        let seen = Pref64::new(flow.pref64, flow.pref64_length)
            .ok()
            .map(|p| IpAddr::V6(p.embed(flow.remote.0)));
        set.is_none_or(|set| set == Some(flow.service_set))
            && within(
                &filter.source_prefix,
                [Some(flow.client.0.into()), Some(flow.pool.0.into())],
            )
            && within(&filter.destination_prefix, [Some(flow.remote.0.into()), seen])
            && filter.source_port.is_none_or(|port| port == flow.client.1)
            && filter.destination_port.is_none_or(|port| port == flow.remote.1)
            && filter.protocol.is_none_or(|protocol| protocol == flow.protocol)
    }
}

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
