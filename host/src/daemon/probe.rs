//! The packet that `test nat64` describes.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use super::dataplane::Probe;
use super::filter;
use crate::api::nat::TestPacket;
use crate::api::{ErrorBody, ErrorCode};

/// Longest payload of a described packet.
const MAX_PAYLOAD: u16 = 9000;

/// Makes the packet, with right checksums.
///
/// # Errors
/// [`ErrorCode::BadRequest`]: what cannot be.
pub fn build(asked: &TestPacket) -> Result<Probe, ErrorBody> {
    let bad = |text: String| ErrorBody::new(ErrorCode::BadRequest, text);
    let protocol = filter::protocol(&asked.protocol)?;
    if asked.length > MAX_PAYLOAD {
        return Err(bad(format!("`length` is at most {MAX_PAYLOAD}")));
    }
    let hops = asked.hop_limit.unwrap_or(64);
    let base = match (asked.source, asked.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), hops)
        }
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), hops)
        }
        _ => return Err(bad("source and destination are of different families".into())),
    };
    let payload = vec![0u8; usize::from(asked.length)];
    let mut packet = Vec::with_capacity(payload.len() + 60);
    let (from, to) = (asked.source_port, asked.destination_port);
    let built = match protocol {
        nat64_layout::Protocol::Tcp => {
            let mut tcp = base.tcp(from, to, 1, 65_535);
            if asked.flags.is_empty() {
                tcp = tcp.syn();
            }
            for flag in &asked.flags {
                tcp = match flag.to_ascii_lowercase().as_str() {
                    "syn" => tcp.syn(),
                    "ack" => tcp.ack(1),
                    "fin" => tcp.fin(),
                    "rst" => tcp.rst(),
                    "psh" => tcp.psh(),
                    _ => return Err(bad(format!("`{flag}` is no TCP flag: syn, ack, fin, rst, psh"))),
                };
            }
            tcp.write(&mut packet, &payload)
        }
        _ if !asked.flags.is_empty() => return Err(bad("only TCP has flags".into())),
        nat64_layout::Protocol::Udp => base.udp(from, to).write(&mut packet, &payload),
        nat64_layout::Protocol::Icmp if asked.source.is_ipv6() => {
            base.icmpv6_echo_request(from, 1).write(&mut packet, &payload)
        }
        // From outside an echo reply is what comes back to a mapping; its identifier is the pool's port.
        nat64_layout::Protocol::Icmp => base.icmpv4_echo_reply(from, 1).write(&mut packet, &payload),
    };
    built.map_err(|error| bad(format!("there is no such packet: {error}")))?;
    Ok(Probe {
        unit: asked.interface.clone(),
        packet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(protocol: &str, source: &str, destination: &str) -> TestPacket {
        TestPacket {
            card: None,
            interface: None,
            protocol: protocol.into(),
            source: source.parse().unwrap(),
            source_port: 40_000,
            destination: destination.parse().unwrap(),
            destination_port: 80,
            flags: Vec::new(),
            length: 10,
            hop_limit: None,
        }
    }

    #[test]
    fn packets_are_what_the_translator_reads() {
        for (protocol, source, destination) in [
            ("tcp", "2001:db8::1", "64:ff9b::c000:201"),
            ("udp", "2001:db8::1", "64:ff9b::c000:201"),
            ("icmp", "2001:db8::1", "64:ff9b::c000:201"),
        ] {
            let probe = build(&asked(protocol, source, destination)).unwrap();
            nat64_xlate::packet::Packet6::parse(&probe.packet).unwrap();
        }
        for protocol in ["tcp", "udp", "icmp"] {
            let probe = build(&asked(protocol, "192.0.2.1", "203.0.113.1")).unwrap();
            nat64_xlate::packet::Packet4::parse(&probe.packet).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(build(&asked("gre", "2001:db8::1", "2001:db8::2")).is_err());
        assert!(build(&asked("tcp", "2001:db8::1", "192.0.2.1")).is_err());
        let mut flags = asked("udp", "2001:db8::1", "2001:db8::2");
        flags.flags = vec!["syn".into()];
        assert!(build(&flags).is_err());
        let mut flags = asked("tcp", "2001:db8::1", "2001:db8::2");
        flags.flags = vec!["urgent".into()];
        assert!(build(&flags).is_err());
        let mut long = asked("udp", "2001:db8::1", "2001:db8::2");
        long.length = u16::MAX;
        assert!(build(&long).is_err());
    }
}
