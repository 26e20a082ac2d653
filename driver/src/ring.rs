//! Exception ring (the card fills slots, the driver empties them) and inject ring (the other way round).
//!
//! ```text
//!   exception ring, slot:   0     1     2     3     4     5     6     7
//!                  owner: [card][card][host][host][host][card][card][card]
//!                                     ^ next to take      ^ next the card will fill
//! ```
//!
//! A slot belongs to exactly one side. In the exception ring the OWN bit of its descriptor tells which: it toggles
//! each lap, so the driver never writes into the ring. The driver reads OWN with *acquire* before any other byte of
//! the slot, so it cannot see an old length with a new owner. It gives slots back by writing the index it has come to
//! into `EXC_TAIL`, after a *release* fence behind its last read, so the card cannot overwrite bytes still being
//! looked at. In the inject ring the driver writes the frame, then the descriptor with OWN last and with *release*,
//! then the doorbell; the card tells how far it came by a word in host memory, which costs no register read.
//!
//! This module touches memory only. It knows neither transports nor registers, which is why its tests can play the
//! card. [`crate::card::Card`] rings the bells.
//!
//! Never trusted: lengths, reasons and indices come from hardware, are checked against the slot size, the reason table
//! and the ring, and a bad one is reported and skipped, not a panic.

use std::sync::atomic::{fence, Ordering};

use nat64_layout::ring::{
    own_phase, ExceptionDescriptor, InjectDescriptor, DESCRIPTOR_BYTES, MIN_INJECT, RING_LOG2_MAX, SLOT_BYTES,
    SLOT_FRAME,
};
use nat64_layout::{Reason, ReasonKind};

use crate::dma::DmaMemory;

const SLOT_WORDS: usize = SLOT_BYTES / 8;

/// Bytes of memory for a ring of `2^log2` slots.
pub const fn ring_bytes(log2: usize) -> usize {
    SLOT_BYTES << log2
}

/// Whether a ring may have `2^log2` slots.
pub const fn valid_log2(log2: usize) -> bool {
    log2 >= 1 && log2 <= RING_LOG2_MAX
}

/// A frame the card handed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Why, always a punt.
    pub reason: Reason,
    /// Port it arrived on.
    pub port: usize,
    /// Unit the card found; the driver finds its own, because the tables may have changed since.
    pub unit: Option<u8>,
    /// Card time of its arrival, ns.
    pub time_ns: u64,
    /// The frame was longer than the slot and is cut.
    pub cut: bool,
}

/// A descriptor that makes no sense: its slot was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exception slot {index}: reason {} and {} bytes make no sense", descriptor.reason, descriptor.length)]
pub struct BadDescriptor {
    /// Free-running slot index.
    pub index: u32,
    /// What was found.
    pub descriptor: ExceptionDescriptor,
}

/// The driver's side of the exception ring.
#[derive(Debug)]
pub struct ExceptionRing {
    memory: DmaMemory,
    log2: usize,
    next: u32,
}

impl ExceptionRing {
    /// A ring of `2^log2` slots at the start of `memory`, which must be zeroed and hold [`ring_bytes`].
    ///
    /// # Panics
    /// When `log2` is not [`valid_log2`] or the memory is too small; both are the driver's own choice.
    pub fn new(memory: DmaMemory, log2: usize) -> Self {
        assert!(valid_log2(log2) && memory.bytes() >= ring_bytes(log2));
        Self { memory, log2, next: 0 }
    }

    /// Takes the next frame, copied into `frame` in place of what was there; `None` when the card has filled no more.
    pub fn take(&mut self, frame: &mut Vec<u8>) -> Option<Result<Taken, BadDescriptor>> {
        let slot = (self.next as usize & ((1 << self.log2) - 1)) * SLOT_WORDS;
        let last = self.memory.load_acquire(slot + 3);
        let words = [
            self.memory.load(slot),
            self.memory.load(slot + 1),
            self.memory.load(slot + 2),
            last,
        ];
        let descriptor = ExceptionDescriptor::from_words(words);
        if descriptor.own != own_phase(self.next, self.log2) {
            return None;
        }
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        frame.clear();
        let length = usize::from(descriptor.length);
        let reason = Reason::from_code(descriptor.reason).filter(|r| r.kind() == ReasonKind::Punt && r.is_of_card());
        let (Some(reason), 1..=SLOT_FRAME) = (reason, length) else {
            return Some(Err(BadDescriptor { index, descriptor }));
        };
        self.memory.append_to(slot * 8 + DESCRIPTOR_BYTES, length, frame);
        Some(Ok(Taken {
            reason,
            port: usize::from(descriptor.port),
            unit: descriptor.unit,
            time_ns: descriptor.time_ns,
            cut: descriptor.cut,
        }))
    }

    /// Index of the slot that is taken next, free running.
    pub fn next_index(&self) -> u32 {
        self.next
    }

    /// Whether the next slot is the driver's.
    pub fn is_ready(&self) -> bool {
        let slot = (self.next as usize & ((1 << self.log2) - 1)) * SLOT_WORDS;
        let words = std::array::from_fn(|i| if i == 3 { self.memory.load_acquire(slot + 3) } else { 0 });
        ExceptionDescriptor::from_words(words).own == own_phase(self.next, self.log2)
    }

    /// Gives everything taken back: the value to write to `EXC_TAIL`. All reads of the slots are done before a write
    /// that follows.
    pub fn give_back(&self) -> u32 {
        fence(Ordering::SeqCst);
        self.next
    }

    /// Slots.
    pub fn slots(&self) -> u32 {
        1 << self.log2
    }
}

trait OfCard {
    fn is_of_card(&self) -> bool;
}

impl OfCard for Reason {
    fn is_of_card(&self) -> bool {
        (*self as u8) < nat64_layout::FIRST_HOST_REASON
    }
}

/// Why a frame did not go into the inject ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The card has not sent the frames before it.
    #[error("the inject ring is full ({slots} slots)")]
    Full {
        /// Slots of the ring.
        slots: u32,
    },
    /// The frame is too short or too long for a slot.
    #[error("a frame of {bytes} bytes cannot be injected ({MIN_INJECT} to {SLOT_FRAME})")]
    Length {
        /// Bytes of the frame.
        bytes: usize,
    },
}

/// The driver's side of the inject ring.
#[derive(Debug)]
pub struct InjectRing {
    memory: DmaMemory,
    writeback: DmaMemory,
    log2: usize,
    tail: u32,
    sent: u32,
}

impl InjectRing {
    /// A ring of `2^log2` slots at the start of `memory`; the card writes its consumer index to word 0 of
    /// `writeback`. Both must be zeroed.
    ///
    /// # Panics
    /// As [`ExceptionRing::new`].
    pub fn new(memory: DmaMemory, log2: usize, writeback: DmaMemory) -> Self {
        assert!(valid_log2(log2) && memory.bytes() >= ring_bytes(log2));
        Self {
            memory,
            writeback,
            log2,
            tail: 0,
            sent: 0,
        }
    }

    /// Slots that are free now.
    pub fn free(&mut self) -> u32 {
        let sent = self.writeback.load_acquire(0) as u32;
        // An index that is not between the last one and the tail is none the card can have come to: the old one stays.
        if self.tail.wrapping_sub(sent) <= self.tail.wrapping_sub(self.sent) {
            self.sent = sent;
        }
        (1u32 << self.log2).saturating_sub(self.tail.wrapping_sub(self.sent))
    }

    /// Frames the card has sent, free running, as [`InjectRing::free`] saw it last.
    pub fn sent_index(&self) -> u32 {
        self.sent
    }

    /// Whether the card has sent everything.
    pub fn is_idle(&mut self) -> bool {
        self.free() == 1 << self.log2
    }

    /// Puts a frame into the next slot. The card sees it when [`InjectRing::doorbell`] is written.
    pub fn push(&mut self, port: usize, frame: &[u8]) -> Result<(), InjectError> {
        let bytes = frame.len();
        if bytes < usize::from(MIN_INJECT) || bytes > SLOT_FRAME {
            return Err(InjectError::Length { bytes });
        }
        if self.free() == 0 {
            return Err(InjectError::Full { slots: 1 << self.log2 });
        }
        let slot = (self.tail as usize & ((1 << self.log2) - 1)) * SLOT_WORDS;
        self.memory.write_bytes(slot * 8 + DESCRIPTOR_BYTES, frame);
        let own = own_phase(self.tail, self.log2);
        let words = InjectDescriptor {
            port: port as u8,
            length: bytes as u16,
            own,
        }
        .to_words();
        (0..3).for_each(|i| self.memory.store(slot + i, words[i]));
        self.memory.store_release(slot + 3, words[3]);
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// The value to write to `INJ_TAIL`. Everything pushed is in memory before a write that follows.
    pub fn doorbell(&self) -> u32 {
        fence(Ordering::SeqCst);
        self.tail
    }
}

#[cfg(test)]
mod tests {
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;

    /// The card's side of the exception ring.
    struct Filler {
        memory: DmaMemory,
        log2: usize,
        head: u32,
        tail: u32,
    }

    impl Filler {
        fn fill(&mut self, reason: u8, length: u16, frame: &[u8]) -> bool {
            if self.head.wrapping_sub(self.tail) == 1 << self.log2 {
                return false;
            }
            let slot = (self.head as usize & ((1 << self.log2) - 1)) * SLOT_WORDS;
            self.memory.write_bytes(slot * 8 + DESCRIPTOR_BYTES, frame);
            let words = ExceptionDescriptor {
                time_ns: u64::from(self.head) * 10,
                sequence: self.head,
                reason,
                port: self.head as u8 & 1,
                unit: Some(3),
                cut: false,
                length,
                own: own_phase(self.head, self.log2),
            }
            .to_words();
            (0..3).for_each(|i| self.memory.store(slot + i, words[i]));
            self.memory.store_release(slot + 3, words[3]);
            self.head = self.head.wrapping_add(1);
            true
        }
    }

    fn rings(log2: usize, start: u32) -> (Filler, ExceptionRing) {
        let memory = DmaMemory::new(ring_bytes(log2));
        let mut ring = ExceptionRing::new(memory.clone(), log2);
        ring.next = start;
        (
            Filler {
                memory,
                log2,
                head: start,
                tail: start,
            },
            ring,
        )
    }

    #[test]
    fn frames_come_out_once_in_order_over_many_laps() {
        let seed = 1;
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (mut card, mut ring) = rings(2, 0);
        let mut frame = Vec::new();
        let mut expected = std::collections::VecDeque::new();
        for round in 0..2000u32 {
            if random.random_bool(0.5) {
                let bytes: Vec<u8> = (0..random.random_range(1..=SLOT_FRAME))
                    .map(|i| (i as u32 + round) as u8)
                    .collect();
                let filled = card.fill(Reason::NoSession as u8, bytes.len() as u16, &bytes);
                assert_eq!(filled, expected.len() < 4, "full exactly when four wait");
                if filled {
                    expected.push_back((card.head - 1, bytes));
                }
            } else {
                match ring.take(&mut frame) {
                    Some(taken) => {
                        let (index, bytes) = expected.pop_front().expect("a frame that was never filled");
                        let taken = taken.expect("good descriptor");
                        assert_eq!(taken.reason, Reason::NoSession);
                        assert_eq!((taken.port, taken.unit), (index as usize & 1, Some(3)));
                        assert_eq!(taken.time_ns, u64::from(index) * 10);
                        assert_eq!(frame, bytes);
                        card.tail = ring.give_back();
                    }
                    None => assert!(expected.is_empty()),
                }
            }
        }
    }

    #[test]
    fn an_empty_ring_stays_empty_on_both_laps() {
        let (mut card, mut ring) = rings(1, 0);
        let mut frame = Vec::new();
        assert!(ring.take(&mut frame).is_none());
        for _ in 0..5 {
            assert!(card.fill(Reason::NotIp as u8, 60, &[7; 60]));
            assert!(ring.take(&mut frame).is_some());
            assert!(ring.take(&mut frame).is_none());
            card.tail = ring.give_back();
        }
    }

    #[test]
    fn poisoned_descriptors_are_skipped_and_the_next_is_good() {
        let (mut card, mut ring) = rings(4, 0);
        let no_session = Reason::NoSession as u8;
        let bad = [
            (no_session, 0),
            (no_session, SLOT_FRAME as u16 + 1),
            (no_session, u16::MAX),
            (0, 60),
            (255, 60),
            (Reason::PolicyDrop as u8, 60),
            (Reason::CardTableFull as u8, 60),
        ];
        for (reason, length) in bad {
            card.fill(reason, length, &[1; 60]);
        }
        card.fill(no_session, 60, &[2; 60]);
        let mut frame = Vec::new();
        for (i, (reason, length)) in bad.into_iter().enumerate() {
            let error = ring.take(&mut frame).expect("filled").expect_err("bad");
            assert_eq!(
                (error.index, error.descriptor.reason, error.descriptor.length),
                (i as u32, reason, length)
            );
            assert!(frame.is_empty());
        }
        assert!(ring.take(&mut frame).expect("filled").is_ok());
        assert_eq!(frame, [2; 60]);
        assert_eq!(ring.give_back(), 8);
    }

    #[test]
    fn random_bytes_in_the_ring_never_panic() {
        let seed = 2;
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (card, mut ring) = rings(3, 0);
        let mut frame = Vec::new();
        for _ in 0..2000 {
            let slot = random.random_range(0..8) * SLOT_WORDS;
            (0..4).for_each(|i| card.memory.store(slot + i, random.random()));
            for _ in 0..8 {
                if ring.take(&mut frame).is_none() {
                    break;
                }
                assert!(frame.len() <= SLOT_FRAME);
            }
        }
    }

    #[test]
    fn indices_run_through_the_end_of_32_bits() {
        let (mut card, mut ring) = rings(2, u32::MAX - 2);
        let mut frame = Vec::new();
        for _ in 0..8 {
            assert!(card.fill(Reason::NoSession as u8, 60, &[9; 60]));
            assert!(ring.take(&mut frame).expect("filled").is_ok());
            card.tail = ring.give_back();
        }
        assert_eq!(card.tail, 5);
    }

    #[test]
    fn inject_fills_slots_until_full_and_goes_on_when_the_card_did() {
        let memory = DmaMemory::new(ring_bytes(2));
        let done = DmaMemory::new(8);
        let mut ring = InjectRing::new(memory.clone(), 2, done.clone());
        for lap in 0..3u32 {
            for slot in 0..4usize {
                let index = lap * 4 + slot as u32;
                ring.push(1, &vec![index as u8; 60 + slot]).expect("room");
                let words = std::array::from_fn(|i| memory.load_acquire(slot * SLOT_WORDS + i));
                let descriptor = InjectDescriptor::from_words(words);
                let want = InjectDescriptor {
                    port: 1,
                    length: 60 + slot as u16,
                    own: own_phase(index, 2),
                };
                assert_eq!(descriptor, want);
                let mut frame = Vec::new();
                memory.append_to(slot * SLOT_BYTES + DESCRIPTOR_BYTES, 60 + slot, &mut frame);
                assert!(frame.iter().all(|&b| b == index as u8));
                assert_eq!(ring.doorbell(), index + 1);
            }
            assert_eq!(ring.push(0, &[0; 60]), Err(InjectError::Full { slots: 4 }));
            done.store_release(0, u64::from(lap * 4 + 4));
            assert!(ring.is_idle());
        }
        assert_eq!(ring.push(0, &[0; 13]), Err(InjectError::Length { bytes: 13 }));
        assert_eq!(
            ring.push(0, &[0; SLOT_FRAME + 1]),
            Err(InjectError::Length { bytes: SLOT_FRAME + 1 })
        );
    }

    #[test]
    fn an_impossible_consumer_index_is_not_believed() {
        let done = DmaMemory::new(8);
        let mut ring = InjectRing::new(DmaMemory::new(ring_bytes(2)), 2, done.clone());
        (0..3).for_each(|_| ring.push(0, &[0; 60]).expect("room"));
        for lie in [4, 1000, u32::MAX] {
            done.store_release(0, u64::from(lie));
            assert_eq!(ring.free(), 1, "{lie}");
        }
        done.store_release(0, 2);
        assert_eq!(ring.free(), 3);
        done.store_release(0, 1);
        assert_eq!(ring.free(), 3, "never backwards");
    }
}
