//! A card that failed, and how the gateway goes on: without it, with it again, or with another one.
//!
//! ```text
//!   card works --[GatewayError::Device, check_card]--> detach_card --> sessions held
//!      ^                                                                 |       |
//!      +----------------- attach_card(opened anew) <---------------------+       +--> give_up_card: software alone
//! ```
//!
//! The translator has every session, so nothing of a card has to be saved: a card that was opened anew gets them all
//! again. What only the card knew is when each session last saw a packet. So sessions that were in the card count as
//! seen at the moment it was lost, and none ends while the card is away: it may well be at work, only out of reach. That
//! errs to the side of a session that lives one timeout too long, never to that of a connection that is cut.

use nat64_layout::Direction;
use nat64_xlate::{Flow, SessionId, Time};

use super::{Gateway, GatewayError};
use crate::card::Card;
use crate::transport::DeviceError;

/// Sessions, when a card comes or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Sessions that were in the card, or are now.
    pub installed: usize,
    /// Sessions that waited, or wait now, for a next hop or for room.
    pub waiting: usize,
}

impl Gateway {
    /// Looks whether the card is what the driver believes it to be: there, not reset behind its back, and getting on
    /// with its rings. Costs a few register reads; once a second is often enough.
    ///
    /// # Errors
    /// [`GatewayError::Device`] with what is wrong: it is time for [`Gateway::detach_card`].
    pub fn check_card(&mut self) -> Result<(), GatewayError> {
        match &mut self.card {
            Some(card) => Ok(card.check()?),
            None => Ok(()),
        }
    }

    /// Whether a card was detached and is still expected back: its sessions are held.
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// Lets go of a card that failed, and returns it: to be dropped, which closes it. Sessions stay; those that a card
    /// may carry are held until [`Gateway::attach_card`] or [`Gateway::give_up_card`].
    pub fn detach_card(&mut self, now: Time) -> (Option<Card>, Moved) {
        let moved = Moved {
            installed: self.carried.len(),
            waiting: self.deferred.len(),
        };
        let Some(card) = self.card.take() else {
            return (None, moved);
        };
        let ids: Vec<SessionId> = self.carried.keys().copied().collect();
        self.touch_all(now, &ids);
        for (_, carried) in self.carried.drain() {
            for (key, _) in carried.hops {
                self.neighbours.unpin(key);
            }
        }
        self.deferred.clear();
        self.waiting.clear();
        self.overflow.clear();
        self.holding = true;
        (Some(card), moved)
    }

    /// Takes a card that was opened anew (in the state [`Card::open`] leaves it in): configures it and installs every
    /// session it may carry.
    ///
    /// # Errors
    /// When the configuration does not fit this card (nothing is attached then), or it fails again: detach it again.
    pub fn attach_card(&mut self, now: Time, mut card: Card) -> Result<Moved, GatewayError> {
        card.configure(&self.config)?;
        let offset = now.wrapping_sub(card.time()?);
        if self.card.is_some() {
            // Whoever has a card and brings another means it.
            drop(self.detach_card(now));
        }
        self.card = Some(card);
        self.card_offset = offset;
        self.holding = false;
        let mut flows: Vec<Flow> = self
            .xlate
            .sessions()
            .filter(|info| info.installed)
            .map(|info| info.flow)
            .collect();
        // Hash maps have no order, and the same input shall give the same output.
        flows.sort_by_key(|flow| flow.id);
        // The card may have been seen by packets up to now.
        let ids: Vec<SessionId> = flows.iter().map(|flow| flow.id).collect();
        self.touch_all(now, &ids);
        for flow in flows {
            self.install(now, flow)?;
        }
        self.flush()?;
        Ok(Moved {
            installed: self.carried.len(),
            waiting: self.deferred.len(),
        })
    }

    /// The card does not come back: sessions are the translator's alone from here on, and end when no packet comes.
    pub fn give_up_card(&mut self) {
        self.holding = false;
    }

    /// Sessions of whose packets nobody here knows count as seen now.
    pub(super) fn touch_all(&mut self, now: Time, ids: &[SessionId]) {
        for &id in ids {
            for direction in [Direction::SixToFour, Direction::FourToSix] {
                self.xlate.touch(id, direction, now);
            }
        }
    }

    /// Sessions that would end by `now` while their card is away: they do not.
    pub(super) fn hold_due(&mut self, now: Time) {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        self.xlate.due(now, &mut due);
        self.touch_all(now, &due);
        self.due = due;
    }
}

/// Opens a lost card again, at intervals that grow: what a daemon calls in its loop while [`Gateway::is_holding`].
pub struct Reopener {
    open: Box<dyn FnMut() -> Result<Card, String> + Send>,
    first: Time,
    delay: Time,
    next: Option<Time>,
    attempts: u32,
}

/// What came of one look at a lost card.
#[derive(Debug)]
pub enum Reopened {
    /// It is not time to try yet, or nothing is lost. When to look again, if ever.
    Nothing(Option<Time>),
    /// The card is back.
    Back(Moved),
    /// It did not open, or failed at once.
    Failed {
        /// Attempts so far.
        attempts: u32,
        /// Why.
        error: String,
    },
}

/// First interval between attempts, 100 ms in ns.
const FIRST_DELAY: Time = 100_000_000;
/// Longest interval between attempts: 30 s.
const LAST_DELAY: Time = 30_000_000_000;

impl Reopener {
    /// `open` opens the card anew.
    pub fn new(open: impl FnMut() -> Result<Card, String> + Send + 'static) -> Self {
        Self {
            open: Box::new(open),
            first: FIRST_DELAY,
            delay: FIRST_DELAY,
            next: None,
            attempts: 0,
        }
    }

    /// Tries to bring the card back when it is time.
    pub fn poll(&mut self, now: Time, gateway: &mut Gateway) -> Reopened {
        if !gateway.is_holding() {
            return Reopened::Nothing(None);
        }
        if let Some(next) = self.next.filter(|&next| next > now) {
            return Reopened::Nothing(Some(next));
        }
        let attached = (self.open)().and_then(|card| {
            gateway.attach_card(now, card).map_err(|error| {
                drop(gateway.detach_card(now));
                chain(&error)
            })
        });
        match attached {
            Ok(moved) => {
                (self.delay, self.next, self.attempts) = (self.first, None, 0);
                Reopened::Back(moved)
            }
            Err(error) => {
                self.attempts += 1;
                self.next = Some(now.saturating_add(self.delay));
                self.delay = (self.delay * 2).min(LAST_DELAY);
                Reopened::Failed {
                    attempts: self.attempts,
                    error,
                }
            }
        }
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl GatewayError {
    /// Whether the card failed, so that it must be detached.
    pub const fn is_device(&self) -> bool {
        matches!(self, Self::Device(_))
    }

    /// What the card failed with.
    pub const fn device(&self) -> Option<&DeviceError> {
        match self {
            Self::Device(error) => Some(error),
            _ => None,
        }
    }
}
