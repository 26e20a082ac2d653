//! Why a packet was punted, dropped or refused. One list for card, driver and translator.
//!
//! Codes below [`FIRST_HOST_REASON`](crate::FIRST_HOST_REASON) are counted by the card (counter index = code);
//! the others by the host. Every code has a line an operator can read.
//!
//! When several reasons apply the card reports the first of this order: `RxError`, `Disabled`, `NotIp`, `NoUnit`'s
//! policy, `BadHeader`, `BadIpv4Checksum`, `Truncated`, then (IPv4) `Ipv4Options`, `Ipv4Fragment`, (IPv6)
//! `Ipv6Extension`, `Neighbour`, then `UnsupportedProtocol`, `BadHeader` of the transport header, `HopLimit`,
//! `IcmpNotEcho`, `UdpLength`, `UdpZeroChecksum`, `TcpState`, then the classifier's (policy, `RuleAction`,
//! `Hairpin`), `NoSession`, `TooBig`, `NoNextHop`.

/// What becomes of a packet with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonKind {
    /// The card hands the packet to the host, which may still translate it.
    Punt,
    /// The packet ends here.
    Drop,
    /// The packet was answered with an error message of ours.
    Answer,
}

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident = $code:literal, $kind:ident; )*) => {
        /// See the module documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $( $(#[doc = $doc])+ $name = $code, )*
        }

        impl Reason {
            /// Every reason, by rising code.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name used in counters, JSON and `show drops`.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// One line for the operator.
            pub const fn explanation(self) -> &'static str {
                match self { $( Self::$name => reasons!(@line $($doc)+), )* }
            }

            /// Punt, drop or answer.
            pub const fn kind(self) -> ReasonKind {
                match self { $( Self::$name => ReasonKind::$kind, )* }
            }

            /// The reason with this code; `None` for a code that means nothing.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $( $code => Some(Self::$name), )* _ => None }
            }
        }
    };
    (@line $first:literal $($rest:literal)*) => { trim_start($first) };
}

const fn trim_start(text: &'static str) -> &'static str {
    match text.as_bytes() {
        [b' ', ..] => text.split_at(1).1,
        _ => text,
    }
}

reasons! {
    // ---- punts of the card -------------------------------------------------------------------------------------
    /// Not IPv4 or IPv6 (ARP above all); the host answers it.
    NotIp = 1, Punt;
    /// ICMPv6 neighbour or router discovery (types 133 to 137); the host answers it.
    Neighbour = 2, Punt;
    /// IPv4 header with options; the host translates it without them.
    Ipv4Options = 3, Punt;
    /// IPv4 fragment; the host finds its ports.
    Ipv4Fragment = 4, Punt;
    /// IPv6 extension header (Fragment, Hop-by-Hop, Routing, Destination Options, ...); the host walks the chain.
    Ipv6Extension = 5, Punt;
    /// Transport protocol other than TCP, UDP and ICMP; the host answers or drops it.
    UnsupportedProtocol = 6, Punt;
    /// TCP segment with SYN, FIN or RST; it may change the session's state.
    TcpState = 7, Punt;
    /// Hop limit or TTL of 0 or 1 on arrival; the host sends Time Exceeded.
    HopLimit = 8, Punt;
    /// ICMP other than echo request and reply; the host translates errors.
    IcmpNotEcho = 9, Punt;
    /// UDP with a zero checksum; the host computes one.
    UdpZeroChecksum = 10, Punt;
    /// The translated packet would not fit the egress MTU; the host fragments it or answers Packet Too Big.
    TooBig = 11, Punt;
    /// No session in the card's table; the host sets one up or refuses.
    NoSession = 12, Punt;
    /// Destination is an address of our own pools (hairpin); the host translates it twice.
    Hairpin = 13, Punt;
    /// The matching rule term is one the card cannot evaluate; the host does.
    RuleAction = 14, Punt;
    /// The session's next hop is not resolved in the card.
    NoNextHop = 15, Punt;
    /// No rule matches and the port's policy sends such packets to the host.
    PolicyPunt = 16, Punt;
    /// UDP length differs from the IP payload length; the host decides.
    UdpLength = 17, Punt;

    // ---- drops of the card -------------------------------------------------------------------------------------
    /// IPv4 header checksum is wrong.
    BadIpv4Checksum = 32, Drop;
    /// The frame ends before its IP length does.
    Truncated = 33, Drop;
    /// IP or transport header cannot be right: version, header length, total length, data offset.
    BadHeader = 34, Drop;
    /// No rule matches and the port's policy is to drop.
    PolicyDrop = 35, Drop;
    /// The exception ring was full; the host is too slow or gone.
    ExceptionRingFull = 36, Drop;
    /// The card's punt buffer was full.
    PuntOverflow = 37, Drop;
    /// The MAC marked the frame as damaged.
    RxError = 38, Drop;
    /// The card is not enabled.
    Disabled = 39, Drop;
    /// An inject descriptor had a wrong length or owner.
    BadInject = 40, Drop;
    /// The frame is longer than the card takes.
    Oversize = 41, Drop;
    /// A DMA read or write failed.
    DmaError = 42, Drop;

    // ---- the host: refusals of the translator --------------------------------------------------------------------
    /// No NAT rule term matches the packet.
    NoRule = 64, Drop;
    /// Every port of the pool is in use.
    PoolExhausted = 65, Drop;
    /// The configured maximum of sessions is reached.
    SessionLimit = 66, Drop;
    /// IPv4 packet to a pool address without a mapping (RFC 6146 section 3.5).
    NoMapping = 67, Drop;
    /// The mapping's filter does not let this source in.
    Filtered = 68, Drop;
    /// Source address is inside a translation prefix (RFC 6146 section 3.5, hairpin loop).
    SourceInPref64 = 69, Drop;
    /// Source or destination address cannot be translated (multicast, loopback, unspecified, not unicast).
    BadAddress = 70, Drop;
    /// Non-global IPv4 address under the well-known prefix (RFC 6052 section 3.1).
    NotGlobal = 71, Drop;
    /// Transport checksum is wrong, or missing, where it must be there.
    BadTransportChecksum = 72, Drop;
    /// ICMP type or code that is not translated (RFC 7915 sections 4.2 and 5.2).
    IcmpNotTranslated = 73, Drop;
    /// ICMP error that quotes a packet of no session.
    IcmpErrorNoSession = 74, Drop;
    /// ICMP error whose quoted packet cannot be read.
    IcmpErrorMalformed = 75, Drop;
    /// Fragments that overlap.
    FragmentOverlap = 76, Drop;
    /// The fragment store of this source, or of all, is full.
    FragmentLimit = 77, Drop;
    /// The other fragments did not arrive in time.
    FragmentTimeout = 78, Drop;
    /// UDP fragment with a zero checksum (RFC 7915 section 4.5).
    FragmentZeroChecksum = 79, Drop;
    /// First TCP segment of a session is no SYN.
    TcpNotSyn = 80, Drop;
    /// Too many IPv4-side SYNs are waiting (RFC 6146 section 3.5.2.2).
    SynStoreFull = 81, Drop;
    /// Hop limit or TTL exceeded; Time Exceeded was sent.
    TimeExceeded = 82, Answer;
    /// Packet too big; Packet Too Big or Fragmentation Needed was sent.
    PacketTooBig = 83, Answer;
    /// Source route or routing header still to be followed; the error was sent.
    SourceRoute = 84, Answer;
    /// No mapping for an IPv4 packet; Destination Unreachable was sent.
    Unreachable = 85, Answer;
    /// The error limit was reached, no ICMP error was sent.
    ErrorRateLimited = 86, Drop;
    /// Second rule maps the same client to the same server (Junos drops it, `on-conflict drop`).
    EimConflict = 87, Drop;
    /// The subscriber has all sessions or ports it may have.
    SubscriberLimit = 88, Drop;
    /// Half-open sessions are at their limit.
    EmbryonicLimit = 89, Drop;
    /// New sessions come faster than the configured rate.
    SetupRate = 90, Drop;
    /// Source and destination are the same (land attack).
    LandAttack = 91, Drop;
    /// A stored SYN was not answered in time (RFC 6146 section 3.5.2.2).
    SynTimeout = 92, Drop;
    /// The rule term says no translation.
    NoTranslation = 93, Drop;
    /// The mapping has all sessions from the IPv4 side it may have (eif-flow-limit).
    EifFlowLimit = 94, Drop;
    /// The configured maximum of BIB entries is reached.
    BibLimit = 95, Drop;
    /// It cannot go on, and no error may be sent about it (ICMP error, later fragment, sender that is no host).
    NotAnswered = 96, Drop;

    // ---- the host: refusals of the driver -------------------------------------------------------------------------
    /// Next hop did not answer ARP or neighbour discovery.
    NeighbourUnreachable = 112, Drop;
    /// Too many packets already wait for this next hop.
    NeighbourQueueFull = 113, Drop;
    /// Frame is not for our address.
    NotForUs = 114, Drop;
    /// No unit matches the frame's port and VLAN tags.
    NoUnit = 115, Drop;
    /// The inject ring is full.
    InjectRingFull = 116, Drop;
    /// An exception descriptor made no sense (length, reason).
    BadDescriptor = 117, Drop;
    /// The ethertype is none the host handles.
    UnknownEthertype = 118, Drop;
    /// ARP or neighbour discovery message that cannot be right.
    BadNeighbourMessage = 119, Drop;
    /// Frame shorter than its headers.
    ShortFrame = 120, Drop;
    /// The card's table has no room; the session stays in software (a count of sessions, no packet is lost).
    CardTableFull = 121, Punt;
    /// The card's next-hop table is full; the session stays in software.
    NextHopTableFull = 122, Punt;

    // ---- the host: refusals of the software card ------------------------------------------------------------------
    /// The receive ring of an interface was full; the workers are too slow.
    ReceiveRingFull = 123, Drop;
    /// The interface did not take the frame (queue full, interface down).
    SendRefused = 124, Drop;
    /// The queue to the worker that has the session was full.
    HandOverFull = 125, Drop;
    /// The kernel's account of a frame (super-segment, checksum to be made) made no sense.
    BadOffload = 126, Drop;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_lines_are_usable() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason as u8), Some(reason));
            let line = reason.explanation();
            assert!(
                line.len() > 10 && line.len() <= 110 && line.ends_with('.') && !line.starts_with(' '),
                "{line:?}"
            );
        }
        assert_eq!(Reason::from_code(0), None);
    }
}
