//! Counters. Nothing ends here without one.

use nat64_layout::{Direction, Reason};

use crate::config::Config;
use crate::pool::Usage;
use crate::session::Session;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets as they arrived.
    pub bytes: u64,
}

/// Packets that ended, by the code of their [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reasons([u64; 256]);

impl Default for Reasons {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl std::fmt::Debug for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(reason, count)| (reason.name(), count)))
            .finish()
    }
}

impl Reasons {
    /// Packets that ended for this reason.
    pub const fn count(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// The reasons that occurred, with their counts, by rising code.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        let counts = Reason::ALL.iter().map(|&reason| (reason, self.count(reason)));
        counts.filter(|&(_, count)| count > 0)
    }

    pub(crate) fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

/// Counters of a rule term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TermStats {
    /// Packets without a session that the term was the first to match, whatever became of them.
    pub hits: u64,
    /// Sessions opened.
    pub opened: u64,
    /// Sessions that ended.
    pub closed: u64,
    /// Sessions now.
    pub sessions: u32,
    /// Traffic of the sessions that ended, as far as the translator saw it, by direction (index: [`Direction`]). What
    /// living sessions carry stands in them.
    pub ended: [Traffic; 2],
}

impl TermStats {
    /// A session of the term ended.
    #[inline(always)]
    pub(crate) fn close(&mut self, session: &Session) {
        self.closed += 1;
        self.sessions -= 1;
        for (ended, (packets, bytes)) in self.ended.iter_mut().zip(session.packets.iter().zip(&session.bytes)) {
            ended.packets += packets;
            ended.bytes += bytes;
        }
    }
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
    /// Why packets ended that came in on its units. Those of no unit, and fragments whose time ran out, are only in
    /// [`Stats::reasons`].
    pub reasons: Reasons,
}

fn add_all(mine: &mut [u64; 256], theirs: &[u64; 256]) {
    mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

impl TermStats {
    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.opened += other.opened;
        self.closed += other.closed;
        self.sessions += other.sessions;
        self.ended
            .iter_mut()
            .zip(&other.ended)
            .for_each(|(mine, theirs)| mine.add(theirs));
    }
}

impl ServiceSetStats {
    fn add(&mut self, other: &Self) {
        let translated = self.translated.iter_mut().zip(&other.translated);
        translated.for_each(|(mine, theirs)| mine.add(theirs));
        self.opened += other.opened;
        self.closed += other.closed;
        self.sessions += other.sessions;
        add_all(&mut self.reasons.0, &other.reasons.0);
    }
}

/// Counters of a translator.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Packets that ended for a reason, by its code.
    pub reasons: [u64; 256],
    /// By service set.
    pub service_sets: Vec<ServiceSetStats>,
    /// By service set and rule term.
    pub terms: Vec<Vec<TermStats>>,
    /// By pool.
    pub pools: Vec<Usage>,
    /// Probes sent on idle TCP sessions.
    pub probes: u64,
    /// Stored SYNs that met the SYN of a client (simultaneous open); they are not forwarded (RFC 5382 REQ-4).
    pub stored_syns_met: u64,
    /// Packets that were held (fragments, stored SYNs) when they arrived.
    pub held: u64,
    /// Packets that are held now.
    pub holding: u64,
    /// Fragments that were held and went on within a whole packet, which the one that completed it counts for.
    pub joined: u64,
    /// Packets that came to be more by fragmenting: fragments sent beyond the first of each packet.
    pub split: u64,
    /// ICMP errors and resets of ours.
    pub answers: u64,
    /// TCP sessions in V4 INIT or V6 INIT now.
    pub embryonic: u32,
}

impl Stats {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            reasons: [0; 256],
            service_sets: vec![ServiceSetStats::default(); config.service_sets.len()],
            terms: Self::terms_of(config),
            pools: Vec::new(),
            probes: 0,
            stored_syns_met: 0,
            held: 0,
            holding: 0,
            joined: 0,
            split: 0,
            answers: 0,
            embryonic: 0,
        }
    }

    /// Zeros for every term.
    pub(crate) fn terms_of(config: &Config) -> Vec<Vec<TermStats>> {
        let sets = config.service_sets.iter();
        sets.map(|set| vec![TermStats::default(); set.terms.len()]).collect()
    }

    pub(crate) fn term(&mut self, service_set: u16, term: u16) -> Option<&mut TermStats> {
        self.terms.get_mut(usize::from(service_set))?.get_mut(usize::from(term))
    }

    /// Packets of ours: answers and probes.
    pub const fn originated(&self) -> u64 {
        self.answers + self.probes
    }

    /// Packets that ended within another: joined fragments, and stored SYNs that met the client's.
    pub const fn merged(&self) -> u64 {
        self.joined + self.stored_syns_met
    }

    /// Packets that ended for this reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }

    /// Adds what another shard of the same configuration counted ([`crate::shard`]). The pools are shared, so of theirs
    /// only what counts sessions is added.
    pub fn add(&mut self, other: &Self) {
        add_all(&mut self.reasons, &other.reasons);
        for (mine, theirs) in self.service_sets.iter_mut().zip(&other.service_sets) {
            mine.add(theirs);
        }
        let terms = self.terms.iter_mut().flatten().zip(other.terms.iter().flatten());
        terms.for_each(|(mine, theirs)| mine.add(theirs));
        for (mine, theirs) in self.pools.iter_mut().zip(&other.pools) {
            mine.inbound += theirs.inbound;
            mine.inbound_opened += theirs.inbound_opened;
            mine.inbound_limited += theirs.inbound_limited;
        }
        self.probes += other.probes;
        self.stored_syns_met += other.stored_syns_met;
        self.held += other.held;
        self.holding += other.holding;
        self.joined += other.joined;
        self.split += other.split;
        self.answers += other.answers;
        self.embryonic += other.embryonic;
    }

    #[inline]
    pub(crate) fn translated(&mut self, service_set: u16, direction: Direction, bytes: usize) {
        if let Some(set) = self.service_sets.get_mut(usize::from(service_set)) {
            set.translated[direction as usize].packets += 1;
            set.translated[direction as usize].bytes += bytes as u64;
        }
    }
}
