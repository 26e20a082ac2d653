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
    /// Send an IP packet out of a unit; the bytes are `effects.bytes(range)`.
    Send {
        /// Unit to send on.
        unit: usize,
        /// Where the packet lies in the arena.
        bytes: Range<usize>,
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
    arena: Vec<u8>,
    /// Length of `list` after each packet of a batch.
    ends: Vec<usize>,
}

impl Effects {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
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
        let start = self.arena.len();
        build(&mut self.arena);
        self.list.push(Effect::Send {
            unit,
            bytes: start..self.arena.len(),
            translated,
        });
    }

    /// Adds a `Send` for each IP packet that `build` appends to the arena; none if it fails.
    ///
    /// # Errors
    /// Those of `build`, which then has appended nothing.
    pub fn send_packets<E>(
        &mut self,
        unit: usize,
        translated: Option<Direction>,
        build: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = self.arena.len();
        build(&mut self.arena)?;
        let lengths = crate::packet::lengths(&self.arena[start..]);
        for length in lengths {
            let bytes = start..start + length;
            start = bytes.end;
            self.list.push(Effect::Send {
                unit,
                bytes,
                translated,
            });
        }
        Ok(())
    }

    /// Adds a `Send` of a translated packet, a header and what is behind it; returns the latter, to be corrected.
    #[inline(always)]
    pub(crate) fn send_headed<const N: usize>(
        &mut self,
        unit: usize,
        direction: Direction,
        header: &[u8; N],
        payload: &[u8],
    ) -> &mut [u8] {
        let start = self.arena.len();
        self.arena.extend_from_slice(header);
        self.arena.extend_from_slice(payload);
        let end = self.arena.len();
        self.list.push(Effect::Send {
            unit,
            bytes: start..end,
            translated: Some(direction),
        });
        self.arena.get_mut(start + N..).unwrap_or_default()
    }

    /// Adds a `Send` of these bytes.
    pub fn send(&mut self, unit: usize, translated: Option<Direction>, packet: &[u8]) {
        self.send_with(unit, translated, |arena| arena.extend_from_slice(packet));
    }
}
