//! Hierarchical timing wheel: exact deadlines in nanoseconds, O(1) arming and disarming.
//!
//! ```text
//!  level 10 ... level 1        level 0
//!  [64 slots]   [64 slots]     [64 slots of 1 ns]
//!                64 ns each
//! ```
//!
//! A timer sits on the level of the highest 6-bit digit in which its deadline differs from the wheel's position, in
//! the slot of that digit. The position moves only to times that no armed deadline precedes; a slot it enters is
//! spread over the levels below. So a timer changes level at most ten times in its life, a slot of level 0 holds
//! one single deadline, and timers come out in the order of their deadlines (equal ones in the order of arming,
//! as long as they were never on different levels).
//!
//! Timers are named by the caller's slot numbers; the wheel keeps sixteen bytes for each number and allocates
//! nothing else. It knows nothing of what a timer means.

use crate::effect::Time;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);
const NONE: u32 = u32::MAX;
/// Value of `Node::previous` that marks a timer as not armed.
const IDLE: u32 = u32::MAX;

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
    /// Bit i: slot i holds a timer.
    used: u64,
    /// First timer of each slot; the lists are circular, so its `previous` is the last.
    heads: [u32; SLOTS],
    /// No timer of the slot is due before this. Exact until the earliest one is disarmed.
    earliest: [Time; SLOTS],
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Wheel {
    position: Time,
    levels: Vec<Level>,
    /// Bit i: level i holds a timer.
    used: u16,
    nodes: Vec<Node>,
    armed: usize,
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
            used: 0,
            heads: [NONE; SLOTS],
            earliest: [0; SLOTS],
        };
        Self {
            position: 0,
            levels: vec![level; LEVELS],
            used: 0,
            nodes: Vec::new(),
            armed: 0,
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
    pub fn disarm(&mut self, timer: u32) {
        if self.deadline(timer).is_some() {
            self.unlink(timer);
            self.armed -= 1;
        }
    }

    /// No timer is due before this time; `None` when none is armed. It is the next deadline itself unless the timer
    /// that had it was disarmed, and then never later than the next.
    pub fn next_deadline(&self) -> Option<Time> {
        self.first_slot().map(|(level, slot)| self.levels[level].earliest[slot])
    }

    /// Takes the timer with the earliest deadline out of the wheel, if that is not after `until`.
    pub fn pop(&mut self, until: Time) -> Option<(u32, Time)> {
        loop {
            let (level, slot) = self.first_slot()?;
            let earliest = self.levels[level].earliest[slot];
            if earliest > until {
                return None;
            }
            let timer = self.levels[level].heads[slot];
            let node = self.nodes[timer as usize];
            // Alone in its slot, a timer need not go through the levels below.
            let alone = node.next == timer && node.deadline == earliest;
            if level == 0 || alone {
                // Before the position moves: it tells where the timer is linked.
                self.disarm(timer);
            }
            // `earliest` is in the slot, no deadline precedes it, and it is not after `until`.
            self.position = self.position.max(earliest);
            if level == 0 || alone {
                return Some((timer, earliest));
            }
            self.spread(level, slot);
        }
    }

    /// Every armed timer whose deadline is not after `until`, in no order.
    pub fn for_each_due(&self, until: Time, mut f: impl FnMut(u32, Time)) {
        for level in &self.levels {
            let mut used = level.used;
            while used != 0 {
                let slot = used.trailing_zeros() as usize;
                used &= used - 1;
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

    /// Up to `most` timers that are likely to come out of [`Wheel::pop`] next, none of them due after `until`: a slot's
    /// timers are not in order until it is spread. Returns how many it gave to `f`.
    pub fn upcoming(&self, until: Time, most: usize, mut f: impl FnMut(u32)) -> usize {
        let mut count = 0;
        let mut levels = self.used;
        while levels != 0 {
            let level = &self.levels[levels.trailing_zeros() as usize];
            levels &= levels - 1;
            let mut used = level.used;
            while used != 0 {
                let slot = used.trailing_zeros() as usize;
                used &= used - 1;
                if level.earliest[slot] > until {
                    return count;
                }
                let head = level.heads[slot];
                let mut timer = head;
                loop {
                    let node = &self.nodes[timer as usize];
                    if count == most {
                        return count;
                    }
                    if node.deadline <= until {
                        f(timer);
                        count += 1;
                    }
                    timer = node.next;
                    if timer == head {
                        break;
                    }
                }
            }
        }
        count
    }

    fn first_slot(&self) -> Option<(usize, usize)> {
        // The slots of a level lie within the current slot of the level above, so the lowest used level is the first.
        if self.used == 0 {
            return None;
        }
        let level = self.used.trailing_zeros() as usize;
        Some((level, self.levels[level].used.trailing_zeros() as usize))
    }

    fn place(&self, deadline: Time) -> (usize, usize) {
        let level = ((deadline ^ self.position) | 1).ilog2() / BITS;
        (level as usize, (deadline >> (level * BITS)) as usize % SLOTS)
    }

    fn link(&mut self, timer: u32) {
        let deadline = self.nodes[timer as usize].deadline;
        let (level, slot) = self.place(deadline);
        self.used |= 1 << level;
        let level = &mut self.levels[level];
        if level.used & 1 << slot == 0 {
            level.used |= 1 << slot;
            level.heads[slot] = timer;
            level.earliest[slot] = deadline;
            self.nodes[timer as usize].next = timer;
            self.nodes[timer as usize].previous = timer;
        } else {
            level.earliest[slot] = level.earliest[slot].min(deadline);
            let head = level.heads[slot];
            let tail = self.nodes[head as usize].previous;
            self.nodes[tail as usize].next = timer;
            self.nodes[head as usize].previous = timer;
            self.nodes[timer as usize].next = head;
            self.nodes[timer as usize].previous = tail;
        }
    }

    fn unlink(&mut self, timer: u32) {
        let Node {
            deadline,
            next,
            previous,
        } = self.nodes[timer as usize];
        let (at, slot) = self.place(deadline);
        let level = &mut self.levels[at];
        if next == timer {
            level.used &= !(1 << slot);
            level.heads[slot] = NONE;
            if level.used == 0 {
                self.used &= !(1 << at);
            }
        } else {
            self.nodes[previous as usize].next = next;
            self.nodes[next as usize].previous = previous;
            if level.heads[slot] == timer {
                level.heads[slot] = next;
            }
        }
        self.nodes[timer as usize].previous = IDLE;
    }

    /// Empties the slot the position has just entered into the levels below.
    fn spread(&mut self, level: usize, slot: usize) {
        let head = self.levels[level].heads[slot];
        self.levels[level].used &= !(1 << slot);
        self.levels[level].heads[slot] = NONE;
        if self.levels[level].used == 0 {
            self.used &= !(1 << level);
        }
        let last = self.nodes[head as usize].previous;
        let mut timer = head;
        loop {
            let next = self.nodes[timer as usize].next;
            self.link(timer);
            if timer == last {
                break;
            }
            timer = next;
        }
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
                        let count = wheel.upcoming(now, most, |timer| assert!(next.insert(timer), "seed {seed}"));
                        assert_eq!((next.len(), count), (count, want.len().min(most)), "seed {seed}");
                        assert!(next.is_subset(&want), "seed {seed}");
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
