//! Two engines side by side: the same packets through both, any difference is an error that shows both results.
//!
//! ```text
//!            +--> first (soft) ----> packets sent, by port --\
//!   step ----+                                                equal? --> first's packets
//!            +--> second (card) ---> packets sent, by port --/
//! ```
//!
//! What counts as equal:
//! * On each port the same packets in the same order, byte for byte. The order between ports is free.
//! * The Identification of an IPv4 packet that is no fragment comes from a generator (RFC 7915 section 5.1), and with DF
//!   set any value will do (RFC 6864 section 4.1): it is masked, and with it the header checksum, after both checksums
//!   were found right.
//! * The packet was dropped by both, for the same reason. Punts are how a card works, not what it decides.
//!
//! Totals that the two must share (sessions, BIB entries) are compared when they are asked for.

use std::fmt::Write as _;

use nat64_driver::LinkType;
use nat64_layout::{Reason, ReasonKind, ETHERTYPE_IPV4, ETHERTYPE_QINQ, ETHERTYPE_VLAN};

use crate::device::{Device, DeviceFailure, Output, Sent, Totals};
use crate::SIDES;

/// Two devices with their names.
pub struct Compare {
    first: (String, Box<dyn Device>),
    second: (String, Box<dyn Device>),
    link: LinkType,
    step: u64,
}

impl Compare {
    /// Compares `second` with `first`, whose results count as the result.
    pub fn new(first: (String, Box<dyn Device>), second: (String, Box<dyn Device>), link: LinkType) -> Self {
        Self {
            first,
            second,
            link,
            step: 0,
        }
    }

    fn both(
        &mut self,
        what: &str,
        packet: Option<(u8, &[u8])>,
        out: &mut Output,
        mut act: impl FnMut(&mut dyn Device, &mut Output) -> Result<(), DeviceFailure>,
    ) -> Result<(), DeviceFailure> {
        self.step += 1;
        let mut first = Output::default();
        let mut second = Output::default();
        let result_first = act(self.first.1.as_mut(), &mut first);
        let result_second = act(self.second.1.as_mut(), &mut second);
        match (result_first, result_second) {
            (Ok(()), Ok(())) => {}
            // Both refuse the same configuration with the same words.
            (Err(DeviceFailure::Config(a)), Err(DeviceFailure::Config(b))) if a == b => {
                return Err(DeviceFailure::Config(a));
            }
            (Err(DeviceFailure::Config(a)), other) => {
                let b = other.err().map_or_else(|| "took it".to_string(), |e| e.to_string());
                let (x, y) = (&self.first.0, &self.second.0);
                return Err(DeviceFailure::Difference(format!(
                    "{what}: {x} refuses it ({a}), {y}: {b}"
                )));
            }
            (Err(e), _) | (_, Err(e)) => return Err(e),
        }
        if let Some(difference) = difference(&first, &second, self.link) {
            return Err(DeviceFailure::Difference(self.report(
                what,
                packet,
                &difference,
                &first,
                &second,
            )));
        }
        out.sent.append(&mut first.sent);
        // The card's view: it tells punts too.
        out.exceptions.append(&mut second.exceptions);
        Ok(())
    }

    fn report(
        &mut self,
        what: &str,
        packet: Option<(u8, &[u8])>,
        difference: &str,
        first: &Output,
        second: &Output,
    ) -> String {
        let mut text = format!(
            "{} and {} differ at step {} ({what}): {difference}",
            self.first.0, self.second.0, self.step
        );
        if let Some((port, bytes)) = packet {
            let _ = write!(text, "\npacket in on {}: {}", side(port), hex(bytes));
        }
        for ((name, device), output) in [(&mut self.first, first), (&mut self.second, second)] {
            let _ = write!(text, "\n{name}:");
            for sent in &output.sent {
                let _ = write!(text, "\n  sent on {}: {}", side(sent.port), hex(&sent.bytes));
            }
            for exception in &output.exceptions {
                let _ = write!(text, "\n  {}", exception.comment().replace('\n', "; "));
            }
            if output.sent.is_empty() && output.exceptions.is_empty() {
                text.push_str("\n  nothing sent");
            }
            if let Some((port, bytes)) = packet {
                let entry = device.describe(port, bytes);
                let entry = if entry.is_empty() { "none" } else { &entry };
                let _ = write!(text, "\n  session: {entry}");
            }
        }
        text
    }
}

fn side(port: u8) -> &'static str {
    SIDES[usize::from(port & 1)]
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// What differs, in one line; `None` when nothing does.
fn difference(first: &Output, second: &Output, link: LinkType) -> Option<String> {
    for port in 0..SIDES.len() as u8 {
        let of = |output: &Output| -> Vec<Vec<u8>> {
            output
                .sent
                .iter()
                .filter(|s| s.port == port)
                .map(|s| s.bytes.clone())
                .collect()
        };
        let (mut a, mut b) = (of(first), of(second));
        if a.len() != b.len() {
            return Some(format!("{} packets against {} on {}", a.len(), b.len(), side(port)));
        }
        for (i, (x, y)) in a.iter_mut().zip(&mut b).enumerate() {
            for bytes in [&mut *x, &mut *y] {
                if let Err(reason) = mask_free_ident(bytes, link) {
                    return Some(format!("packet {} on {}: {reason}", i + 1, side(port)));
                }
            }
            if let Some(at) = (0..x.len().max(y.len())).find(|&at| x.get(at) != y.get(at)) {
                return Some(format!("packet {} on {}, byte {at}", i + 1, side(port)));
            }
        }
    }
    let fates = |output: &Output| -> Vec<Reason> {
        let mut fates: Vec<_> = output
            .exceptions
            .iter()
            .flat_map(|e| &e.reasons)
            .copied()
            .map(normal)
            .collect();
        fates.retain(|r| r.kind() != ReasonKind::Punt);
        fates.sort_unstable();
        fates
    };
    let (a, b) = (fates(first), fates(second));
    if a != b {
        let names = |fates: &[Reason]| match fates {
            [] => "not dropped".to_string(),
            some => some.iter().map(|r| r.name()).collect::<Vec<_>>().join(", "),
        };
        return Some(format!("reason {} against {}", names(&a), names(&b)));
    }
    None
}

/// One name for what card and host call differently.
const fn normal(reason: Reason) -> Reason {
    match reason {
        // The host says why a frame belongs to nobody, the card's policy only that it does; a packet of no rule may have
        // an impossible address too, at which the host looks first.
        Reason::NoRule | Reason::NoUnit | Reason::NoTranslation | Reason::NotForUs | Reason::BadAddress => {
            Reason::PolicyDrop
        }
        other => other,
    }
}

/// Where the IP header of a frame begins, and whether it is IPv4.
fn ipv4_at(bytes: &[u8], link: LinkType) -> Option<usize> {
    let at = match link {
        LinkType::Raw => 0,
        LinkType::Ethernet => {
            let mut at = 12;
            let kind = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
            while matches!(kind(at)?, ETHERTYPE_VLAN | ETHERTYPE_QINQ) {
                at += 4;
            }
            if kind(at)? != ETHERTYPE_IPV4 {
                return None;
            }
            at + 2
        }
    };
    (bytes.get(at)? >> 4 == 4 && bytes.len() >= at + 20).then_some(at)
}

/// Zeroes Identification and header checksum of an IPv4 packet that is no fragment, when its checksum is right.
fn mask_free_ident(bytes: &mut [u8], link: LinkType) -> Result<(), &'static str> {
    let Some(at) = ipv4_at(bytes, link) else { return Ok(()) };
    let length = usize::from(bytes[at] & 15) * 4;
    let Some(header) = bytes.get_mut(at..at + length.max(20)) else {
        return Err("the IPv4 header is cut");
    };
    let sum = header
        .chunks_exact(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    if (folded & 0xffff) + (folded >> 16) != 0xffff {
        return Err("the IPv4 header checksum is wrong");
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x3fff == 0 {
        header[4..6].fill(0);
        header[10..12].fill(0);
    }
    Ok(())
}

impl Device for Compare {
    fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure> {
        let what = format!("packet at {now} ns");
        self.both(&what, Some((port, bytes)), out, |device, out| {
            device.packet(now, port, bytes, out)
        })
    }

    fn advance(&mut self, to: u64, out: &mut Output) -> Result<(), DeviceFailure> {
        self.both(&format!("time to {to} ns"), None, out, |device, out| {
            device.advance(to, out)
        })
    }

    fn configure(&mut self, now: u64, commands: &[String], out: &mut Output) -> Result<(), DeviceFailure> {
        let what = format!("commands at {now} ns");
        self.both(&what, None, out, |device, out| device.configure(now, commands, out))
    }

    fn totals(&mut self) -> Result<Totals, DeviceFailure> {
        let first = self.first.1.totals()?;
        let second = self.second.1.totals()?;
        for (name, a, b) in [
            ("sessions made", first.sessions_made, second.sessions_made),
            ("sessions", first.sessions, second.sessions),
            ("BIB entries", first.bibs, second.bibs),
        ] {
            if a != b {
                let (x, y) = (&self.first.0, &self.second.0);
                return Err(DeviceFailure::Difference(format!("{name}: {a} in {x}, {b} in {y}")));
            }
        }
        Ok(second)
    }

    fn describe(&mut self, port: u8, bytes: &[u8]) -> String {
        self.second.1.describe(port, bytes)
    }
}

/// Groups packets sent by port, for tests and reports.
pub fn by_port(sent: &[Sent], port: u8) -> impl Iterator<Item = &Sent> {
    sent.iter().filter(move |s| s.port == port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Exception;

    /// Sends what it gets to the other port, with one byte changed at one place, or drops it.
    struct Echo {
        change: Option<usize>,
        drop: Option<Reason>,
    }

    impl Device for Echo {
        fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure> {
            let mut bytes = bytes.to_vec();
            if let Some(reason) = self.drop {
                out.exceptions.push(Exception {
                    port,
                    t_ns: now,
                    bytes,
                    reasons: vec![Reason::NoSession, reason],
                });
                return Ok(());
            }
            if let Some(at) = self.change {
                bytes[at] ^= 1;
            }
            out.sent.push(Sent {
                port: 1 - port,
                t_ns: now,
                bytes,
            });
            Ok(())
        }

        fn advance(&mut self, _: u64, _: &mut Output) -> Result<(), DeviceFailure> {
            Ok(())
        }

        fn configure(&mut self, _: u64, _: &[String], _: &mut Output) -> Result<(), DeviceFailure> {
            Ok(())
        }

        fn totals(&mut self) -> Result<Totals, DeviceFailure> {
            Ok(Totals {
                sessions: u64::from(self.change.is_some()),
                ..Totals::default()
            })
        }

        fn describe(&mut self, _: u8, _: &[u8]) -> String {
            "2001:db8::1 to 192.0.2.1".into()
        }
    }

    fn compare(first: Echo, second: Echo) -> Compare {
        Compare::new(
            ("soft".into(), Box::new(first)),
            ("rtl".into(), Box::new(second)),
            LinkType::Raw,
        )
    }

    /// 20 bytes of IPv4 header with a right checksum and one byte of payload.
    fn packet(ident: u16, df: bool) -> Vec<u8> {
        let mut p = vec![
            0x45,
            0,
            0,
            21,
            0,
            0,
            u8::from(df) << 6,
            0,
            63,
            17,
            0,
            0,
            192,
            0,
            2,
            1,
            198,
            51,
            100,
            7,
            9,
        ];
        p[4..6].copy_from_slice(&ident.to_be_bytes());
        let sum: u32 = p[..20].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        p
    }

    const SAME: Echo = Echo {
        change: None,
        drop: None,
    };

    #[test]
    fn a_changed_byte_is_shown_with_packet_results_and_session() {
        let mut both = compare(
            SAME,
            Echo {
                change: Some(20),
                drop: None,
            },
        );
        let sent = packet(0, true);
        let error = both
            .packet(5, 0, &sent, &mut Output::default())
            .expect_err("they differ")
            .to_string();
        for part in [
            "soft and rtl differ at step 1 (packet at 5 ns): packet 1 on outside, byte 20",
            &format!("packet in on inside: {}", hex(&sent)),
            &format!("soft:\n  sent on outside: {}", hex(&sent)),
            &format!("rtl:\n  sent on outside: {}08", hex(&sent[..20])),
            "session: 2001:db8::1 to 192.0.2.1",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
        let error = both.totals().expect_err("they differ").to_string();
        assert_eq!(error, "sessions: 0 in soft, 1 in rtl");
    }

    #[test]
    fn drops_are_compared_by_reason_without_punts() {
        let dropped = |reason| Echo {
            change: None,
            drop: Some(reason),
        };
        let run = |a, b| compare(a, b).packet(0, 0, &packet(1, true), &mut Output::default());
        assert!(run(dropped(Reason::NoMapping), dropped(Reason::NoMapping)).is_ok());
        assert!(run(dropped(Reason::NoRule), dropped(Reason::PolicyDrop)).is_ok());
        let error = run(dropped(Reason::NoMapping), dropped(Reason::Filtered))
            .expect_err("differ")
            .to_string();
        assert!(error.contains("reason NoMapping against Filtered"), "{error}");
        let error = run(SAME, dropped(Reason::Filtered)).expect_err("differ").to_string();
        assert!(
            error.contains("1 packets against 0 on outside") && error.contains("Filtered"),
            "{error}"
        );
    }

    #[test]
    fn only_the_identification_of_whole_packets_is_free() {
        let masked = |mut bytes: Vec<u8>| mask_free_ident(&mut bytes, LinkType::Raw).map(|()| bytes);
        assert_eq!(masked(packet(7, false)), masked(packet(9, false)));
        assert_eq!(masked(packet(7, true)), masked(packet(9, true)));
        assert_ne!(masked(packet(7, false)), masked(packet(7, true)));
        let mut wrong = packet(7, false);
        wrong[10] ^= 1;
        assert_eq!(masked(wrong), Err("the IPv4 header checksum is wrong"));
        let mut framed = vec![0; 12];
        framed.extend([0x81, 0, 0, 5, 8, 0]);
        framed.extend(packet(7, false));
        mask_free_ident(&mut framed, LinkType::Ethernet).expect("right");
        assert_eq!(framed[18 + 4..18 + 6], [0, 0], "behind a tag too");
    }
}
