//! What the workers have to tell (sessions that begin and end, port blocks), until somebody takes it. Bounded: what does
//! not fit is counted.

use std::sync::{Arc, Mutex, PoisonError};

use nat64_xlate::Event as LogEvent;

use super::sys::Event;

/// Events of all workers kept until somebody takes them.
const EVENTS: usize = 65_536;

/// Events of all workers, until somebody takes them.
#[derive(Debug)]
pub struct Log {
    kept: Mutex<(Vec<LogEvent>, u64)>,
    /// Set when there is something to take.
    event: Arc<Event>,
}

impl Log {
    /// Nothing happened yet. `event` is set when something did.
    pub fn new(event: Arc<Event>) -> Self {
        Self {
            kept: Mutex::new((Vec::new(), 0)),
            event,
        }
    }

    /// Adds events, and how many were lost before.
    pub fn add(&self, events: &mut Vec<LogEvent>, lost: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.0.is_empty();
        let room = EVENTS.saturating_sub(kept.0.len()).min(events.len());
        kept.1 += lost + (events.len() - room) as u64;
        kept.0.extend(events.drain(..).take(room));
        drop(kept);
        if first {
            self.event.set();
        }
    }

    /// Set when there is something to take; who waits for it clears it.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Takes the events; returns how many were lost.
    pub fn take(&self, into: &mut Vec<LogEvent>) -> u64 {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        into.append(&mut kept.0);
        std::mem::take(&mut kept.1)
    }
}
