//! Counters. Nothing ends here without one.

use nat64_layout::{Direction, Reason};

use crate::pool::Usage;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets as they arrived.
    pub bytes: u64,
}

/// Counters of a service set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceSetStats {
    /// Translated packets, by direction (index: [`Direction`]). A hairpinned packet counts in both.
    pub translated: [Traffic; 2],
    /// Sessions opened.
    pub opened: u64,
    /// Sessions that ended.
    pub closed: u64,
    /// Sessions now.
    pub sessions: u32,
}

/// Counters of a translator.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Packets that ended for a reason, by its code.
    pub reasons: [u64; 256],
    /// By service set.
    pub service_sets: Vec<ServiceSetStats>,
    /// By pool.
    pub pools: Vec<Usage>,
    /// Probes sent on idle TCP sessions.
    pub probes: u64,
    /// Stored SYNs that met the SYN of a client (simultaneous open); they are not forwarded (RFC 5382 REQ-4).
    pub stored_syns_met: u64,
    /// Packets that were held (fragments, stored SYNs) when they arrived.
    pub held: u64,
    /// TCP sessions in V4 INIT or V6 INIT now.
    pub embryonic: u32,
}

impl Stats {
    pub(crate) fn new(service_sets: usize) -> Self {
        Self {
            reasons: [0; 256],
            service_sets: vec![ServiceSetStats::default(); service_sets],
            pools: Vec::new(),
            probes: 0,
            stored_syns_met: 0,
            held: 0,
            embryonic: 0,
        }
    }

    /// Packets that ended for this reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }

    #[inline]
    pub(crate) fn translated(&mut self, service_set: u16, direction: Direction, bytes: usize) {
        if let Some(set) = self.service_sets.get_mut(usize::from(service_set)) {
            set.translated[direction as usize].packets += 1;
            set.translated[direction as usize].bytes += bytes as u64;
        }
    }
}
