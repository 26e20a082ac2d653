//! `nat64-sim serve --serial`: the simulated card as a board on a serial line, for the driver's `serial:PATH`.
//!
//! ```text
//!   driver (serial:PATH) <--octets--> pseudo terminal <--bits--> SerialLink (RTL) <--TLPs--> endpoint (RTL or compiled Verilog)
//!                                                                                               ports: TAP, UNIX
//! ```
//!
//! Every bit of the line goes through the link block of a board as RTL, [`DIV`] clocks of it each (a board has 42), with its frames,
//! sums and acknowledgments; what the endpoint gets of it are TLPs. The two run by turns, not clock by clock: nothing between
//! them depends on the time a TLP takes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nat64_driver::tlp::Packet;
use nat64_hdl::export::STACK_BYTES;
use nat64_hdl::prelude::Block as _;
use nat64_hdl::prim::Clocked as _;
use nat64_hdl::serial::SerialLink;
use nat64_hdl::testkit::settle;
use nat64_layout::PORTS;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};

use super::port::Port;
use super::{Options, PortKind, ServeError};
use crate::engine::{pad, EngineError};
use crate::tlp::compiled::CompiledLink;
use crate::tlp::link::{Link, LinkSetup, RtlLink};
use crate::tlp::PciEngine;

/// Clocks of the link block a bit.
pub const DIV: usize = 4;
/// Clocks until the link block sends again, log2: here a bit has a tenth of a board's clocks, and no adapter keeps octets.
const RESEND_LOG2: usize = nat64_layout::serial::RESEND_LOG2 - 5;
/// Clocks of the endpoint, and of the link block, in a turn.
const CLOCKS: u64 = 256;
/// TLPs that wait for the endpoint at most.
const QUEUED: u64 = 64;
/// Frames from ports that wait for the card at most.
const FRAMES: usize = 256;
/// How long an idle board is left alone.
const IDLE: Duration = Duration::from_millis(5);

/// What the board did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SerialBoardStats {
    /// Octets from the host.
    pub octets_in: u64,
    /// Octets to the host.
    pub octets_out: u64,
    /// TLPs from the host.
    pub tlps_in: u64,
    /// TLPs to the host, those that are sent again counted once.
    pub tlps_out: u64,
    /// Function-level resets.
    pub resets: u64,
    /// Frames in, by port.
    pub frames_in: [u64; PORTS],
    /// Frames out, by port.
    pub frames_out: [u64; PORTS],
    /// Frames out that the port's peer did not take.
    pub frames_lost: [u64; PORTS],
    /// Clocks of the endpoint.
    pub clocks: u64,
    /// Hosts that have gone.
    pub ended: u64,
}

/// Changes octets on their way to the board, to try what a bad line does; given their place in the stream.
pub type Noise = Box<dyn FnMut(u64) -> u8 + Send>;

/// A board being served.
pub struct SerialService {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    stats: Arc<Mutex<SerialBoardStats>>,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
}

impl SerialService {
    /// Starts a card on a line and makes `path` a link to its terminal device.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(path: &Path, options: &Options, engine: PciEngine) -> Result<Self, ServeError> {
        Self::start_with(path, options, engine, None)
    }

    /// The same with a line that is noisy.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start_with(
        path: &Path,
        options: &Options,
        engine: PciEngine,
        noise: Option<Noise>,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Socket {
            path: path.into(),
            source,
        };
        let line = |error: Errno| failed(error.into());
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(line)?;
        grantpt(&master).and_then(|()| unlockpt(&master)).map_err(line)?;
        rustix::io::ioctl_fionbio(&master, true).map_err(line)?;
        let device = ptsname(&master, Vec::new()).map_err(line)?;
        let log = match &options.tlp_log {
            Some(path) => {
                let file = File::create(path).map_err(|source| ServeError::Log {
                    path: path.clone(),
                    source,
                })?;
                Some(io::BufWriter::new(file))
            }
            None => None,
        };
        let (sender, frames) = sync_channel(FRAMES);
        let ports = (0..PORTS as u8)
            .map(|number| {
                let kind = options.ports.iter().find(|spec| spec.port == number);
                let sender = sender.clone();
                Port::plug(kind.map_or(&PortKind::None, |spec| &spec.kind), move |frame| {
                    sender.send((number, frame.to_vec())).is_ok()
                })
            })
            .collect::<io::Result<Vec<Port>>>()
            .map_err(ServeError::Port)?;
        let (stop, stats) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ready, started) = sync_channel(1);
        let shared = (stop.clone(), Arc::clone(&stats));
        let thread = std::thread::Builder::new()
            .name("board".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let link: Result<Box<dyn Link>, EngineError> = match engine {
                    PciEngine::Rtl => Ok(Box::new(RtlLink::new())),
                    PciEngine::Compiled => CompiledLink::start().map(|link| Box::new(link) as Box<dyn Link>),
                };
                let endpoint = match link {
                    Ok(link) => link,
                    Err(error) => {
                        // Nobody waits when the service was given up meanwhile.
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                };
                let board = Board::new(endpoint, master, ports, frames, shared, log, noise);
                let _ = ready.send(Ok(()));
                board.run()
            })
            .map_err(ServeError::Port)?;
        let ended = || EngineError::Stopped {
            reason: "the board's thread has ended".into(),
        };
        started.recv().map_err(|_| ended())??;
        // Not before the board is there to answer. A link that an earlier board left is ours to replace.
        if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_symlink()) {
            std::fs::remove_file(path).map_err(failed)?;
        }
        std::os::unix::fs::symlink(device.to_string_lossy().as_ref(), path).map_err(failed)?;
        Ok(Self {
            path: path.into(),
            stop,
            stats,
            thread: Some(thread),
        })
    }

    /// What the board did so far; `None` when it has failed.
    pub fn stats(&self) -> Option<SerialBoardStats> {
        let alive = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        alive.then(|| self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Drop for SerialService {
    fn drop(&mut self) {
        // Whoever removed it before us did us no harm.
        let _ = std::fs::remove_file(&self.path);
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("nat64-sim: the card failed: {error}");
        }
    }
}

/// Levels of the line to octets.
#[derive(Default)]
struct Ear {
    clocks: usize,
    bits: u16,
}

impl Ear {
    fn hear(&mut self, level: bool) -> Option<u8> {
        if self.clocks == 0 {
            self.clocks = usize::from(!level);
            self.bits = 0;
            return None;
        }
        self.clocks += 1;
        if self.clocks % DIV == DIV / 2 {
            // The start bit, eight bits, the stop bit; the last one ends on top.
            self.bits = self.bits >> 1 | u16::from(level) << 9;
            if self.clocks / DIV == 9 {
                self.clocks = 0;
                return Some((self.bits >> 1) as u8);
            }
        }
        None
    }
}

struct Board {
    endpoint: Box<dyn Link>,
    link: Box<SerialLink<DIV, RESEND_LOG2>>,
    line: OwnedFd,
    ports: Vec<Port>,
    frames: Receiver<(u8, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    shared: Arc<Mutex<SerialBoardStats>>,
    stats: SerialBoardStats,
    log: Option<io::BufWriter<File>>,
    noise: Option<Noise>,
    /// Levels that are still to be put on the line to the board.
    levels: VecDeque<bool>,
    ear: Ear,
    /// Octets that the terminal did not take yet.
    out: Vec<u8>,
    setup: LinkSetup,
    /// The TLP that comes in, and its BAR.
    coming: (Vec<u32>, u8),
    /// TLPs that are to go out, and how far the first one is.
    going: VecDeque<Vec<u32>>,
    at: usize,
    queued: u64,
    start: Instant,
    host: bool,
}

impl Board {
    fn new(
        endpoint: Box<dyn Link>,
        line: OwnedFd,
        ports: Vec<Port>,
        frames: Receiver<(u8, Vec<u8>)>,
        (stop, shared): (Arc<AtomicBool>, Arc<Mutex<SerialBoardStats>>),
        log: Option<io::BufWriter<File>>,
        noise: Option<Noise>,
    ) -> Self {
        let mut link = Box::<SerialLink<DIV, RESEND_LOG2>>::default();
        link.connect_all();
        link.rx.next = true;
        settle(link.as_mut());
        Self {
            endpoint,
            link,
            line,
            ports,
            frames,
            stop,
            shared,
            stats: SerialBoardStats::default(),
            log,
            noise,
            levels: VecDeque::new(),
            ear: Ear::default(),
            out: Vec::new(),
            setup: LinkSetup::default(),
            coming: (Vec::new(), 0),
            going: VecDeque::new(),
            at: 0,
            queued: 0,
            start: Instant::now(),
            host: false,
        }
    }

    fn run(mut self) -> Result<(), EngineError> {
        while !self.stop.load(Ordering::Relaxed) {
            self.hear();
            for clock in 0..CLOCKS {
                if !self.clock()? && clock > 16 * DIV as u64 {
                    break;
                }
            }
            self.endpoint.set_time(self.start.elapsed().as_nanos() as u64)?;
            for (port, frame) in self.frames.try_iter().collect::<Vec<_>>() {
                self.stats.frames_in[usize::from(port)] += 1;
                self.endpoint.frame(port, &pad(port, &frame)?, false)?;
            }
            let idle = self.step()?;
            self.speak();
            for (lost, port) in self.stats.frames_lost.iter_mut().zip(&self.ports) {
                *lost = port.lost();
            }
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = self.stats.clone();
            if idle && self.levels.is_empty() && !self.link.busy.val() && self.going.is_empty() && self.out.is_empty() {
                self.rest();
            }
        }
        Ok(())
    }

    /// Runs the endpoint a little; whether it has nothing more to do.
    fn step(&mut self) -> Result<bool, EngineError> {
        let ran = self.endpoint.run(CLOCKS)?;
        self.queued = ran.queued;
        self.stats.clocks = self.endpoint.clocks();
        for sent in self.endpoint.take_tlps() {
            self.stats.tlps_out += 1;
            self.note("<", &sent.dws);
            self.going.push_back(sent.dws);
        }
        for frame in self.endpoint.take_tx() {
            // A frame that ends with an error has a bad FCS on a real cable: nobody takes it.
            let index = usize::from(frame.port);
            if let (false, Some(port)) = (frame.error, self.ports.get(index)) {
                port.send(&frame.bytes);
                self.stats.frames_out[index] += 1;
            }
        }
        self.link.resetting.next = ran.resetting;
        self.link.pending.next = ran.pending;
        self.link.idle.next = ran.idle;
        Ok(ran.idle)
    }

    /// One clock of the link block; whether anything is on the line or in the block.
    fn clock(&mut self) -> Result<bool, EngineError> {
        let link = self.link.as_mut();
        link.rx.next = self.levels.pop_front().unwrap_or(true);
        link.tlp_rx_ready.next = self.queued < QUEUED;
        link.tlp_rx_np_ok.next = true;
        let tlp = self.going.front();
        link.tlp_tx_valid.next = tlp.is_some();
        if let Some(dws) = tlp {
            let high = dws.get(self.at + 1).copied();
            link.tlp_tx_data.next = (u64::from(dws[self.at]) | u64::from(high.unwrap_or(0)) << 32).into();
            link.tlp_tx_keep.next = if high.is_some() { 3u64 } else { 1 }.into();
            link.tlp_tx_last.next = self.at + 2 >= dws.len();
        }
        settle(link);
        if link.tlp_tx_valid.val() && link.tlp_tx_ready.val() {
            self.at += 2;
            if link.tlp_tx_last.val() {
                self.going.pop_front();
                self.at = 0;
            }
        }
        if link.tlp_rx_valid.val() && link.tlp_rx_ready.val() {
            let data = link.tlp_rx_data.val().low();
            self.coming.0.push(data as u32);
            if link.tlp_rx_keep.val().get_bit(1) {
                self.coming.0.push((data >> 32) as u32);
            }
            self.coming.1 = u64::from(link.tlp_rx_bar.val()) as u8;
        }
        let ended = link.tlp_rx_valid.val() && link.tlp_rx_ready.val() && link.tlp_rx_last.val();
        if let Some(octet) = self.ear.hear(link.tx.val()) {
            self.stats.octets_out += 1;
            self.out.push(octet);
        }
        let setup = LinkSetup {
            id: u64::from(link.cfg_id.val()) as u16,
            max_payload: u64::from(link.cfg_max_payload.val()) as u8,
            max_read: u64::from(link.cfg_max_read.val()) as u8,
            bus_master: link.cfg_bus_master.val(),
            msix_enable: link.cfg_msix_enable.val(),
            msix_mask: link.cfg_msix_mask.val(),
            reset: link.cfg_flr.val(),
        };
        let active = !self.levels.is_empty() || self.ear.clocks > 0 || link.busy.val() || !self.going.is_empty();
        link.toggle_clock();
        settle(link);
        if setup != self.setup {
            self.set_up(setup)?;
        }
        if ended {
            let (dws, bar) = (std::mem::take(&mut self.coming.0), self.coming.1);
            self.stats.tlps_in += 1;
            self.note(">", &dws);
            self.queued += 1;
            self.endpoint.push(&dws, bar)?;
        }
        Ok(active)
    }

    /// The link block's pins have moved: the endpoint sees them behind the TLPs that came before.
    fn set_up(&mut self, setup: LinkSetup) -> Result<(), EngineError> {
        let mut turns = 0;
        while self.queued > 0 && turns < 1000 {
            self.step()?;
            turns += 1;
        }
        self.stats.resets += u64::from(setup.reset);
        self.setup = setup;
        self.endpoint.set_up(&setup)?;
        if setup.reset {
            // As long as the pulse is on a board; the frame that acknowledges it says that the reset is under way.
            let ran = self.endpoint.run(1)?;
            self.queued = ran.queued;
            self.link.resetting.next = ran.resetting;
        }
        Ok(())
    }

    fn note(&mut self, direction: &str, dws: &[u32]) {
        let Some(log) = &mut self.log else { return };
        let clock = self.endpoint.clocks();
        let written = match Packet::decode(dws) {
            Some(packet) => writeln!(log, "{clock:>10} {direction} {packet}"),
            None => writeln!(log, "{clock:>10} {direction} malformed TLP"),
        };
        if let Err(error) = written.and_then(|()| log.flush()) {
            eprintln!("nat64-sim: the TLP log ends here: {error}");
            self.log = None;
        }
    }

    /// Takes octets of the host.
    fn hear(&mut self) {
        if self.levels.len() > 4096 {
            return;
        }
        let mut octets = [0; 256];
        match rustix::io::read(&self.line, &mut octets) {
            Ok(n) => {
                self.host = true;
                for &octet in &octets[..n] {
                    let wrong = self.noise.as_mut().map_or(0, |noise| noise(self.stats.octets_in));
                    self.stats.octets_in += 1;
                    let octet = octet ^ wrong;
                    let bits = std::iter::once(false)
                        .chain((0..8).map(|i| octet >> i & 1 != 0))
                        .chain([true]);
                    self.levels.extend(bits.flat_map(|level| [level; DIV]));
                }
            }
            // No host has the terminal open.
            Err(Errno::IO) => {
                if std::mem::take(&mut self.host) {
                    self.stats.ended += 1;
                }
                self.out.clear();
            }
            Err(_) => {}
        }
    }

    /// Gives octets to the host. Those that nobody reads are kept up to a bound, as an adapter's buffer does, and sent again later.
    fn speak(&mut self) {
        if let Ok(n) = rustix::io::write(&self.line, &self.out) {
            self.out.drain(..n);
        }
        if self.out.len() > 1 << 16 {
            self.out.clear();
        }
    }

    /// Waits for octets.
    fn rest(&self) {
        if self.host {
            let time = Timespec {
                tv_sec: 0,
                tv_nsec: IDLE.as_nanos() as i64,
            };
            // However it ends, the next turn looks.
            let _ = poll(&mut [PollFd::new(&self.line, PollFlags::IN)], Some(&time));
        } else {
            std::thread::sleep(IDLE);
        }
    }
}
