//! What the translator asks for: it decides everything and does nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use nat64_layout::{Direction, Protocol, Reason};

/// Instant, in nanoseconds of the caller's clock.
pub type Time = u64;

/// Names a session while it lives; an id is not used again for another session within 2^32 sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// Slot in the session slab.
    pub slot: u32,
    /// Times the slot was used before.
    pub generation: u32,
}

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send an IP packet out of a unit; the bytes are `effects.bytes(bytes)`, and behind them, in a list that is
    /// [`Effects::scattered`], `packet[rest]` of the packet that was given.
    Send {
        /// Unit to send on.
        unit: usize,
        /// Where the packet lies in the arena.
        bytes: Range<usize>,
        /// What follows is this part of the packet that was given. Always empty but in a list that is
        /// [`Effects::scattered`].
        rest: Range<usize>,
        /// The packet is a translated one (not an error or probe of ours), and in which direction.
        translated: Option<Direction>,
    },
    /// The session can now be carried by a card.
    Install(Flow),
    /// A card must not carry the session any more (its state may change with any packet, or it ended).
    Remove(SessionId),
    /// The packet that was given ended here for this reason.
    Drop(Reason),
    /// Something to log.
    Log(Event),
}

/// A session, as a card needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Session.
    pub id: SessionId,
    /// Protocol.
    pub protocol: Protocol,
    /// Unit the client is behind.
    pub unit: usize,
    /// Service set.
    pub service_set: usize,
    /// Rule term in the service set.
    pub term: usize,
    /// Prefix that embeds the server's address.
    pub pref64: Ipv6Addr,
    /// Its length.
    pub pref64_length: u8,
    /// Client.
    pub client: (Ipv6Addr, u16),
    /// Pool address and port.
    pub pool: (Ipv4Addr, u16),
    /// Server; the port is 0 for ICMP.
    pub remote: (Ipv4Addr, u16),
}

/// Log events.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A session was made.
    SessionOpen(Flow),
    /// A session ended; packets and bytes as far as the translator saw them.
    SessionClose {
        /// The session.
        flow: Flow,
        /// Packets, by direction.
        packets: [u64; 2],
        /// Bytes, by direction.
        bytes: [u64; 2],
    },
    /// A port block was given to a subscriber.
    PortBlockAllocated {
        /// Subscriber address or prefix.
        subscriber: Ipv6Addr,
        /// Pool address.
        address: Ipv4Addr,
        /// First and last port.
        ports: (u16, u16),
    },
    /// A port block was given back.
    PortBlockReleased {
        /// Subscriber address or prefix.
        subscriber: Ipv6Addr,
        /// Pool address.
        address: Ipv4Addr,
        /// First and last port.
        ports: (u16, u16),
    },
}

/// A list of effects and the arena of their packet bytes; reuse it, so that a packet costs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    /// The packets, and behind them bytes of no meaning.
    arena: Vec<u8>,
    /// Bytes of the arena that are packets.
    used: usize,
    /// What a translated packet has in common with the one that was given is left where it is.
    scattered: bool,
    /// Length of `list` after each packet of a batch.
    ends: Vec<usize>,
}

impl Effects {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list for who has the packets that are given when the effects are performed: of a translated packet whose
    /// payload stays as it is only the headers are written, and [`Effect::Send`] tells where the rest lies. So a long packet
    /// costs no more than a short one. The arena's part has all of the IP header and the first 20 bytes of a TCP header, or
    /// all of a UDP header.
    pub fn scattered() -> Self {
        Self {
            scattered: true,
            ..Self::default()
        }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.used = 0;
        self.ends.clear();
    }

    /// The effects, in the order they must be performed.
    pub fn iter(&self) -> std::slice::Iter<'_, Effect> {
        self.list.iter()
    }

    /// The effects of each packet of [`crate::Nat64::step_batch`], in the order of the packets; nothing for packets of
    /// [`crate::Nat64::step`].
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &[Effect]> {
        self.ends.iter().enumerate().map(|(packet, &end)| {
            let start = packet.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.list[start..end]
        })
    }

    /// The packet in hand has no more effects.
    pub(crate) fn end_packet(&mut self) {
        self.ends.push(self.list.len());
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The bytes of a [`Effect::Send`].
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.arena[range.clone()]
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Adds a `Send` whose packet `build` appends to the arena.
    pub fn send_with(&mut self, unit: usize, translated: Option<Direction>, build: impl FnOnce(&mut Vec<u8>)) {
        let start = self.used;
        self.arena.truncate(start);
        build(&mut self.arena);
        self.used = self.arena.len();
        self.list.push(Effect::Send {
            unit,
            bytes: start..self.used,
            rest: 0..0,
            translated,
        });
    }

    /// Adds a `Send` for each IP packet that `build` appends to the arena, and returns how many; none if it fails.
    ///
    /// # Errors
    /// Those of `build`, which then has appended nothing.
    pub fn send_packets<E>(
        &mut self,
        unit: usize,
        translated: Option<Direction>,
        build: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut start = self.used;
        self.arena.truncate(start);
        build(&mut self.arena)?;
        self.used = self.arena.len();
        let mut count = 0;
        let lengths = crate::packet::lengths(&self.arena[start..]);
        for length in lengths {
            let bytes = start..start + length;
            start = bytes.end;
            count += 1;
            self.list.push(Effect::Send {
                unit,
                bytes,
                rest: 0..0,
                translated,
            });
        }
        Ok(count)
    }

    /// Adds a `Send` of a translated packet: its headers, and `packet[rest]`.
    #[inline(always)]
    pub(crate) fn send_headed<const IP: usize, const TRANSPORT: usize>(
        &mut self,
        unit: usize,
        direction: Direction,
        headers: (&[u8; IP], &[u8; TRANSPORT]),
        packet: &[u8],
        rest: Range<usize>,
    ) {
        let start = self.used;
        let mut end = start + IP + TRANSPORT;
        let mut left = rest;
        if self.scattered {
            if self.arena.len() < end {
                self.enlarge(end);
            }
            if let Some((ip, behind)) = self.arena.get_mut(start..end).and_then(<[u8]>::split_first_chunk_mut) {
                *ip = *headers.0;
                if let Some(transport) = behind.first_chunk_mut() {
                    *transport = *headers.1;
                }
            }
        } else {
            self.arena.truncate(start);
            self.arena.extend_from_slice(headers.0);
            self.arena.extend_from_slice(headers.1);
            self.arena.extend_from_slice(packet.get(left).unwrap_or_default());
            (left, end) = (0..0, self.arena.len());
        }
        self.used = end;
        self.list.push(Effect::Send {
            unit,
            bytes: start..end,
            rest: left,
            translated: Some(direction),
        });
    }

    /// Makes the arena longer than `end`, so that it is seldom too short.
    #[cold]
    fn enlarge(&mut self, end: usize) {
        self.arena.resize(2 * end.max(2048), 0);
    }

    /// Adds a `Send` of these bytes.
    pub fn send(&mut self, unit: usize, translated: Option<Direction>, packet: &[u8]) {
        self.send_with(unit, translated, |arena| arena.extend_from_slice(packet));
    }
}
