//! What plain packets ask for, side by side: most need no more of the configuration than this.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use super::in_network;
use crate::rfc6052::{Pref64, NOT_GLOBAL};

/// What every packet that arrives on a unit asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPolicy {
    /// Service set that serves the unit.
    pub set: u16,
    /// [`crate::config::Unit::inside`].
    pub inside: bool,
    /// [`crate::config::Unit::outside`].
    pub outside: bool,
    /// [`crate::config::Unit::mtu`].
    pub mtu: u16,
    /// The prefix of the set if it has only one, and its index.
    pub(super) only: Option<(Pref64, u16)>,
    /// The same if its length is 96: prefix and mask as words that lie in memory as the addresses do.
    pub(super) whole: Option<(u128, u128, u16)>,
    /// Bit n: every address whose first octet is n is a server's, no pool's, and may stand under `only`.
    pub(super) servers: [u64; 4],
}

/// What the bytes of a plain packet tell of its server.
pub(crate) enum PlainServer {
    /// It is what the last four bytes of the destination say, under the prefix with this index.
    Known(u16),
    /// The packet is none for the short way.
    Nobody,
    /// [`Policy::plain_destination`] knows.
    Ask,
}

impl UnitPolicy {
    /// Looks at source and destination, as words that lie in memory as the addresses do.
    #[inline(always)]
    pub fn plain_server(&self, src: u128, dst: u128) -> PlainServer {
        let Some((prefix, mask, index)) = self.whole else {
            return PlainServer::Ask;
        };
        if (dst ^ prefix) & mask != 0 || (src ^ prefix) & mask == 0 {
            return PlainServer::Nobody;
        }
        let octet = usize::from(dst.to_ne_bytes()[12]);
        match self.servers[octet / 64] >> (octet % 64) & 1 {
            1 => PlainServer::Known(index),
            _ => PlainServer::Ask,
        }
    }
}

/// What every packet through a service set asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Unit that IPv4 packets leave by.
    pub outside_unit: usize,
    /// Its MTU.
    pub mtu4: u16,
    /// [`crate::config::DfPolicy::clear_max`].
    pub df_clear_max: u16,
    /// [`ServiceSet::tos_override`].
    pub tos_override: Option<u8>,
    /// [`ServiceSet::ipv6_mtu`].
    pub lowest_mtu6: u16,
    /// [`ServiceSet::no_v6_frag_header`].
    pub keep_whole: bool,
    /// The first term that translates.
    pub usual_term: u16,
    /// By direction: its packets refresh the sessions of every term.
    pub always_refresh: [bool; 2],
}

/// Octets no address of which is private or reserved. Worked out once: there can be thousands of units.
static GLOBAL_OCTETS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    let mut bits = [0; 4];
    for octet in 0..=255u8 {
        let networks = NOT_GLOBAL.iter().any(|(network, length)| {
            let shorter = (*length).min(8);
            in_network(
                Ipv4Addr::new(octet, 0, 0, 0),
                Ipv4Addr::new(network.octets()[0], 0, 0, 0),
                shorter,
            )
        });
        if !networks {
            bits[usize::from(octet) / 64] |= 1 << (octet % 64);
        }
    }
    bits
});

/// [`UnitPolicy::servers`] under any prefix: octets of which no address is private or reserved, outside `bounds`.
pub(super) fn servers(bounds: (u32, u32)) -> [u64; 4] {
    let mut bits = *GLOBAL_OCTETS;
    for octet in bounds.0 >> 24..=bounds.1 >> 24 {
        bits[octet as usize / 64] &= !(1 << (octet % 64));
    }
    bits
}
