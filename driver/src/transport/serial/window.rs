//! The host's side of the acknowledgments: numbers, what waits for one, what is sent again. No I/O and no clock: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nat64_layout::serial::{head, Kind, LinkSetup, Status, NUMBERS, WINDOW};

use super::line::{Damaged, Frame};

/// How long frames wait for an acknowledgment before they are sent again: a full window of 4 frames of 150 octets takes 2 ms, and a USB
/// adapter may keep an answer for 16 ms.
pub(super) const RESEND: Duration = Duration::from_millis(50);

/// Frames that may wait before no answer is added: a card that works has eight reads outstanding, of four frames at most.
const MOST: usize = 1024;

/// What happened on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SerialStats {
    /// Frames sent, with those sent again.
    pub sent: u64,
    /// Of these, frames that were sent again.
    pub resent: u64,
    /// Good frames that came.
    pub received: u64,
    /// Damaged frames that came.
    pub damaged: u64,
    /// Damaged frames that came to the card.
    pub damaged_at_card: u64,
}

#[derive(Debug)]
struct Waiting {
    kind: Kind,
    second: u8,
    dws: Vec<u32>,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Window {
    /// What was not acknowledged, the oldest first.
    waiting: VecDeque<Waiting>,
    /// Number of the oldest.
    number: u8,
    /// How many of them are on their way.
    sent: usize,
    /// How many of them were sent before.
    before: usize,
    since: Instant,
    awaited: u8,
    /// The missing frame was asked for.
    asked: bool,
    /// An answer is due.
    answer: Option<Kind>,
    greeted: bool,
    status: Status,
    stats: SerialStats,
}

impl Window {
    /// Begins anew, with a number of its own choice, so that what an earlier host sent is not taken for this one's.
    pub fn new(number: u8, setup: LinkSetup, now: Instant) -> Self {
        let mut hello = setup;
        hello.set_hello(true);
        let mut window = Self {
            waiting: VecDeque::new(),
            number: number % NUMBERS,
            sent: 0,
            before: 0,
            since: now,
            awaited: 0,
            asked: false,
            answer: None,
            greeted: false,
            status: Status(0),
            stats: SerialStats::default(),
        };
        window.set_up(hello);
        window
    }

    /// Queues a set-up of the link.
    pub fn set_up(&mut self, setup: LinkSetup) {
        self.push(Kind::Setup, 0, vec![setup.0]);
    }

    /// Queues a TLP; `bar` has bit 0 for BAR0, bit 1 for BAR2.
    pub fn tlp(&mut self, bar: u8, dws: Vec<u32>) {
        self.push(Kind::Tlp, bar, dws);
    }

    fn push(&mut self, kind: Kind, second: u8, dws: Vec<u32>) {
        self.waiting.push_back(Waiting { kind, second, dws });
    }

    /// Frames that are not acknowledged.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// So much waits that what the card asks for is not answered any more.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Whether the card has answered.
    pub const fn greeted(&self) -> bool {
        self.greeted
    }

    /// What the card said of itself last.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// What happened so far.
    pub const fn stats(&self) -> SerialStats {
        self.stats
    }

    /// When [`Window::send`] has something to do though nothing came.
    pub fn deadline(&self) -> Option<Instant> {
        (self.sent > 0).then(|| self.since + RESEND)
    }

    /// Appends the octets that are to be sent now.
    pub fn send(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.again();
        }
        if let Some(kind) = self.answer.take() {
            self.put(head(kind, self.number, self.awaited), 0, &[], out);
        }
        // Before the card has answered the hello it takes nothing else.
        let most = if self.greeted { usize::from(WINDOW) } else { 1 };
        while self.sent < self.waiting.len().min(most) {
            let Some(frame) = self.waiting.get(self.sent) else {
                break;
            };
            let number = (self.number + self.sent as u8) % NUMBERS;
            let (head, second, dws) = (head(frame.kind, number, self.awaited), frame.second, frame.dws.clone());
            self.put(head, second, &dws, out);
            self.sent += 1;
            if self.sent <= self.before {
                self.stats.resent += 1;
            }
            self.since = now;
        }
    }

    fn put(&mut self, head: u8, second: u8, dws: &[u32], out: &mut Vec<u8>) {
        let frame = Frame {
            head,
            second,
            dws: dws.to_vec(),
        };
        frame.encode(out);
        self.stats.sent += 1;
    }

    fn again(&mut self) {
        self.before = self.before.max(self.sent);
        self.sent = 0;
    }

    /// Takes what came; a TLP of the card when it is the next one.
    pub fn take(&mut self, now: Instant, frame: Result<Frame, Damaged>) -> Option<Vec<u32>> {
        let Ok(frame) = frame else {
            self.stats.damaged += 1;
            self.ask();
            return None;
        };
        let (kind, number, awaited) = (Kind::of(frame.head), frame.head >> 3 & 7, frame.head & 7);
        let done = usize::from(awaited.wrapping_sub(self.number) % NUMBERS);
        if !self.greeted && (kind != Kind::Ack || done != 1) {
            // What the card sent before it heard of us.
            return None;
        }
        self.stats.received += 1;
        let status = Status(frame.second);
        if self.greeted {
            let more = status.damaged().wrapping_sub(self.status.damaged()) % 32;
            self.stats.damaged_at_card += u64::from(more);
        }
        self.status = status;
        // An acknowledgment of what was never sent is no acknowledgment.
        if (1..=self.sent.max(self.before)).contains(&done) {
            self.waiting.drain(..done.min(self.waiting.len()));
            self.number = awaited;
            (self.sent, self.before) = (self.sent.saturating_sub(done), self.before.saturating_sub(done));
            self.since = now;
        }
        if !self.greeted {
            (self.greeted, self.awaited) = (true, number);
            return None;
        }
        match kind {
            Kind::Nak => self.again(),
            Kind::Tlp if number == self.awaited => {
                self.awaited = (self.awaited + 1) % NUMBERS;
                self.asked = false;
                self.answer = Some(Kind::Ack);
                return Some(frame.dws);
            }
            Kind::Tlp if (1..=WINDOW).contains(&(self.awaited.wrapping_sub(number) % NUMBERS)) => {
                self.answer = Some(Kind::Ack);
            }
            Kind::Tlp => self.ask(),
            Kind::Ack | Kind::Setup => {}
        }
        None
    }

    fn ask(&mut self) {
        if self.greeted && !std::mem::replace(&mut self.asked, true) {
            self.answer = Some(Kind::Nak);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Deframer;
    use super::*;

    fn frames(octets: &[u8]) -> Vec<Frame> {
        let mut deframer = Deframer::default();
        octets
            .iter()
            .filter_map(|&octet| deframer.take(octet))
            .map(|frame| frame.expect("whole"))
            .collect()
    }

    fn sent(window: &mut Window, now: Instant) -> Vec<Frame> {
        let mut octets = Vec::new();
        window.send(now, &mut octets);
        frames(&octets)
    }

    fn ack(number: u8, awaited: u8) -> Result<Frame, Damaged> {
        Ok(Frame {
            head: head(Kind::Ack, number, awaited),
            second: 0,
            dws: Vec::new(),
        })
    }

    fn greeted(now: Instant) -> Window {
        let mut window = Window::new(6, LinkSetup(0), now);
        window.tlp(1, vec![1]);
        assert_eq!(sent(&mut window, now).len(), 1, "the hello alone");
        assert_eq!(window.take(now, ack(3, 5)), None);
        assert!(!window.greeted(), "not an answer to this hello");
        window.take(now, ack(3, 7));
        assert!(window.greeted());
        window
    }

    #[test]
    fn a_window_is_sent_and_sent_again() {
        let now = Instant::now();
        let mut window = greeted(now);
        for i in 2..10 {
            window.tlp(1, vec![i]);
        }
        let first = sent(&mut window, now);
        assert_eq!(first.len(), usize::from(WINDOW));
        assert_eq!(first[0].head, head(Kind::Tlp, 7, 3));
        assert_eq!(first[1].head, head(Kind::Tlp, 0, 3));
        assert!(sent(&mut window, now).is_empty());
        window.take(now, ack(3, 1));
        let more = sent(&mut window, now);
        assert_eq!(more.iter().map(|f| f.dws[0]).collect::<Vec<_>>(), [5, 6]);
        // silence: the whole window comes again, and nothing before its time
        assert!(sent(&mut window, now + RESEND / 2).is_empty());
        let again = sent(&mut window, now + RESEND);
        assert_eq!(again.iter().map(|f| f.dws[0]).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(window.stats().resent, 4);
        // a late acknowledgment of the first sending counts
        window.take(now, ack(3, 5));
        assert_eq!(window.waiting(), 3);
    }

    #[test]
    fn an_acknowledgment_of_the_unsent_is_none() {
        let now = Instant::now();
        let mut window = greeted(now);
        window.take(now, ack(3, 0));
        assert_eq!(window.waiting(), 1);
        sent(&mut window, now);
        window.take(now, ack(3, 4));
        assert_eq!(window.waiting(), 1);
        window.take(now, ack(3, 0));
        assert_eq!(window.waiting(), 0);
    }

    #[test]
    fn what_a_card_may_ask_for_is_bounded() {
        let now = Instant::now();
        let mut window = greeted(now);
        let mut asked = 0;
        while !window.is_full() {
            window.tlp(0, vec![asked]);
            asked += 1;
            assert!(asked < 2_000);
        }
        sent(&mut window, now);
        window.take(now, ack(3, 1));
        assert!(!window.is_full());
    }

    #[test]
    fn a_missing_frame_is_asked_for_once() {
        let now = Instant::now();
        let mut window = greeted(now);
        sent(&mut window, now);
        let tlp = |number| {
            Ok(Frame {
                head: head(Kind::Tlp, number, 0),
                second: 0,
                dws: vec![u32::from(number)],
            })
        };
        assert_eq!(window.take(now, Err(Damaged)), None);
        assert_eq!(sent(&mut window, now)[0].head >> 6, Kind::Nak as u8);
        assert_eq!(window.take(now, tlp(4)), None);
        assert!(sent(&mut window, now).is_empty());
        assert_eq!(window.take(now, tlp(3)), Some(vec![3]));
        assert_eq!(window.take(now, tlp(3)), None, "a second time");
        let answer = sent(&mut window, now);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].head, head(Kind::Ack, 0, 4));
    }
}
