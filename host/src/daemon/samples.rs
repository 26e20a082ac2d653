//! Counters over time: what was counted since a clear, and how fast it goes up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nat64_layout::{Reason, ReasonKind};

use super::dataplane::Counters;

/// Time between two looks at the counters of a card.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The card.
    Card,
    /// The host.
    Host,
}

impl By {
    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Host => "host",
        }
    }

    /// What becomes of a packet this one counts under a reason. What the host counts under a punt's reason ended there:
    /// nobody is left to punt it to.
    pub const fn kind(self, reason: Reason) -> ReasonKind {
        match (self, reason.kind()) {
            (Self::Host, ReasonKind::Punt) => ReasonKind::Drop,
            (_, kind) => kind,
        }
    }
}

/// Packets by who counted them and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    card: [u64; 256],
    host: [u64; 256],
}

impl Tally {
    /// What has been counted.
    pub fn new(counters: &Counters) -> Self {
        let mut card = [0; 256];
        for &(reason, count) in counters.card.iter().flat_map(|card| &card.reasons) {
            card[reason as usize] = count;
        }
        Self {
            card,
            host: counters.host.reasons,
        }
    }

    /// Packets of one reason.
    pub const fn of(&self, by: By, reason: Reason) -> u64 {
        match by {
            By::Card => self.card[reason as usize],
            By::Host => self.host[reason as usize],
        }
    }

    /// What was counted after `base`.
    pub fn since(mut self, base: Option<&Self>) -> Self {
        if let Some(base) = base {
            // A card that was opened anew counts from zero.
            let less = |mine: &mut [u64; 256], theirs: &[u64; 256]| {
                mine.iter_mut()
                    .zip(theirs)
                    .for_each(|(a, b)| *a = a.checked_sub(*b).unwrap_or(*a));
            };
            less(&mut self.card, &base.card);
            less(&mut self.host, &base.host);
        }
        self
    }

    /// Packets that ended: drops of card and host.
    pub fn drops(&self) -> u64 {
        self.sum(|kind| kind == ReasonKind::Drop)
    }

    /// Packets that ended or were answered.
    pub fn ended(&self) -> u64 {
        self.sum(|kind| kind != ReasonKind::Punt)
    }

    fn sum(&self, counts: impl Fn(ReasonKind) -> bool) -> u64 {
        let both = Reason::ALL
            .iter()
            .flat_map(|&reason| [(By::Card, reason), (By::Host, reason)]);
        // These two are sessions that stay on the host, not packets.
        both.filter(|(_, reason)| !matches!(reason, Reason::CardTableFull | Reason::NextHopTableFull))
            .filter(|(by, reason)| counts(by.kind(*reason)))
            .map(|(by, reason)| self.of(by, reason))
            .sum()
    }
}

/// Packets per second by reason.
#[derive(Clone, Debug)]
pub struct Rates {
    moved: Tally,
    seconds: f64,
}

impl Rates {
    /// Of one reason.
    pub fn of(&self, by: By, reason: Reason) -> f64 {
        self.moved.of(by, reason) as f64 / self.seconds
    }
}

/// Rates over the last [`INTERVAL`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Sessions opened per second.
    pub setup: f64,
    /// Sessions closed per second.
    pub teardown: f64,
    /// Packets dropped per second.
    pub drops: f64,
}

#[derive(Clone)]
struct Sample {
    at: Instant,
    tally: Tally,
    opened: u64,
    closed: u64,
}

/// The last two looks at each card.
#[derive(Default)]
pub struct Samples(Mutex<HashMap<String, (Option<Sample>, Sample)>>);

impl Samples {
    /// Notes a look.
    pub fn note(&self, card: &str, counters: &Counters, at: Instant) {
        let sets = &counters.translator.service_sets;
        let sample = Sample {
            at,
            tally: Tally::new(counters),
            opened: sets.iter().map(|set| set.opened).sum(),
            closed: sets.iter().map(|set| set.closed).sum(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(card).map(|(_, last)| last);
        all.insert(card.to_owned(), (before, sample));
    }

    fn pair(&self, card: &str) -> Option<(Sample, Sample)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, last) = all.get(card)?;
        Some((before.clone()?, last.clone())).filter(|(before, last)| last.at > before.at)
    }

    /// Packets per second by reason; `None` before the second look.
    pub fn reason_rates(&self, card: &str) -> Option<Rates> {
        let (before, last) = self.pair(card)?;
        Some(Rates {
            seconds: (last.at - before.at).as_secs_f64(),
            moved: last.tally.since(Some(&before.tally)),
        })
    }

    /// Sessions and drops per second; zero before the second look.
    pub fn rates(&self, card: &str) -> Speed {
        let Some((before, last)) = self.pair(card) else {
            return Speed::default();
        };
        let seconds = (last.at - before.at).as_secs_f64();
        let per_second = |last: u64, before: u64| last.saturating_sub(before) as f64 / seconds;
        Speed {
            setup: per_second(last.opened, before.opened),
            teardown: per_second(last.closed, before.closed),
            drops: last.tally.since(Some(&before.tally)).drops() as f64 / seconds,
        }
    }
}

/// Counters at the last `clear services nat statistics`, by card.
#[derive(Default)]
pub struct Baselines(Mutex<HashMap<String, (Arc<Counters>, Instant)>>);

impl Baselines {
    /// Counts from here.
    pub fn set(&self, card: &str, counters: Counters) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(card.to_owned(), (Arc::new(counters), Instant::now()));
    }

    /// The counters then, and when it was.
    pub fn get(&self, card: &str) -> Option<(Arc<Counters>, Instant)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(card).cloned()
    }
}
