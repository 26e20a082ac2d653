//! Translated packets that their next hop did not take.

use nat64_layout::Reason;

use super::four::Way4;
use super::six::Way6;
use super::Nat64;
use crate::checksum;
use crate::effect::{Effect, Effects, Time};
use crate::icmp_error::{error4, error6, may_answer4, may_answer6, Error4, Error6};
use crate::packet::{proto, Packet4, Packet6, IPV6_HEADER};

/// ICMPv6 type and codes of Destination Unreachable (RFC 4443 section 3.1).
const UNREACHABLE6: u8 = 1;
const NO_ROUTE: u8 = 0;
const ADDRESS: u8 = 3;

impl Nat64 {
    /// A packet that was translated and sent on `unit` could not be delivered: its next hop does not answer ARP or
    /// neighbour discovery. Its sender is told Address or Host Unreachable (RFC 4861 section 7.2.2, RFC 1812 section
    /// 5.2.7.1), as if a router on that link had sent the error: it comes to the sender by the packet's session.
    ///
    /// Nothing is said about ICMP errors, later fragments and packets whose session is gone, nor beyond the limit on errors.
    /// The packet itself was counted by whoever could not deliver it.
    pub fn undeliverable(&mut self, now: Time, unit: usize, packet: &[u8], effects: &mut Effects) {
        let mut own = Effects::new();
        let told = match packet.first().map(|byte| byte >> 4) {
            Some(4) => self.tell_six(now, unit, packet, &mut own),
            Some(6) => self.tell_four(now, unit, packet, &mut own),
            _ => Err(Reason::BadHeader),
        };
        if told.is_err() {
            return;
        }
        self.stats.answers += 1;
        for effect in own.iter() {
            match effect {
                Effect::Send {
                    unit,
                    bytes,
                    translated,
                    ..
                } => {
                    let mut message = own.bytes(bytes).to_vec();
                    name_the_address(&mut message);
                    effects.send(*unit, *translated, &message);
                }
                other => effects.push(other.clone()),
            }
        }
    }

    /// The server's link has no such host: the client is told.
    fn tell_six(&mut self, now: Time, unit: usize, bytes: &[u8], own: &mut Effects) -> Result<(), Reason> {
        let packet = Packet4::parse(bytes)?;
        let set = self.policy.set_of_unit(unit).ok_or(Reason::NoUnit)?;
        if !may_answer4(&packet) {
            return Err(Reason::NotAnswered);
        }
        if !self.errors.take(now) {
            return Err(Reason::ErrorRateLimited);
        }
        let (source, ident) = (self.source4(unit, packet.src), self.next_ident());
        let mut error = Vec::new();
        if !error4(&packet, Error4::Unreachable { code: 1 }, source, ident, &mut error) {
            return Err(Reason::NotAnswered);
        }
        self.error4(&Way4 { unit: None, set }, &Packet4::parse(&error)?, own)
    }

    /// The client's link has no such host: the server is told.
    fn tell_four(&mut self, now: Time, unit: usize, bytes: &[u8], own: &mut Effects) -> Result<(), Reason> {
        let packet = Packet6::parse(bytes)?;
        let set = self.policy.set_of_unit(unit).ok_or(Reason::NoUnit)?;
        let (prefix, remote) = self.policy.destination(set, packet.src).ok_or(Reason::NoRule)?;
        if !may_answer6(&packet) {
            return Err(Reason::NotAnswered);
        }
        let source = self.source6(unit, prefix).ok_or(Reason::NotAnswered)?;
        if !self.errors.take(now) {
            return Err(Reason::ErrorRateLimited);
        }
        let mut error = Vec::new();
        if !error6(&packet, Error6::Unreachable { code: ADDRESS }, source, &mut error) {
            return Err(Reason::NotAnswered);
        }
        let way = Way6 {
            unit,
            set,
            prefix,
            remote,
        };
        self.error6(now, &way, &Packet6::parse(&error)?, own)
    }
}

/// Translation makes Host Unreachable to No Route, as a router's far away may be (RFC 7915 section 4.2); here it is the
/// address that is known to be missing.
fn name_the_address(message: &mut [u8]) {
    let six = message.first().is_some_and(|byte| byte >> 4 == 6) && message.get(6) == Some(&proto::ICMPV6);
    let Some([kind, code, high, low]) = message.get_mut(IPV6_HEADER..IPV6_HEADER + 4).filter(|_| six) else {
        return;
    };
    if (*kind, *code) == (UNREACHABLE6, NO_ROUTE) {
        let word = |code: u8| u16::from_be_bytes([UNREACHABLE6, code]);
        // RFC 1624, equation 3.
        let sum = u64::from(!u16::from_be_bytes([*high, *low])) + u64::from(!word(NO_ROUTE)) + u64::from(word(ADDRESS));
        [*high, *low] = checksum::finish(sum).to_be_bytes();
        *code = ADDRESS;
    }
}
