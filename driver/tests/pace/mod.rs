//! How fast this machine is at this moment, so that a limit of processor time means the same on a busy one.
//!
//! Processor time leaves out what other programs run, not what they take from this one while it runs: a neighbour on the
//! other hardware thread of a core, or in the same cache, makes every instruction dearer, and two builds side by side have
//! been seen to double the time of either. So a fixed piece of work that nobody changes is timed in the same moments as
//! what is under test, and the limit is stretched by what that piece takes beyond its time on a quiet machine.
//!
//! The reference is steps of dependent reads within a table that does not fit into the first two caches, with some
//! arithmetic on each: as hash tables and trees cost.

use std::hint::black_box;

use rustix::time::{clock_gettime, ClockId};

/// Nanoseconds of one step of the reference on a quiet machine (AMD EPYC, the one that the figures of the README are of).
const QUIET_NS: f64 = 16.5;

/// Most that a limit is stretched by. A machine slower than this fails: it is no place to measure on.
const MOST: f64 = 3.0;

/// Words of the table: 2 MiB.
const WORDS: usize = 1 << 18;

/// Steps of one measurement, some milliseconds.
const STEPS: u32 = 200_000;

/// Processor time of this thread, seconds.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The reference.
pub struct Pace(Vec<u64>);

impl Pace {
    /// A reference that nothing has been measured with.
    pub fn new() -> Self {
        // A step reads where the one before it sent it: any odd multiplier does.
        Pace(
            (0..WORDS as u64)
                .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .collect(),
        )
    }

    /// What a limit of time is to be multiplied by at this moment: 1 on a machine that is as fast as the one that the limits
    /// were set for. To be asked between the rounds of what is under test, and applied to the round beside it.
    pub fn stretch(&self) -> f64 {
        let start = cpu();
        let mut at = black_box(1u64);
        for _ in 0..STEPS {
            let word = self.0[(at >> 40) as usize % WORDS];
            at = (at ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
        }
        black_box(at);
        let took = (cpu() - start) * 1e9 / f64::from(STEPS);
        (took / QUIET_NS).clamp(1.0, MOST)
    }
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
