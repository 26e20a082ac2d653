//! A worker of the software card: rounds of what it was asked, timers, frames that came in, and what came of them.
//!
//! A round takes what others handed over and up to [`BATCH`] frames of each port; a worker sleeps when a round found
//! nothing. Woken for each frame of a steady stream it would spend more on waking than on work; so where frames come
//! faster than `MODERATED` a second it naps between rounds until `GATHERED` of them should be there, for `NAP` at the least
//! and the most, as network cards moderate interrupts, and takes what came meanwhile together. A stream that is slower,
//! such as one question and one answer at a time, never waits.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat64_layout::{Reason, PORTS};
use nat64_xlate::Time;

use super::core::{Core, Handed, Out, Tx};
use super::log::Log;
use super::port::{Port, BATCH};
use super::sys::{self, Event};

/// Frames a second from which on a worker naps between rounds.
const MODERATED: f64 = 40_000.0;
/// Frames that are worth one waking: it costs some 10 us, and what is sent together goes through the kernel together.
const GATHERED: f64 = 32.0;
/// The shortest nap and the longest: what a packet may wait for others, and less than the rings of the ports hold.
const NAP: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(300)];
/// Time over which frames are counted for their rate.
const RATE_WINDOW: Duration = Duration::from_millis(5);

/// How often timers of neighbours are looked at, and what the kernel lost.
const TICK: Duration = Duration::from_millis(100);

pub(super) type Command = Box<dyn FnOnce(&mut Worker) + Send>;

/// A worker: its ports and its part of the gateway. Seen by closures given to [`super::card::SoftCard::ask`].
#[derive(Debug)]
pub struct Worker {
    pub(super) core: Core,
    pub(super) tx: Tx,
    pub(super) ports: [Option<Port>; PORTS],
    pub(super) number: usize,
    pub(super) epoch: Instant,
    pub(super) commands: Receiver<Command>,
    pub(super) event: Arc<Event>,
    pub(super) inbox: Receiver<Handed>,
    pub(super) others: Vec<Peer>,
    pub(super) next_tick: Instant,
    pub(super) refused: Vec<usize>,
    pub(super) rate: Rate,
    pub(super) log: Arc<Log>,
    pub(super) stop: bool,
}

/// How fast frames come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    since: Instant,
    frames: usize,
    nap: Option<Duration>,
}

impl Rate {
    /// Nothing came yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: 0,
            nap: None,
        }
    }

    /// Some frames came, or none; how long to nap, where they come fast.
    fn count(&mut self, now: Instant, frames: usize) -> Option<Duration> {
        self.frames += frames;
        let time = now.saturating_duration_since(self.since);
        if time >= RATE_WINDOW {
            let rate = self.frames as f64 / time.as_secs_f64();
            let gathered = || Duration::from_secs_f64(GATHERED / rate).clamp(NAP[0], NAP[1]);
            self.nap = (rate >= MODERATED).then(gathered);
            (self.since, self.frames) = (now, 0);
        }
        self.nap
    }
}

/// How frames get to a worker.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) inbox: SyncSender<Handed>,
    pub(super) event: Arc<Event>,
}

/// Where third parts of frames are.
#[derive(Clone, Copy)]
enum Source<'a> {
    Nowhere,
    Port(&'a Port),
    Handed(&'a [Handed]),
}

impl Worker {
    /// What it translates with.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The same, to change; frames that come of it go to `Worker::tx`.
    pub fn core_mut(&mut self) -> (&mut Core, &mut Tx) {
        (&mut self.core, &mut self.tx)
    }

    /// Nanoseconds since the card was started.
    pub fn now(&self) -> Time {
        self.epoch.elapsed().as_nanos() as Time
    }

    /// Puts another port in the place of one whose interface is another now.
    pub fn replace_port(&mut self, number: usize, port: Port) {
        if let Some(place) = self.ports.get_mut(number) {
            *place = Some(port);
        }
    }

    /// Processor time the worker has used, the kernel's work for it included.
    pub fn processor_time(&self) -> Duration {
        sys::thread_time()
    }

    pub(super) fn run(&mut self) -> io::Result<()> {
        // Naps end when they should, not up to 50 us later.
        sys::exact_timers();
        while !self.stop {
            let mut busy = false;
            self.core.begin();
            self.tx.clear();
            while let Ok(command) = self.commands.try_recv() {
                command(self);
                busy = true;
            }
            let frames = self.round()?;
            busy |= frames > 0;
            self.core.hand_events(&self.log);
            match self.rate.count(Instant::now(), frames) {
                Some(nap) if frames < BATCH => std::thread::sleep(nap),
                _ if !busy => self.sleep(),
                _ => {}
            }
        }
        Ok(())
    }

    /// One round; how many frames there were.
    fn round(&mut self) -> io::Result<usize> {
        let now = self.now();
        let mut frames = 0;
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.core.advance(now, &mut self.tx);
        }
        let instant = Instant::now();
        if instant >= self.next_tick {
            self.next_tick = instant + TICK;
            self.tick(now);
        }
        self.flush(None, &[]);
        let handed: Vec<Handed> = self.inbox.try_iter().take(BATCH).collect();
        if !handed.is_empty() {
            frames += handed.len();
            for (index, handed) in handed.iter().enumerate() {
                self.core.handed(now, index, handed, &mut self.tx);
            }
            self.flush(None, &handed);
        }
        for port in 0..PORTS {
            let Some(device) = &mut self.ports[port] else { continue };
            let count = device.fill()?;
            if count == 0 {
                continue;
            }
            frames += count;
            let Some(device) = &self.ports[port] else { continue };
            let frames = (0..count).map(|index| device.frame(index));
            self.core.frames(now, port, frames, &mut self.tx);
            self.flush(Some(port), &[]);
            if let Some(device) = &mut self.ports[port] {
                device.release(count);
            }
        }
        Ok(frames)
    }

    /// Timers that need no hurry.
    fn tick(&mut self, now: Time) {
        if self.number == 0 {
            self.core.advance_neighbours(now, &mut self.tx);
        }
        self.core.advance_fragments(now);
        self.count_lost();
    }

    /// Counts what the kernel lost since the last look.
    pub fn count_lost(&mut self) {
        let lost: u64 = self.ports.iter().flatten().map(Port::lost).sum();
        self.core.count(Reason::ReceiveRingFull, lost);
    }

    /// Sends what there is to send; third parts are in frames of `port`, or of those handed over.
    fn flush(&mut self, port: Option<usize>, handed: &[Handed]) {
        if !self.tx.list.is_empty() {
            let received = match port.and_then(|port| self.ports[port].as_ref()) {
                Some(port) => Source::Port(port),
                None if handed.is_empty() => Source::Nowhere,
                None => Source::Handed(handed),
            };
            for (number, device) in self.ports.iter().enumerate() {
                let outs: Vec<&Out> = self.tx.list.iter().filter(|out| out.port == number).collect();
                if outs.is_empty() {
                    continue;
                }
                self.refused.clear();
                match device {
                    Some(device) => {
                        let frames: Vec<[&[u8]; 3]> = outs
                            .iter()
                            .map(|out| parts(out, &self.tx, &self.core, received))
                            .collect();
                        device.send(&frames, &mut self.refused);
                    }
                    None => self.refused.extend(0..outs.len()),
                }
                let packets = self.refused.iter().map(|&i| outs[i].packets).sum();
                self.core.count(Reason::SendRefused, packets);
            }
        }
        if !self.tx.handed.is_empty() {
            self.hand_over();
        }
        self.tx.clear();
        self.core.begin();
    }

    /// Gives other workers what is theirs.
    fn hand_over(&mut self) {
        let mut woken = 0u64;
        for (worker, handed) in self.tx.handed.drain(..) {
            let packets = handed.packets;
            let peer = self.others.get(usize::from(worker));
            match peer.map(|peer| peer.inbox.try_send(handed)) {
                Some(Ok(())) => woken |= 1 << worker,
                // Full, or it has stopped.
                _ => self.core.count(Reason::HandOverFull, packets),
            }
        }
        for (worker, peer) in self.others.iter().enumerate() {
            if woken >> worker & 1 != 0 {
                peer.event.set();
            }
        }
    }

    fn sleep(&mut self) {
        let deadline = self.core.next_deadline().unwrap_or(Time::MAX);
        let timer = Duration::from_nanos(deadline.saturating_sub(self.now()));
        let tick = self.next_tick.saturating_duration_since(Instant::now());
        let mut list: Vec<_> = self.ports.iter().flatten().map(AsFd::as_fd).collect();
        list.push(self.event.as_fd());
        // A deadline may be a lower bound that is found again; a pause keeps that from being a busy loop.
        let pause = timer.max(Duration::from_micros(50)).min(tick);
        if sys::wait(&list, Some(pause)) {
            self.event.clear();
        }
    }
}

/// Where the parts of a frame lie.
fn parts<'a>(out: &Out, tx: &'a Tx, core: &'a Core, source: Source<'a>) -> [&'a [u8]; 3] {
    let tail = out.tail.as_ref().and_then(|(index, range)| {
        let bytes = match source {
            Source::Nowhere => return None,
            Source::Port(port) => port.frame(*index)?.bytes,
            Source::Handed(list) => &list.get(*index)?.bytes,
        };
        bytes.get(range.clone())
    });
    [
        &tx.heads[out.head.clone()],
        core.arena().bytes(&out.body),
        tail.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_stream_is_moderated_and_a_slow_one_is_not() {
        let start = Instant::now();
        let at = |micros: u64| start + Duration::from_micros(micros);
        let mut rate = Rate::new(start);
        // A ping-pong of 25 us there and back: two frames each 50 us is no stream.
        assert!((1..=400).all(|i| rate.count(at(i * 50), 1).is_none()));
        // The nap is as long as 32 frames take, within its bounds.
        let mut now = 400;
        for (frames, nap) in [(3, 300), (8, 200), (20, 100)] {
            let naps = (1..=600)
                .map(|i| rate.count(at((now + i) * 50), frames))
                .collect::<Vec<_>>();
            let micros = naps[599].map(|nap| nap.as_micros());
            assert_eq!(micros, Some(nap), "{} frames a second", frames * 20_000);
            now += 600;
        }
        // When it ends, so does moderation.
        let ends = (1..=300).map(|i| rate.count(at((now + i) * 50), 0)).collect::<Vec<_>>();
        assert_eq!(ends[299], None);
    }
}
