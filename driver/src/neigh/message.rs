//! The messages of ARP (RFC 826) and neighbour discovery (RFC 4861), written and read.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_xlate::checksum;

use super::is_unicast;
use crate::link::Mac;

pub(super) const ARP_REQUEST: u16 = 1;
pub(super) const ARP_REPLY: u16 = 2;
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
pub(super) const OPTION_SOURCE: u8 = 1;
pub(super) const OPTION_TARGET: u8 = 2;
pub(super) const ICMPV6: u8 = 58;

pub(super) fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; 28] {
    let mut message = [0; 28];
    message[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    message[6..8].copy_from_slice(&operation.to_be_bytes());
    message[8..14].copy_from_slice(&sender.0);
    message[14..18].copy_from_slice(&sender.1.octets());
    message[18..24].copy_from_slice(&target.0);
    message[24..28].copy_from_slice(&target.1.octets());
    message
}

pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(super) const FLAG_ROUTER: u8 = 0x80;
pub(super) const FLAG_SOLICITED: u8 = 0x40;
pub(super) const FLAG_OVERRIDE: u8 = 0x20;

pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000 | u128::from(address) & 0xff_ffff)
}

pub(super) fn multicast_mac(group: Ipv6Addr) -> Mac {
    let o = group.octets();
    [0x33, 0x33, o[12], o[13], o[14], o[15]]
}

/// An IPv6 packet with a solicitation or advertisement and one link-layer address option.
pub(super) fn discovery(
    kind: u8,
    flags: u8,
    from: Ipv6Addr,
    to: Ipv6Addr,
    target: Ipv6Addr,
    option: (u8, Mac),
) -> [u8; 72] {
    let mut packet = [0; 72];
    packet[0] = 0x60;
    packet[5] = 32;
    packet[6] = ICMPV6;
    packet[7] = 255;
    packet[8..24].copy_from_slice(&from.octets());
    packet[24..40].copy_from_slice(&to.octets());
    packet[40] = kind;
    packet[44] = flags;
    packet[48..64].copy_from_slice(&target.octets());
    packet[64] = option.0;
    packet[65] = 1;
    packet[66..72].copy_from_slice(&option.1);
    let sum = checksum::finish(checksum::pseudo6(from, to, 32, ICMPV6) + checksum::sum(&packet[40..]));
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A discovery message that passed the checks of RFC 4861 sections 7.1.1 and 7.1.2.
pub(super) struct Message {
    pub kind: u8,
    pub source: Ipv6Addr,
    pub target: Ipv6Addr,
    pub flags: u8,
    pub lladdr: Option<Mac>,
}

impl Message {
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let address = |at: usize| {
            packet
                .get(at..at + 16)
                .and_then(|b| <[u8; 16]>::try_from(b).ok())
                .map(Ipv6Addr::from)
        };
        let (source, to) = (address(8)?, address(24)?);
        let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
        let body = packet.get(40..40 + length)?;
        let sum = checksum::pseudo6(source, to, length as u32, ICMPV6) + checksum::sum(body);
        let kind = *body.first()?;
        // A hop limit of 255 proves that the message comes from this link.
        if packet[7] != 255 || checksum::finish(sum) != 0 || *body.get(1)? != 0 || source.is_multicast() {
            return None;
        }
        if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
            return Some(Self {
                kind,
                source,
                target: Ipv6Addr::UNSPECIFIED,
                flags: 0,
                lladdr: None,
            });
        }
        let target = address(48).filter(|target| !target.is_multicast() && !target.is_unspecified())?;
        let flags = *body.get(4)?;
        let mut options = body.get(24..)?;
        let mut lladdr = None;
        while !options.is_empty() {
            let size = usize::from(*options.get(1)?) * 8;
            let option = options.get(..size).filter(|_| size > 0)?;
            let wanted = if kind == SOLICITATION {
                OPTION_SOURCE
            } else {
                OPTION_TARGET
            };
            if option[0] == wanted && size == 8 && lladdr.is_none() {
                lladdr = Mac::try_from(&option[2..8]).ok();
            }
            options = &options[size..];
        }
        let multicast = to.is_multicast();
        let valid = match kind {
            SOLICITATION if source.is_unspecified() => lladdr.is_none() && to == solicited_node(target),
            SOLICITATION => true,
            _ => !source.is_unspecified() && (!multicast || flags & FLAG_SOLICITED == 0),
        };
        (valid && lladdr.is_none_or(is_unicast)).then_some(Self {
            kind,
            source,
            target,
            flags,
            lladdr,
        })
    }
}
