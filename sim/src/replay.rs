//! Captures through a gateway, on the clock of their stamps.
//!
//! ```text
//!   inside.pcap, outside.pcap --by time--\
//!                                         at each time: timers up to it, then events, then packets --> Device
//!   events.jsonl --------------by time---/                                                              |
//!                 inside.pcapng, outside.pcapng, exceptions.pcapng, Summary  <-------------------------+
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::device::{Device, Output};
use crate::events::Event;
use crate::failure::Failure;
use crate::output::Outputs;
use crate::pcap::Merge;
use crate::summary::Summary;
use crate::MAX_TIME;

/// A run shorter than this shows no progress bar.
const BAR_AFTER: Duration = Duration::from_millis(500);
/// Steps in which time goes on after the last packet: at least this long, in nanoseconds, and about this many.
const LAST_STEP: u64 = 1_000_000_000;
const LAST_STEPS: u64 = 1 << 16;

/// What to replay, besides the captures.
pub struct Plan<'a> {
    /// Events by rising time, and the file they come from.
    pub events: Vec<Event>,
    /// File of the events, for errors.
    pub events_path: PathBuf,
    /// How long time goes on after the last packet.
    pub until: Duration,
    /// Whether it was asked for at all.
    pub until_given: bool,
    /// Whether Ctrl-C was pressed.
    pub interrupted: &'a dyn Fn() -> bool,
}

struct Run<'a> {
    device: &'a mut dyn Device,
    outputs: Outputs,
    summary: Summary,
    out: Output,
}

impl Run<'_> {
    /// Writes what the device gave.
    fn write(&mut self) -> Result<(), Failure> {
        for sent in &self.out.sent {
            self.outputs.sent(sent.port, sent.t_ns, &sent.bytes)?;
            self.summary.sent[usize::from(sent.port & 1)].add(sent.bytes.len());
        }
        for exception in &self.out.exceptions {
            self.outputs
                .exception(exception.port, exception.t_ns, &exception.bytes, &exception.comment())?;
            self.summary.exceptions += 1;
        }
        self.out.clear();
        Ok(())
    }

    fn advance(&mut self, to: u64) -> Result<(), Failure> {
        self.device.advance(to, &mut self.out)?;
        self.write()
    }

    fn event(&mut self, now: u64, event: &Event, path: &Path) -> Result<(), Failure> {
        self.device
            .configure(now, &event.commands, &mut self.out)
            .map_err(|source| Failure::Event {
                path: path.to_owned(),
                line: event.line,
                source,
            })?;
        self.write()
    }
}

/// Replays everything and gives the output files their names. When it fails there are none.
///
/// # Errors
/// A bad input, a refused event, a failing engine, a full disk, Ctrl-C.
pub fn replay(
    plan: Plan<'_>,
    mut merge: Merge,
    device: &mut dyn Device,
    outputs: Outputs,
    engine: &str,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    let mut bar: Option<ProgressBar> = None;
    let mut events = plan.events.iter().peekable();
    let mut run = Run {
        device,
        outputs,
        summary: Summary {
            engine: engine.into(),
            ..Summary::default()
        },
        out: Output::default(),
    };
    let first = merge
        .peek_time()
        .into_iter()
        .chain(events.peek().map(|e| e.t_ns))
        .min()
        .unwrap_or(0);
    let mut now = first;
    while let Some(time) = merge.peek_time() {
        if (plan.interrupted)() {
            return Err(Failure::Interrupted);
        }
        // Events that are due come first; a packet stamped before its predecessor arrives when that one did.
        if let Some(event) = events.next_if(|e| e.t_ns <= time.max(now)) {
            now = now.max(event.t_ns);
            run.advance(now)?;
            run.event(now, event, &plan.events_path)?;
            continue;
        }
        let Some((port, packet)) = merge.next_packet()? else {
            break;
        };
        now = now.max(packet.time_ns);
        run.advance(now)?;
        run.summary.received[usize::from(port & 1)].add(packet.bytes.len());
        run.summary.cut += u64::from(packet.original > packet.bytes.len());
        run.device.packet(now, port, &packet.bytes, &mut run.out)?;
        run.write()?;
        if bar.is_none() && started.elapsed() > BAR_AFTER {
            bar = Some(progress_bar(merge.progress().0));
        }
        if let Some(bar) = &bar {
            bar.set_position(merge.progress().1);
        }
    }
    let end = if plan.until_given {
        now.saturating_add(u64::try_from(plan.until.as_nanos()).unwrap_or(MAX_TIME))
            .min(MAX_TIME)
    } else {
        events.clone().map(|e| e.t_ns).max().unwrap_or(now).max(now)
    };
    for event in events.filter(|e| e.t_ns <= end) {
        now = now.max(event.t_ns);
        run.advance(now)?;
        run.event(now, event, &plan.events_path)?;
    }
    // In steps, so that Ctrl-C is noticed in between.
    let step = LAST_STEP.max(end.saturating_sub(now) / LAST_STEPS);
    while now < end {
        if (plan.interrupted)() {
            return Err(Failure::Interrupted);
        }
        now = end.min(now.saturating_add(step));
        run.advance(now)?;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if (plan.interrupted)() {
        return Err(Failure::Interrupted);
    }
    run.summary.totals = run.device.totals()?;
    run.summary.virtual_ns = end - first;
    run.outputs.finish()?;
    run.summary.elapsed = started.elapsed();
    Ok(run.summary)
}

/// A bar on stderr; it shows nothing when that is not a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
