//! Addresses in ICMP extensions: the Interface Information Objects of RFC 5837 in the structure of RFC 4884 section 7.
//!
//! ```text
//!  version 2, checksum | length, class 2, C-Type | ifIndex? | AFI, 0, address? | name? | MTU? | next object ...
//! ```
//!
//! RFC 7915 passes extensions as opaque bits; here interface addresses that a translation prefix can express follow
//! the packet to the other family, so that a traceroute shows addresses of its own family. What is not understood in
//! every bit is left as it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum;
use crate::packet::{addr4, addr6, be16};
use crate::rfc6052::{is_documentation, is_global, Pref64};

/// What to do with addresses in extensions; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Translate interface addresses with this prefix.
    pub pref64: Option<Pref64>,
    /// Tell this IPv6 address, the source that an ICMPv6 error had before it got one of ours (RFC 6791 section 4).
    pub source: Option<Ipv6Addr>,
}

/// Class of Interface Information Objects.
const CLASS_INTERFACE: u8 = 2;
/// C-Type: the interface the packet came in by is the role 0 in the upper two bits.
const ROLE: u8 = 0xc0;
/// C-Type: ifIndex is present.
const IF_INDEX: u8 = 0x08;
/// C-Type: an address is present.
const ADDRESS: u8 = 0x04;
/// Address family of IPv4.
const AFI4: u16 = 1;
/// Address family of IPv6.
const AFI6: u16 = 2;

/// The family extensions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Four,
    Six,
}

/// The extensions (empty: none) for the other family; `None` if they stay as they are.
pub(crate) fn translate(extensions: &[u8], wanted: &Extensions, toward: Toward) -> Option<Vec<u8>> {
    let source = wanted.source.filter(|_| toward == Toward::Four);
    if (wanted.pref64.is_none() || extensions.is_empty()) && source.is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(extensions.len() + 64);
    // Version 2; an empty structure is made for a source to tell.
    out.extend_from_slice(if extensions.is_empty() {
        &[0x20, 0, 0, 0]
    } else {
        extensions.get(..4)?
    });
    let checked = extensions.is_empty() || be16(&out, 2) != 0;
    if out[0] >> 4 != 2 || (checked && !extensions.is_empty() && checksum::fold(checksum::sum(extensions)) != 0xffff) {
        return None;
    }
    let mut told = false;
    let mut rest = extensions.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], *rest.get(1)?]));
        let object = rest.get(..length).filter(|object| object.len() >= 4)?;
        told |= object[2] == CLASS_INTERFACE && object[3] & ROLE == 0;
        match wanted.pref64.and_then(|prefix| interface(object, &prefix, toward)) {
            Some(object) => out.extend_from_slice(&object),
            None => out.extend_from_slice(object),
        }
        rest = &rest[length..];
    }
    // A role may be told once (RFC 5837 section 4.5).
    if let (Some(source), false) = (source, told) {
        out.extend_from_slice(&[0, 24, CLASS_INTERFACE, ADDRESS, 0, AFI6 as u8, 0, 0]);
        out.extend_from_slice(&source.octets());
    }
    if checked {
        out[2..4].fill(0);
        let sum = match checksum::finish(checksum::sum(&out)) {
            // Zero would mean that there is none.
            0 => 0xffff,
            sum => sum,
        };
        out[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    Some(out)
}

/// An Interface Information Object with its address in the other family; `None` if it stays as it is.
fn interface(object: &[u8], prefix: &Pref64, toward: Toward) -> Option<Vec<u8>> {
    let kind = object[3];
    if object[2] != CLASS_INTERFACE || kind & ADDRESS == 0 {
        return None;
    }
    let at = 4 + if kind & IF_INDEX != 0 { 4 } else { 0 };
    let address = object.get(at + 4..)?;
    let (afi, octets, skip) = match (be16(object, at), toward) {
        (AFI4, Toward::Six) if address.len() >= 4 => {
            let address = addr4(address, 0);
            // A router's private address must not appear under the well-known prefix (RFC 6052 section 3.1).
            if prefix.is_well_known() && !is_global(address) && !is_documentation(address) {
                return None;
            }
            let translated: Ipv6Addr = prefix.embed(address);
            (AFI6, translated.octets().to_vec(), 4)
        }
        (AFI6, Toward::Four) if address.len() >= 16 => {
            let translated: Ipv4Addr = prefix.extract(addr6(address, 0))?;
            (AFI4, translated.octets().to_vec(), 16)
        }
        _ => return None,
    };
    let mut out = object[..at].to_vec();
    out.extend_from_slice(&afi.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&octets);
    out.extend_from_slice(&address[skip..]);
    let length = u16::try_from(out.len()).ok()?;
    out[..2].copy_from_slice(&length.to_be_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc6052::WELL_KNOWN;

    const PREFIX: Extensions = Extensions {
        pref64: Some(WELL_KNOWN),
        source: None,
    };

    /// A structure of these objects with its checksum.
    fn structure(objects: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x20, 0, 0, 0];
        for object in objects {
            bytes.extend_from_slice(&(object.len() as u16 + 2).to_be_bytes());
            bytes.extend_from_slice(object);
        }
        let sum = checksum::finish(checksum::sum(&bytes));
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Figures 6 and 7 of RFC 5837: ifIndex and address; a name and an MTU behind it; an MPLS object in front.
    fn both() -> (Vec<u8>, Vec<u8>) {
        let mpls: &[u8] = &[1, 1, 0, 1, 2, 3];
        let name = b"\x08eth0\0\0\0\0\0\x05\xdc";
        let embedded: Ipv6Addr = "64:ff9b::c000:201".parse().unwrap();
        let four = [&[2, 0x0f, 0, 0, 0, 7, 0, 1, 0, 0, 192, 0, 2, 1][..], name].concat();
        let six = [&[2, 0x0f, 0, 0, 0, 7, 0, 2, 0, 0][..], &embedded.octets(), name].concat();
        (structure(&[mpls, &four]), structure(&[mpls, &six]))
    }

    #[test]
    fn interface_addresses_go_there_and_back() {
        let (four, six) = both();
        assert_eq!(translate(&four, &PREFIX, Toward::Six).as_ref(), Some(&six));
        assert_eq!(translate(&six, &PREFIX, Toward::Four).as_ref(), Some(&four));
        assert_eq!(checksum::fold(checksum::sum(&six)), 0xffff);
    }

    #[test]
    fn what_cannot_be_expressed_stays() {
        let outside: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let object = [&[2, 0x04, 0, 2, 0, 0][..], &outside.octets()].concat();
        let bytes = structure(&[&object]);
        assert_eq!(translate(&bytes, &PREFIX, Toward::Four), Some(bytes.clone()));
        let (four, _) = both();
        assert_eq!(translate(&four, &Extensions::default(), Toward::Six), None);
        assert_eq!(translate(&[], &PREFIX, Toward::Six), None);
    }

    #[test]
    fn damaged_structures_are_not_touched() {
        let (four, _) = both();
        for at in 0..four.len() {
            let mut bytes = four.clone();
            bytes[at] ^= 0x10;
            if bytes[2..4] != [0, 0] {
                assert_eq!(translate(&bytes, &PREFIX, Toward::Six), None, "byte {at}");
            }
        }
        for cut in 1..four.len() {
            let mut bytes = four[..cut].to_vec();
            if cut >= 4 {
                bytes[2..4].fill(0);
            }
            let translated = translate(&bytes, &PREFIX, Toward::Six);
            assert_eq!(
                translated.is_some(),
                cut == 4 || cut == 12,
                "cut at {cut}: only whole objects"
            );
        }
        assert_eq!(translate(&[0x10, 0, 0, 0], &PREFIX, Toward::Six), None, "version 1");
        assert_eq!(
            translate(&[0x20, 0, 0, 0, 0, 3, 2, 4], &PREFIX, Toward::Six),
            None,
            "object of 3 bytes"
        );
    }

    #[test]
    fn no_checksum_stays_no_checksum() {
        let (mut four, mut six) = both();
        four[2..4].fill(0);
        six[2..4].fill(0);
        assert_eq!(translate(&four, &PREFIX, Toward::Six), Some(six));
    }

    #[test]
    fn a_hidden_source_is_told_once() {
        let source: Ipv6Addr = "2001:db8::99".parse().unwrap();
        let wanted = Extensions {
            pref64: None,
            source: Some(source),
        };
        let object = [&[2, 0x04, 0, 2, 0, 0][..], &source.octets()].concat();
        assert_eq!(translate(&[], &wanted, Toward::Four), Some(structure(&[&object])));
        let mpls: &[u8] = &[1, 1, 0, 1, 2, 3];
        let with = structure(&[mpls, &object]);
        assert_eq!(
            translate(&structure(&[mpls]), &wanted, Toward::Four),
            Some(with.clone())
        );
        assert_eq!(translate(&with, &wanted, Toward::Four), Some(with), "the role is taken");
        let outgoing: &[u8] = &[2, 0x81, 0, 0, 5, 220];
        let both = structure(&[outgoing, &object]);
        assert_eq!(
            translate(&structure(&[outgoing]), &wanted, Toward::Four),
            Some(both),
            "another role"
        );
        assert_eq!(
            translate(&[], &wanted, Toward::Six),
            None,
            "the IPv6 side sees it anyway"
        );
    }
}
