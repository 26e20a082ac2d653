//! The books of a gateway: where every packet is that came in or was made.
//!
//! ```text
//!   received + originated + split  =  sent + dropped + consumed + merged + held + waiting
//! ```
//!
//! Each term is counted by whoever does it, so a packet that is lost on the way, or counted twice, shows as a difference.
//! The equation holds whenever nothing is on its way between card, driver and workers.

/// See the module documentation. Packets, all of them; a super-segment is as many as it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Came in by a port.
    pub received: u64,
    /// Ours: ICMP errors, resets, probes, ARP and discovery messages, router advertisements.
    pub originated: u64,
    /// Made by fragmenting: fragments beyond the first of each packet.
    pub split: u64,
    /// Went out by a port.
    pub sent: u64,
    /// Ended for a reason, by card, driver or translator; those that were answered among them.
    pub dropped: u64,
    /// ARP and discovery messages that were taken.
    pub consumed: u64,
    /// Went on within another: fragments of a packet that was put together, stored SYNs that met the client's.
    pub merged: u64,
    /// Held by the translator: fragments and SYNs.
    pub held: u64,
    /// Wait for the answer of their next hop.
    pub waiting: u64,
}

impl Books {
    /// What came into being.
    pub const fn credit(&self) -> u64 {
        self.received + self.originated + self.split
    }

    /// What is accounted for.
    pub const fn debit(&self) -> u64 {
        self.sent + self.dropped + self.consumed + self.merged + self.held + self.waiting
    }

    /// Packets that nobody accounts for; less than zero: more are accounted for than there were.
    pub const fn difference(&self) -> i64 {
        self.credit().wrapping_sub(self.debit()) as i64
    }

    /// Adds another's, a worker's for instance.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.originated += other.originated;
        self.split += other.split;
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.consumed += other.consumed;
        self.merged += other.merged;
        self.held += other.held;
        self.waiting += other.waiting;
    }
}

impl std::fmt::Display for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} received + {} originated + {} split = {} sent + {} dropped + {} consumed + {} merged + {} held + {} waiting",
            self.received,
            self.originated,
            self.split,
            self.sent,
            self.dropped,
            self.consumed,
            self.merged,
            self.held,
            self.waiting
        )?;
        match self.difference() {
            0 => Ok(()),
            difference => write!(f, " ({difference} not accounted for)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_too_many_and_one_too_few_show() {
        let books = Books {
            received: 7,
            originated: 2,
            split: 1,
            sent: 5,
            dropped: 1,
            consumed: 1,
            merged: 1,
            held: 1,
            waiting: 1,
        };
        assert_eq!((books.credit(), books.debit(), books.difference()), (10, 10, 0));
        assert!(!books.to_string().contains("accounted"));
        let less = Books { sent: 4, ..books };
        assert_eq!(less.difference(), 1);
        assert!(less.to_string().ends_with("(1 not accounted for)"));
        let mut twice = Books { sent: 6, ..books };
        assert_eq!(twice.difference(), -1);
        twice.add(&less);
        assert_eq!((twice.received, twice.difference()), (14, 0));
    }
}
