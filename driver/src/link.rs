//! Ethernet frames: read, made, and matched to units.
//!
//! ```text
//!   | destination 6 | source 6 | 0, 1 or 2 tags of 4 | ethertype 2 | IP packet, ARP | padding |
//! ```
//!
//! Tags are IEEE 802.1Q (0x8100) or, outside, 802.1ad (0x88a8). What stands behind a third tag is not looked at. The
//! FCS is never seen here. IP packets end where their header says, so that Ethernet's padding is not taken for data.

use nat64_layout::{Reason, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN};

use crate::config::UnitLink;

/// A MAC address.
pub type Mac = [u8; 6];

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_HEADER: usize = 14;

/// A frame, read as far as its ethertype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Destination MAC address.
    pub destination: Mac,
    /// Source MAC address.
    pub source: Mac,
    /// VLAN ids, outer first.
    pub vlans: [Option<u16>; 2],
    /// Ethertype behind the tags.
    pub ethertype: u16,
    /// What follows; see [`ip_packet`] for padding.
    pub payload: &'a [u8],
}

const fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ
}

/// Reads a frame; `ShortFrame` when it ends before its ethertype does.
pub fn parse(frame: &[u8]) -> Result<Frame<'_>, Reason> {
    let half = |at: usize| {
        frame
            .get(at..at + 2)
            .map(|b| u16::from_be_bytes([b[0], b[1]]))
            .ok_or(Reason::ShortFrame)
    };
    let mac = |at: usize| {
        frame
            .get(at..at + 6)
            .and_then(|b| Mac::try_from(b).ok())
            .ok_or(Reason::ShortFrame)
    };
    let (destination, source) = (mac(0)?, mac(6)?);
    let mut vlans = [None; 2];
    let mut at = 12;
    let mut ethertype = half(at)?;
    for vlan in &mut vlans {
        if !is_tag(ethertype) {
            break;
        }
        *vlan = Some(half(at + 2)? & 0xfff);
        at += 4;
        ethertype = half(at)?;
    }
    Ok(Frame {
        destination,
        source,
        vlans,
        ethertype,
        payload: &frame[at + 2..],
    })
}

/// The IP packet at the start of `payload`, without what comes after the length its header tells. A header that tells
/// nonsense leaves the payload as it is: the translator refuses it by its own rules.
pub fn ip_packet(ethertype: u16, payload: &[u8]) -> &[u8] {
    let field = |at: usize| {
        payload
            .get(at..at + 2)
            .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    };
    let length = match ethertype {
        ETHERTYPE_IPV4 => field(2).filter(|&n| n >= 20),
        ETHERTYPE_IPV6 => field(4).map(|n| n + 40),
        _ => None,
    };
    length.and_then(|n| payload.get(..n)).unwrap_or(payload)
}

/// Ethertype of an IP packet by its version; `None` for neither 4 nor 6.
pub fn ethertype_of(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => None,
    }
}

/// Index of the unit that frames on `port` with these tags belong to.
pub fn unit_of(units: &[UnitLink], port: usize, vlans: [Option<u16>; 2]) -> Option<usize> {
    units
        .iter()
        .position(|unit| usize::from(unit.port) == port && unit.vlans == vlans)
}

/// A frame of these parts. Tags are 802.1Q ones.
pub fn build(destination: Mac, source: Mac, vlans: [Option<u16>; 2], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_HEADER + 8 + payload.len());
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&source);
    for vlan in vlans.into_iter().flatten() {
        frame.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
        frame.extend_from_slice(&(vlan & 0xfff).to_be_bytes());
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Source address of packets wrapped for a card when the link carries bare IP packets.
pub const fn raw_peer(port: usize) -> Mac {
    [2, 0, 0, 0, 0, port as u8]
}

/// Wraps a bare IP packet for a card's `port`: destination is the port's MAC address, source [`raw_peer`], VLAN tags
/// none. `None` when the packet is neither IPv4 nor IPv6.
pub fn raw_wrap(port: usize, port_mac: Mac, packet: &[u8]) -> Option<Vec<u8>> {
    Some(build(
        port_mac,
        raw_peer(port),
        [None; 2],
        ethertype_of(packet)?,
        packet,
    ))
}

/// The IP packet of a frame made for a bare link, without padding; `None` when the frame carries no IP packet.
pub fn raw_unwrap(frame: &[u8]) -> Option<&[u8]> {
    let frame = parse(frame).ok()?;
    match frame.ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Some(ip_packet(frame.ethertype, frame.payload)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 1, 1, 1, 1, 1];
    const B: Mac = [2, 2, 2, 2, 2, 2];

    #[test]
    fn frames_round_trip_with_0_1_and_2_tags() {
        for vlans in [[None, None], [Some(7), None], [Some(4094), Some(1)]] {
            let bytes = build(A, B, vlans, ETHERTYPE_IPV6, &[0x60, 1, 2]);
            let frame = parse(&bytes).expect("whole");
            let want = Frame {
                destination: A,
                source: B,
                vlans,
                ethertype: ETHERTYPE_IPV6,
                payload: &[0x60, 1, 2],
            };
            assert_eq!(frame, want);
            for cut in 0..bytes.len() - 3 {
                assert_eq!(parse(&bytes[..cut]), Err(Reason::ShortFrame), "{vlans:?} cut to {cut}");
            }
        }
    }

    #[test]
    fn service_tags_are_read_and_a_third_tag_is_an_ethertype() {
        let mut bytes = build(A, B, [Some(5), Some(6)], ETHERTYPE_VLAN, &[0, 7, 8, 0]);
        bytes[12..14].copy_from_slice(&ETHERTYPE_QINQ.to_be_bytes());
        bytes[14] |= 0xe0; // priority bits are no part of the id
        let frame = parse(&bytes).expect("whole");
        assert_eq!((frame.vlans, frame.ethertype), ([Some(5), Some(6)], ETHERTYPE_VLAN));
    }

    #[test]
    fn padding_is_cut_at_the_ip_length() {
        let mut four = vec![0x45; 46];
        four[2..4].copy_from_slice(&28u16.to_be_bytes());
        assert_eq!(ip_packet(ETHERTYPE_IPV4, &four).len(), 28);
        four[2..4].copy_from_slice(&60u16.to_be_bytes());
        assert_eq!(
            ip_packet(ETHERTYPE_IPV4, &four).len(),
            46,
            "too short for its length: left alone"
        );
        four[2..4].copy_from_slice(&3u16.to_be_bytes());
        assert_eq!(ip_packet(ETHERTYPE_IPV4, &four).len(), 46, "nonsense: left alone");
        let mut six = vec![0x60; 46];
        six[4..6].copy_from_slice(&4u16.to_be_bytes());
        assert_eq!(ip_packet(ETHERTYPE_IPV6, &six).len(), 44);
        assert_eq!(ip_packet(ETHERTYPE_IPV6, &[]).len(), 0);
    }

    #[test]
    fn units_match_port_and_all_tags() {
        let unit = |port, vlans| UnitLink {
            port,
            vlans,
            ..UnitLink::default()
        };
        let units = [
            unit(0, [None; 2]),
            unit(0, [Some(5), None]),
            unit(1, [Some(5), Some(6)]),
        ];
        assert_eq!(unit_of(&units, 0, [None; 2]), Some(0));
        assert_eq!(unit_of(&units, 0, [Some(5), None]), Some(1));
        assert_eq!(unit_of(&units, 1, [Some(5), Some(6)]), Some(2));
        assert_eq!(unit_of(&units, 1, [Some(5), None]), None);
        assert_eq!(unit_of(&units, 1, [None; 2]), None);
    }

    #[test]
    fn raw_packets_round_trip() {
        let mut packet = vec![0x45; 24];
        packet[2..4].copy_from_slice(&24u16.to_be_bytes());
        let mut frame = raw_wrap(1, A, &packet).expect("IPv4");
        assert_eq!((&frame[..6], &frame[6..12]), (&A[..], &raw_peer(1)[..]));
        frame.resize(60, 0);
        assert_eq!(raw_unwrap(&frame), Some(&packet[..]));
        assert_eq!(raw_wrap(0, A, &[0x30]), None);
        assert_eq!(raw_wrap(0, A, &[]), None);
        assert_eq!(raw_unwrap(&build(A, B, [None; 2], 0x0806, &[0; 28])), None);
    }
}
