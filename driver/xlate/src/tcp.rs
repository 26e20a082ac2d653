//! The TCP state machine of RFC 6146 section 3.5.2.2 (RST as in RFC 7857 section 2.2), and the two segments we send.

use std::net::Ipv6Addr;

use nat64_layout::Direction;

use crate::checksum;
use crate::packet::{proto, IPV6_HEADER, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};

/// State of a session. CLOSED is the absence of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// UDP or ICMP: one lifetime, refreshed by every packet.
    Open,
    /// V4 INIT; the SYN was forwarded.
    V4Init,
    /// V4 INIT; the SYN is stored because the filter did not let it in.
    V4InitStored,
    /// V6 INIT.
    V6Init,
    /// ESTABLISHED.
    Established,
    /// V4 FIN RCV.
    V4FinRcv,
    /// V6 FIN RCV.
    V6FinRcv,
    /// V4 FIN + V6 FIN RCV.
    V4FinV6FinRcv,
    /// TRANS.
    Trans,
}

impl State {
    /// The name used in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::V4Init | Self::V4InitStored => "V4_INIT",
            Self::V6Init => "V6_INIT",
            Self::Established => "ESTABLISHED",
            Self::V4FinRcv => "V4_FIN_RCV",
            Self::V6FinRcv => "V6_FIN_RCV",
            Self::V4FinV6FinRcv => "V4_FIN_V6_FIN_RCV",
            Self::Trans => "TRANS",
        }
    }

    /// Only one SYN was seen.
    pub const fn is_embryonic(self) -> bool {
        matches!(self, Self::V4Init | Self::V4InitStored | Self::V6Init)
    }

    /// No packet but those a card hands over (SYN, FIN, RST) can change the state, so that a card may carry the rest.
    pub const fn is_steady(self) -> bool {
        matches!(self, Self::Open | Self::Established | Self::V4FinRcv | Self::V6FinRcv)
    }
}

/// What a packet does to the lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing.
    Keep,
    /// Begins anew, if packets of this direction refresh.
    Refresh,
    /// Begins anew, with the lifetime of the new state.
    Restart,
}

/// What a segment does to a session in `state`.
pub const fn segment(state: State, direction: Direction, flags: u8) -> (State, Life) {
    let syn = flags & TCP_SYN != 0;
    let fin = flags & TCP_FIN != 0;
    let rst = flags & TCP_RST != 0;
    let six = matches!(direction, Direction::SixToFour);
    match state {
        State::Open => (state, Life::Refresh),
        State::V4Init | State::V4InitStored => {
            if syn && six {
                (State::Established, Life::Restart)
            } else {
                (state, Life::Keep)
            }
        }
        State::V6Init => match (syn, six) {
            (true, false) => (State::Established, Life::Restart),
            (true, true) => (state, Life::Restart),
            _ => (state, Life::Keep),
        },
        State::Established => {
            if rst {
                (State::Trans, Life::Restart)
            } else if fin {
                // The RFC gives the FIN itself no new lifetime.
                (if six { State::V6FinRcv } else { State::V4FinRcv }, Life::Keep)
            } else {
                (state, Life::Refresh)
            }
        }
        State::V4FinRcv | State::V6FinRcv => {
            if rst {
                (State::Trans, Life::Restart)
            } else if fin && six == matches!(state, State::V4FinRcv) {
                (State::V4FinV6FinRcv, Life::Restart)
            } else {
                (state, Life::Refresh)
            }
        }
        State::V4FinV6FinRcv => (state, Life::Keep),
        State::Trans => {
            if rst {
                (state, Life::Keep)
            } else {
                (State::Established, Life::Restart)
            }
        }
    }
}

/// One end of a connection.
pub type End = (Ipv6Addr, u16);

/// Appends an IPv6 packet with a TCP segment without data.
fn segment6(from: End, to: End, sequence: u32, acknowledgment: u32, flags: u8, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0x60, 0, 0, 0, 0, 20, proto::TCP, 64]);
    out.extend_from_slice(&from.0.octets());
    out.extend_from_slice(&to.0.octets());
    out.extend_from_slice(&from.1.to_be_bytes());
    out.extend_from_slice(&to.1.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&acknowledgment.to_be_bytes());
    out.extend_from_slice(&[5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    let segment = start + IPV6_HEADER;
    let sum = checksum::pseudo6(from.0, to.0, 20, proto::TCP) + checksum::sum(&out[segment..]);
    out[segment + 16..segment + 18].copy_from_slice(&checksum::finish(sum).to_be_bytes());
}

/// Appends the probe of RFC 6146 section 3.5.2.2: ACK, both numbers zero, no data. A live end answers it with an ACK
/// that keeps the session.
pub fn probe(server: End, client: End, out: &mut Vec<u8>) {
    segment6(server, client, 0, 0, TCP_ACK, out);
}

/// Appends the RST that answers `segment` (TCP header and data) of a client, as RFC 793 section 3.4 numbers it.
/// Nothing is appended for a RST or for a header cut short.
pub fn reset(segment: &[u8], client: End, server: End, out: &mut Vec<u8>) {
    let Some(header) = segment.first_chunk::<20>() else {
        return;
    };
    let flags = header[13];
    if flags & TCP_RST != 0 {
        return;
    }
    let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let acknowledgment = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if flags & TCP_ACK != 0 {
        segment6(server, client, acknowledgment, 0, TCP_RST, out);
        return;
    }
    let data = segment.len().saturating_sub(usize::from(header[12] >> 4) * 4) as u32;
    let counted = u32::from(flags & TCP_SYN != 0) + u32::from(flags & TCP_FIN != 0);
    let next = sequence.wrapping_add(data).wrapping_add(counted);
    segment6(server, client, 0, next, TCP_RST | TCP_ACK, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{FourToSix as V4, SixToFour as V6};

    /// RFC 6146 section 3.5.2.2, one row per sentence; RST in the FIN states by RFC 7857 section 2.2.
    #[test]
    fn every_transition_of_the_rfc() {
        use State::*;
        let (syn, fin, rst, ack) = (TCP_SYN, TCP_FIN, TCP_RST, TCP_ACK);
        for (state, direction, flags, next, life) in [
            (V4Init, V6, syn, Established, Life::Restart),
            (V4Init, V6, syn | ack, Established, Life::Restart),
            (V4Init, V4, syn, V4Init, Life::Keep),
            (V4Init, V6, ack, V4Init, Life::Keep),
            (V4Init, V4, rst, V4Init, Life::Keep),
            (V4InitStored, V6, syn, Established, Life::Restart),
            (V4InitStored, V4, ack, V4InitStored, Life::Keep),
            (V6Init, V4, syn, Established, Life::Restart),
            (V6Init, V4, syn | ack, Established, Life::Restart),
            (V6Init, V6, syn, V6Init, Life::Restart),
            (V6Init, V6, ack, V6Init, Life::Keep),
            (V6Init, V4, rst | ack, V6Init, Life::Keep),
            (Established, V4, fin | ack, V4FinRcv, Life::Keep),
            (Established, V6, fin | ack, V6FinRcv, Life::Keep),
            (Established, V4, rst, Trans, Life::Restart),
            (Established, V6, rst | ack, Trans, Life::Restart),
            (Established, V6, ack, Established, Life::Refresh),
            (Established, V4, syn | ack, Established, Life::Refresh),
            (V4FinRcv, V6, fin | ack, V4FinV6FinRcv, Life::Restart),
            (V4FinRcv, V4, fin | ack, V4FinRcv, Life::Refresh),
            (V4FinRcv, V6, ack, V4FinRcv, Life::Refresh),
            (V4FinRcv, V6, rst, Trans, Life::Restart),
            (V6FinRcv, V4, fin | ack, V4FinV6FinRcv, Life::Restart),
            (V6FinRcv, V6, fin | ack, V6FinRcv, Life::Refresh),
            (V6FinRcv, V4, ack, V6FinRcv, Life::Refresh),
            (V6FinRcv, V4, rst, Trans, Life::Restart),
            (V4FinV6FinRcv, V6, ack, V4FinV6FinRcv, Life::Keep),
            (V4FinV6FinRcv, V4, syn, V4FinV6FinRcv, Life::Keep),
            (Trans, V4, rst, Trans, Life::Keep),
            (Trans, V4, ack, Established, Life::Restart),
            (Trans, V6, ack, Established, Life::Restart),
            (Trans, V6, fin | ack, Established, Life::Restart),
        ] {
            assert_eq!(
                segment(state, direction, flags),
                (next, life),
                "{state:?} {direction:?} {flags:#x}"
            );
        }
    }

    #[test]
    fn probe_and_reset_are_valid_segments() {
        let (client, server) = (
            ("2001:db8::1".parse().unwrap(), 40000),
            ("64:ff9b::1".parse().unwrap(), 80),
        );
        let mut out = Vec::new();
        probe(server, client, &mut out);
        assert_eq!((out.len(), out[4..7].to_vec(), out[53]), (60, vec![0, 20, 6], TCP_ACK));
        assert!(out[44..52].iter().all(|&byte| byte == 0), "both numbers are zero");
        let sum = checksum::pseudo6(server.0, client.0, 20, proto::TCP) + checksum::sum(&out[40..]);
        assert_eq!(checksum::fold(sum), 0xffff);

        let mut syn = out[40..].to_vec();
        syn[4..8].copy_from_slice(&7u32.to_be_bytes());
        syn[13] = TCP_SYN;
        out.clear();
        reset(&syn, client, server, &mut out);
        assert_eq!(out[53], TCP_RST | TCP_ACK);
        assert_eq!(out[48..52], 8u32.to_be_bytes());
        assert_eq!(out[40..42], 80u16.to_be_bytes());

        syn[8..12].copy_from_slice(&99u32.to_be_bytes());
        syn[13] = TCP_ACK;
        out.clear();
        reset(&syn, client, server, &mut out);
        assert_eq!((out[53], &out[44..48]), (TCP_RST, &99u32.to_be_bytes()[..]));

        syn[13] = TCP_RST;
        out.clear();
        reset(&syn, client, server, &mut out);
        assert!(out.is_empty(), "never a RST for a RST");
    }
}
