//! Hierarchical timing wheel: exact deadlines in nanoseconds, O(1) arming and disarming.
//!
//! ```text
//!  level 4 ... level 1           level 0                the run
//!  [1024 slots]  [1024 slots]    [1024 slots of 2^20 ns]   timers of the 2^20 ns in which the wheel stands, in order
//!                 of 1.07 s       (about a millisecond)
//! ```
//!
//! A timer sits on the level of the highest 10-bit digit in which the millisecond of its deadline differs from that of the
//! wheel's position, in the slot of that digit. The position moves only to times that no armed deadline precedes; a slot it
//! enters is spread over the levels below, and one of level 0 is sorted into the run, from which timers come out. So a timer
//! changes its place two or three times in its life, and timers come out in the order of their deadlines (equal ones in the
//! order of arming, as long as they were never on different levels).
//!
//! Timers are named by the caller's slot numbers; the wheel keeps sixteen bytes for each number, and the run for those that
//! are due within a millisecond. It knows nothing of what a timer means.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::effect::Time;

/// Width of a slot of level 0, as a power of two of nanoseconds.
const GRAIN: u32 = 20;
const BITS: u32 = 10;
const SLOTS: usize = 1 << BITS;
const WORDS: usize = SLOTS / 64;
const LEVELS: usize = (64 - GRAIN).div_ceil(BITS) as usize;
const NONE: u32 = u32::MAX;
/// Value of `Node::previous` that marks a timer as not armed.
const IDLE: u32 = u32::MAX;
/// Value of `Node::previous` that marks a timer as one of the run; its `next` is the number of its entry.
const RUNS: u32 = u32::MAX - 1;

#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: Time,
    next: u32,
    previous: u32,
}

impl Node {
    const UNARMED: Self = Self {
        deadline: 0,
        next: NONE,
        previous: IDLE,
    };
}

#[derive(Clone, Debug)]
struct Level {
    /// Bit i: word i of `used` is not 0.
    summary: u16,
    /// Bit i: slot i holds a timer.
    used: [u64; WORDS],
    /// First timer of each slot; the lists are circular, so its `previous` is the last. Empty until there was a timer.
    heads: Vec<u32>,
    /// No timer of the slot is due before this. Exact until the earliest one is disarmed.
    earliest: Vec<Time>,
}

impl Level {
    /// The first slot at or behind `from` that holds a timer.
    fn next(&self, from: usize) -> Option<usize> {
        let word = from / 64;
        let here = self.used.get(word)? & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let behind = u32::from(self.summary) & (u32::MAX << word << 1);
        let word = behind.trailing_zeros() as usize;
        Some(word * 64 + self.used.get(word)?.trailing_zeros() as usize)
    }

    fn clear(&mut self, slot: usize) {
        self.heads[slot] = NONE;
        self.used[slot / 64] &= !(1 << (slot % 64));
        if self.used[slot / 64] == 0 {
            self.summary &= !(1 << (slot / 64));
        }
    }
}

/// A timer of the run: when it is due, the number of the entry, the timer. One that was disarmed or armed anew since has
/// another number, and does not count.
type Entry = (Time, u32, u32);

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Wheel {
    position: Time,
    levels: Vec<Level>,
    /// Bit i: level i holds a timer.
    used: u16,
    nodes: Vec<Node>,
    armed: usize,
    /// In order, from `at` on.
    run: Vec<Entry>,
    at: usize,
    /// Those that were armed for the run when later ones were in it.
    late: BinaryHeap<Reverse<Entry>>,
    /// Number of the next entry of the run.
    entries: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// An empty wheel at time 0.
    pub fn new() -> Self {
        let level = Level {
            summary: 0,
            used: [0; WORDS],
            heads: Vec::new(),
            earliest: Vec::new(),
        };
        Self {
            position: 0,
            levels: vec![level; LEVELS],
            used: 0,
            nodes: Vec::new(),
            armed: 0,
            run: Vec::new(),
            at: 0,
            late: BinaryHeap::new(),
            entries: 0,
        }
    }

    /// Timers that are armed.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// The deadline of `timer`; `None` when it is not armed.
    #[inline]
    pub fn deadline(&self, timer: u32) -> Option<Time> {
        self.nodes
            .get(timer as usize)
            .filter(|node| node.previous != IDLE)
            .map(|node| node.deadline)
    }

    /// Arms `timer` for `deadline`, whatever it was armed for. A deadline before one that already came out of
    /// [`Wheel::pop`] counts as that one.
    pub fn arm(&mut self, timer: u32, deadline: Time) {
        self.disarm(timer);
        if self.nodes.len() <= timer as usize {
            self.nodes.resize(timer as usize + 1, Node::UNARMED);
        }
        self.nodes[timer as usize].deadline = deadline.max(self.position);
        self.link(timer);
        self.armed += 1;
    }

    /// Disarms `timer`; no effect when it is not armed.
    #[inline]
    pub fn disarm(&mut self, timer: u32) {
        if self.deadline(timer).is_some() {
            self.unlink(timer);
            self.armed -= 1;
        }
    }

    /// No timer is due before this time; `None` when none is armed. It is the next deadline itself unless the timer
    /// that had it was disarmed, and then never later than the next.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.armed == 0 {
            return None;
        }
        let run = self.run.get(self.at).map(|entry| entry.0);
        let late = self.late.peek().map(|entry| entry.0 .0);
        match (run, late) {
            (Some(run), Some(late)) => Some(run.min(late)),
            (None, None) => self.first_slot().map(|(level, slot)| self.levels[level].earliest[slot]),
            (run, late) => run.or(late),
        }
    }

    /// Takes the timer with the earliest deadline out of the wheel, if that is not after `until`.
    #[inline]
    pub fn pop(&mut self, until: Time) -> Option<(u32, Time)> {
        loop {
            let Some(&(deadline, entry, timer)) = self.run.get(self.at) else {
                if !self.late.is_empty() {
                    if let Some(popped) = self.pop_late(until)? {
                        return Some(popped);
                    }
                    continue;
                }
                if !self.next_run(until) {
                    return None;
                }
                continue;
            };
            if self.late.peek().is_some_and(|late| late.0 .0 < deadline) {
                if let Some(popped) = self.pop_late(until)? {
                    return Some(popped);
                }
                continue;
            }
            if deadline > until {
                return None;
            }
            self.at += 1;
            if self.take(entry, timer, deadline) {
                return Some((timer, deadline));
            }
        }
    }

    /// The first of the late ones: `None` if it is due after `until`, `Some(None)` if it does not count.
    #[cold]
    fn pop_late(&mut self, until: Time) -> Option<Option<(u32, Time)>> {
        let &Reverse((deadline, entry, timer)) = self.late.peek()?;
        if deadline > until {
            return None;
        }
        self.late.pop();
        Some(self.take(entry, timer, deadline).then_some((timer, deadline)))
    }

    /// Takes an entry of the run out. `false`: it does not count.
    #[inline]
    fn take(&mut self, entry: u32, timer: u32, deadline: Time) -> bool {
        let node = &mut self.nodes[timer as usize];
        let counts = node.previous == RUNS && node.next == entry;
        if counts {
            node.previous = IDLE;
            self.armed -= 1;
            self.position = self.position.max(deadline);
        }
        counts
    }

    /// Moves on towards the next timers, where the run is over. `false`: none is due by `until`.
    fn next_run(&mut self, until: Time) -> bool {
        let Some((level, slot)) = self.first_slot() else {
            return false;
        };
        let earliest = self.levels[level].earliest[slot];
        if earliest > until {
            return false;
        }
        self.run.clear();
        (self.at, self.entries) = (0, 0);
        // `earliest` is in the slot, no deadline precedes it, and it is not after `until`.
        self.position = self.position.max(earliest);
        self.spread(level, slot);
        true
    }

    /// Every armed timer whose deadline is not after `until`, in no order.
    pub fn for_each_due(&self, until: Time, mut f: impl FnMut(u32, Time)) {
        let late = self.late.iter().map(|entry| entry.0);
        for (deadline, entry, timer) in self.run.iter().skip(self.at).copied().chain(late) {
            let node = self.nodes[timer as usize];
            if deadline <= until && node.previous == RUNS && node.next == entry {
                f(timer, deadline);
            }
        }
        for level in &self.levels {
            let mut from = 0;
            while let Some(slot) = level.next(from) {
                from = slot + 1;
                if level.earliest[slot] > until {
                    // Later slots of this level are later altogether.
                    break;
                }
                let head = level.heads[slot];
                let mut timer = head;
                loop {
                    let node = &self.nodes[timer as usize];
                    if node.deadline <= until {
                        f(timer, node.deadline);
                    }
                    timer = node.next;
                    if timer == head {
                        break;
                    }
                }
            }
        }
    }

    /// Up to `most` timers that are likely to come out of [`Wheel::pop`] behind the next `from`, none of them due after
    /// `until`: those of the run, if there is one.
    #[inline]
    pub fn upcoming(&self, until: Time, from: usize, most: usize) -> impl Iterator<Item = u32> + '_ {
        let from = self.run.len().min(self.at + from);
        let run = &self.run[from..self.run.len().min(from + most)];
        run.iter()
            .take_while(move |entry| entry.0 <= until)
            .map(|entry| entry.2)
    }

    fn first_slot(&self) -> Option<(usize, usize)> {
        // The slots of a level lie within the current slot of the level above, so the lowest used level is the first.
        let level = self.used.trailing_zeros() as usize;
        Some((level, self.levels.get(level)?.next(0)?))
    }

    /// Level and slot of a deadline; `None`: the run.
    #[inline]
    fn place(&self, deadline: Time) -> Option<(usize, usize)> {
        let differs = (deadline ^ self.position) >> GRAIN;
        let level = differs.checked_ilog2()? / BITS;
        Some((level as usize, (deadline >> (GRAIN + level * BITS)) as usize % SLOTS))
    }

    #[inline]
    fn link(&mut self, timer: u32) {
        let deadline = self.nodes[timer as usize].deadline;
        let Some((at, slot)) = self.place(deadline) else {
            self.run(timer, deadline);
            return;
        };
        self.used |= 1 << at;
        let level = &mut self.levels[at];
        if level.heads.is_empty() {
            (level.heads, level.earliest) = (vec![NONE; SLOTS], vec![0; SLOTS]);
        }
        let head = level.heads[slot];
        if head == NONE {
            level.used[slot / 64] |= 1 << (slot % 64);
            level.summary |= 1 << (slot / 64);
            level.heads[slot] = timer;
            level.earliest[slot] = deadline;
            let node = &mut self.nodes[timer as usize];
            (node.next, node.previous) = (timer, timer);
        } else {
            level.earliest[slot] = level.earliest[slot].min(deadline);
            let tail = std::mem::replace(&mut self.nodes[head as usize].previous, timer);
            self.nodes[tail as usize].next = timer;
            let node = &mut self.nodes[timer as usize];
            (node.next, node.previous) = (head, tail);
        }
    }

    /// Makes a timer one of the run.
    fn run(&mut self, timer: u32, deadline: Time) {
        if self.at == self.run.len() && self.late.is_empty() {
            self.run.clear();
            self.at = 0;
        }
        let entry = self.entries;
        self.entries = entry.wrapping_add(1);
        if self.late.is_empty() && self.run.last().is_none_or(|last| last.0 <= deadline) {
            self.run.push((deadline, entry, timer));
        } else {
            self.late.push(Reverse((deadline, entry, timer)));
        }
        let node = &mut self.nodes[timer as usize];
        (node.next, node.previous) = (entry, RUNS);
    }

    fn unlink(&mut self, timer: u32) {
        let Node {
            deadline,
            next,
            previous,
        } = self.nodes[timer as usize];
        self.nodes[timer as usize].previous = IDLE;
        if previous == RUNS {
            // Its entry does not count any more.
            return;
        }
        let Some((at, slot)) = self.place(deadline) else {
            return;
        };
        let level = &mut self.levels[at];
        if next == timer {
            level.clear(slot);
            if level.summary == 0 {
                self.used &= !(1 << at);
            }
        } else {
            self.nodes[previous as usize].next = next;
            self.nodes[next as usize].previous = previous;
            if level.heads[slot] == timer {
                level.heads[slot] = next;
            }
        }
    }

    /// Empties the slot the position has just entered into the levels below, or into the run.
    fn spread(&mut self, at: usize, slot: usize) {
        let level = &mut self.levels[at];
        let head = level.heads[slot];
        level.clear(slot);
        if level.summary == 0 {
            self.used &= !(1 << at);
        }
        let last = self.nodes[head as usize].previous;
        let mut timer = head;
        if at > 0 {
            loop {
                let next = self.nodes[timer as usize].next;
                self.link(timer);
                if timer == last {
                    return;
                }
                timer = next;
            }
        }
        let (nodes, mut entry) = (&mut self.nodes, self.entries);
        let mut left = Some(timer);
        self.run.extend(std::iter::from_fn(|| {
            let timer = left?;
            let node = &mut nodes[timer as usize];
            let next = std::mem::replace(&mut node.next, entry);
            node.previous = RUNS;
            left = (timer != last).then_some(next);
            entry = entry.wrapping_add(1);
            Some((node.deadline, entry.wrapping_sub(1), timer))
        }));
        self.entries = entry;
        // Mostly they are in order.
        self.run.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn timers_come_out_at_their_deadline_in_order() {
        let mut wheel = Wheel::new();
        wheel.arm(0, 300_000_000_000);
        wheel.arm(1, 5);
        wheel.arm(2, 6_000_000_000);
        wheel.arm(3, u64::MAX);
        assert_eq!(wheel.next_deadline(), Some(5));
        assert_eq!(wheel.pop(4), None);
        assert_eq!(wheel.pop(u64::MAX), Some((1, 5)));
        assert_eq!(wheel.next_deadline(), Some(6_000_000_000));
        assert_eq!(wheel.pop(5_999_999_999), None);
        assert_eq!(wheel.pop(6_000_000_000), Some((2, 6_000_000_000)));
        assert_eq!(wheel.pop(u64::MAX), Some((0, 300_000_000_000)));
        assert_eq!(wheel.pop(u64::MAX), Some((3, u64::MAX)));
        assert_eq!(wheel.pop(u64::MAX), None);
        assert!(wheel.is_empty());
    }

    #[test]
    fn arming_in_the_past_is_due_at_once() {
        let mut wheel = Wheel::new();
        wheel.arm(0, 1000);
        assert_eq!(wheel.pop(2000), Some((0, 1000)));
        wheel.arm(0, 10);
        assert_eq!(wheel.pop(2000), Some((0, 1000)));
    }

    #[test]
    fn agrees_with_an_ordered_map() {
        for seed in 0..30u64 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut wheel = Wheel::new();
            let mut by_time: BTreeMap<Time, BTreeSet<u32>> = BTreeMap::new();
            let mut by_timer: BTreeMap<u32, Time> = BTreeMap::new();
            let mut now = rng.random_range(0..1u64 << 50) >> rng.random_range(0..50);
            for _ in 0..3000 {
                let timer = rng.random_range(0..200);
                match rng.random_range(0..10) {
                    0..=5 => {
                        let deadline = now + (rng.random_range(0..1u64 << 45) >> rng.random_range(0..45));
                        wheel.arm(timer, deadline);
                        if let Some(old) = by_timer.insert(timer, deadline) {
                            by_time.get_mut(&old).unwrap().remove(&timer);
                        }
                        by_time.entry(deadline).or_default().insert(timer);
                    }
                    6 => {
                        wheel.disarm(timer);
                        if let Some(old) = by_timer.remove(&timer) {
                            by_time.get_mut(&old).unwrap().remove(&timer);
                        }
                    }
                    _ => {
                        now += rng.random_range(0..1u64 << 42) >> rng.random_range(0..42);
                        let mut due = BTreeSet::new();
                        wheel.for_each_due(now, |timer, _| assert!(due.insert(timer), "seed {seed}"));
                        let want: BTreeSet<u32> = by_timer.iter().filter(|(_, &d)| d <= now).map(|(&t, _)| t).collect();
                        assert_eq!(due, want, "seed {seed}");
                        let mut next = BTreeSet::new();
                        let most = rng.random_range(0..20);
                        next.extend(
                            wheel
                                .upcoming(now, 0, most)
                                .filter(|&timer| wheel.deadline(timer).is_some_and(|at| at <= now)),
                        );
                        assert!(next.len() <= most && next.is_subset(&want), "seed {seed}");
                        while let Some((timer, deadline)) = wheel.pop(now) {
                            by_time.retain(|_, timers| !timers.is_empty());
                            let (&first, timers) = by_time.iter_mut().next().expect("model has one too");
                            assert_eq!(deadline, first, "seed {seed}");
                            assert!(timers.remove(&timer), "seed {seed}");
                            by_timer.remove(&timer);
                        }
                        by_time.retain(|_, timers| !timers.is_empty());
                        assert!(by_time.keys().next().is_none_or(|&first| first > now), "seed {seed}");
                    }
                }
                by_time.retain(|_, timers| !timers.is_empty());
                let first = by_time.keys().next().copied();
                match (wheel.next_deadline(), first) {
                    (Some(bound), Some(first)) => assert!(bound <= first, "seed {seed}"),
                    (bound, first) => assert_eq!(bound, first, "seed {seed}"),
                }
                assert_eq!(wheel.len(), by_timer.len(), "seed {seed}");
            }
        }
    }
}
