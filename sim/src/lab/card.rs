//! What is between client and server: a simulated card on the clock of the wall, or the software card.

use std::fmt::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nat64_driver::LinkType;
use nat64_host::config::{self, BuildOptions, CardLimits};
use nat64_host::soft::card::{SoftCard, SoftOptions};
use nat64_host::soft::port::Link;
use nat64_host::soft::sys::{self, Event, Tap};
use nat64_host::soft::vnet::{Vnet, VNET_HEADER};
use nat64_layout::{Reason, MIN_FRAME};

use super::daemon::Daemon;
use super::net::{Network, PORTS};
use super::{LabEngine, LabError, LabOptions};
use crate::device::{Device, DeviceFailure, Output, Totals};
use crate::failure::Failure;
use crate::gateway::{open, Carrier, Setup};
use crate::output::CaptureWriter;
use crate::SIDES;

/// The worked example.
const EXAMPLE: &str = include_str!("../../../examples/seed.conf");
/// How long the simulated card sleeps when nothing comes: timers are no finer than this.
const NAP: Duration = Duration::from_millis(5);

/// What stops and tells.
pub struct Running {
    kind: Kind,
    // Of the worked example, written where the device reads it.
    _file: Option<tempfile::NamedTempFile>,
}

enum Kind {
    Daemon(Daemon),
    Soft(SoftCard),
    Device {
        stop: Arc<AtomicBool>,
        event: Arc<Event>,
        thread: JoinHandle<Result<Totals, Failure>>,
    },
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    move |source| {
        Failure::Device(DeviceFailure::ConfigFile {
            path: path.to_owned(),
            source,
        })
    }
}

impl Running {
    /// Starts it; it runs when this returns.
    pub fn start(options: &LabOptions, network: Network) -> Result<Self, Failure> {
        let mut file = None;
        let path = match &options.config {
            Some(path) => path.clone(),
            None => {
                let temporary = tempfile::NamedTempFile::with_suffix(".conf").map_err(io(Path::new("seed.conf")))?;
                std::fs::write(temporary.path(), EXAMPLE).map_err(io(temporary.path()))?;
                let path = temporary.path().to_owned();
                file = Some(temporary);
                path
            }
        };
        if options.daemon {
            let kind = Kind::Daemon(Daemon::start(options.engine, &path)?);
            return Ok(Self { kind, _file: file });
        }
        let carrier = match options.engine {
            LabEngine::Rtl => Carrier::Rtl,
            LabEngine::Compiled => Carrier::Compiled,
            LabEngine::Soft { .. } => Carrier::Soft,
        };
        let kind = match (options.engine, network.taps) {
            (_, Some(taps)) => device(path, options, carrier, taps)?,
            (LabEngine::Soft { workers, tap }, None) => soft(&path, options.seed, workers, tap)?,
            (_, None) => soft(&path, options.seed, 1, true)?,
        };
        Ok(Self { kind, _file: file })
    }

    /// Stops it and tells what it did.
    pub fn stop(self) -> Result<String, Failure> {
        let mut text = String::new();
        // Writing to a string does not fail.
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        match self.kind {
            Kind::Daemon(daemon) => return Ok(daemon.stop()?),
            Kind::Soft(card) => {
                let workers = card
                    .ask_all(|worker| {
                        worker.count_lost();
                        let core = worker.core();
                        (
                            core.stats().clone(),
                            *core.soft_stats(),
                            core.translator().session_count(),
                            worker.processor_time(),
                        )
                    })
                    .map_err(LabError::Soft)?;
                for (number, (stats, soft, sessions, time)) in workers.iter().enumerate() {
                    let packets: u64 = soft.packets_in.iter().sum();
                    let each = time.as_nanos() as u64 / packets.max(1);
                    line(format!(
                        "worker {number}: {packets} packets in, {} out, {} as super-segments, {sessions} sessions; \
                         {time:.2?} of processor time, {each} ns a packet",
                        soft.packets_out.iter().sum::<u64>(),
                        soft.supers,
                    ));
                    for reason in Reason::ALL.iter().filter(|&&r| stats.reason(r) > 0) {
                        line(format!("  {} {}", reason.name(), stats.reason(*reason)));
                    }
                }
            }
            Kind::Device { stop, event, thread } => {
                stop.store(true, Ordering::Relaxed);
                event.set();
                let totals = thread
                    .join()
                    .map_err(|_| Failure::Device(DeviceFailure::Driver("the thread of the card panicked".into())))??;
                line(format!(
                    "card: {} packets translated, host: {}; {} sessions made; {} clocks",
                    totals.card_packets.iter().sum::<u64>(),
                    totals.host_packets.iter().sum::<u64>(),
                    totals.sessions_made,
                    totals.clocks
                ));
                for (reason, count) in &totals.reasons {
                    line(format!("  {} {count}", reason.name()));
                }
            }
        }
        Ok(text)
    }
}

fn soft(path: &Path, seed: u64, workers: usize, tap: bool) -> Result<Kind, Failure> {
    let text = std::fs::read_to_string(path).map_err(io(path))?;
    let refused = |text: String| Failure::Device(DeviceFailure::Config(text));
    let tree = config::parse(&text, &path.display().to_string()).map_err(|e| refused(e.to_string()))?;
    let options = BuildOptions {
        link_type: LinkType::Ethernet,
        limits: CardLimits::SOFT,
        ..BuildOptions::default()
    };
    let (config, _) = config::build(&tree, options).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        refused(texts.join("\n\n"))
    })?;
    let link = |name: &str| {
        Some(if tap {
            Link::Tap(name.into())
        } else {
            Link::Interface(name.into())
        })
    };
    let options = SoftOptions {
        ports: PORTS.map(link),
        workers,
        slots: 256,
        seed,
    };
    Ok(Kind::Soft(
        SoftCard::start(options, Arc::new(config)).map_err(LabError::Soft)?,
    ))
}

fn device(path: PathBuf, options: &LabOptions, carrier: Carrier, taps: [Tap; 2]) -> Result<Kind, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let event = Arc::new(Event::new().map_err(io(&path))?);
    let (ready, started) = sync_channel(1);
    let (seed, capture, waves) = (options.seed, options.capture.clone(), options.waves.clone());
    let (stopped, waker) = (stop.clone(), event.clone());
    let thread = std::thread::spawn(move || {
        let setup = Setup {
            link: LinkType::Ethernet,
            carrier,
            width: crate::compiled::WIDTH,
            waves,
        };
        // Devices stay in the thread that makes them.
        let made = open(&setup, &path, seed, 0)
            .map_err(Failure::from)
            .and_then(|device| Ok((device, capture.as_deref().map(captures).transpose()?)));
        let (device, captures) = match made {
            Ok(made) => {
                // Who waits for it is still there: it waits.
                let _ = ready.send(true);
                made
            }
            Err(failure) => {
                let _ = ready.send(false);
                return Err(failure);
            }
        };
        Loop {
            device,
            taps,
            captures,
            epoch: Instant::now(),
            out: Output::default(),
        }
        .run(&stopped, &waker)
    });
    if started.recv() == Ok(true) {
        return Ok(Kind::Device { stop, event, thread });
    }
    match thread.join() {
        Ok(Err(failure)) => Err(failure),
        _ => Err(Failure::Device(DeviceFailure::Driver("the card did not start".into()))),
    }
}

fn captures(directory: &Path) -> Result<[CaptureWriter; 2], Failure> {
    std::fs::create_dir_all(directory).map_err(io(directory))?;
    let one =
        |side: &str| CaptureWriter::create(&directory.join(format!("{side}.pcapng")), LinkType::Ethernet, &[side]);
    Ok([one(SIDES[0])?, one(SIDES[1])?])
}

/// A device on the clock of the wall.
struct Loop {
    device: Box<dyn Device>,
    taps: [Tap; 2],
    captures: Option<[CaptureWriter; 2]>,
    epoch: Instant,
    out: Output,
}

impl Loop {
    fn run(mut self, stop: &AtomicBool, waker: &Event) -> Result<Totals, Failure> {
        let mut frame = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let mut busy = false;
            let now = self.now();
            self.device.advance(now, &mut self.out)?;
            self.send()?;
            for port in 0..self.taps.len() {
                let count = self.taps[port].fill().map_err(Failure::Pipe)?;
                busy |= count > 0;
                for index in 0..count {
                    let Some(received) = self.taps[port].frame(index) else {
                        continue;
                    };
                    frame.clear();
                    frame.extend_from_slice(received.bytes);
                    // As the MAC in front of a card does.
                    frame.resize(frame.len().max(MIN_FRAME), 0);
                    self.arrive(port, &frame)?;
                }
            }
            if !busy {
                let list = [self.taps[0].as_fd(), self.taps[1].as_fd(), waker.as_fd()];
                sys::wait(&list, Some(NAP));
            }
        }
        for capture in self.captures.into_iter().flatten() {
            capture.finish()?;
        }
        Ok(self.device.totals()?)
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn arrive(&mut self, port: usize, frame: &[u8]) -> Result<(), Failure> {
        let now = self.now();
        self.device.advance(now, &mut self.out)?;
        self.send()?;
        self.device.packet(now, port as u8, frame, &mut self.out)?;
        if let Some(captures) = &mut self.captures {
            let verdict = match self.out.exceptions.first() {
                Some(exception) => exception.comment(),
                None if self.out.sent.is_empty() => "held".into(),
                None => "translated".into(),
            };
            captures[port].packet(0, now, frame, Some(&verdict))?;
        }
        self.send()
    }

    /// Sends what the device gave.
    fn send(&mut self) -> Result<(), Failure> {
        let head: [u8; VNET_HEADER] = Vnet::default().write();
        for sent in &self.out.sent {
            let port = usize::from(sent.port & 1);
            if let Some(captures) = &mut self.captures {
                captures[port].packet(0, sent.t_ns, &sent.bytes, None)?;
            }
            // A device that is down takes nothing, like a cable that is not plugged in.
            let _ = sys::write(self.taps[port].as_fd(), &[&head, &sent.bytes, &[]]);
        }
        self.out.clear();
        Ok(())
    }
}
