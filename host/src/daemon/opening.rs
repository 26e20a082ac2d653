//! How cards are opened: by VFIO, by vfio-user, as a simulated card in a child process, or as software.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nat64_driver::{
    AdoptCardError, Adopted, Card, CardError, CardMemory, CardOptions, CardSpec, GatewayConfig, Transport,
};
use nat64_layout::HashKey;

use super::cards::{state_file, Location};
use super::dataplane::{CardConfig, Dataplane, DataplaneError};
use super::descriptors::DescriptorStore;
use super::gateway::{chain, GatewayDataplane, TakeOver};
use super::soft::SoftDataplane;
use super::state::{self, MemoryFile};
use super::worker::Opener;
use crate::soft::card::SoftOptions;

/// The program of the simulated card.
const SIM: &str = "nat64-sim";
/// How long a simulated card may take to be there; the Verilog engine may have to be compiled first.
const SIM_START: Duration = Duration::from_secs(300);

/// Frames that the receive ring of a software card holds, for each port and worker.
const SLOTS: usize = 512;

/// How cards are opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Folder for sockets of simulated cards and files of card states.
    pub folder: PathBuf,
    /// The simulator; `None`: beside this program, or in `PATH`.
    pub sim_binary: Option<PathBuf>,
    /// What the ports of a simulated card are plugged into, as `nat64-sim serve --port` takes it.
    pub sim_ports: Vec<String>,
    /// Threads of a card in software whose configuration does not say.
    pub workers: u32,
    /// Keeps cards behind VFIO open over a restart.
    pub descriptors: Arc<DescriptorStore>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            folder: std::env::temp_dir(),
            sim_binary: None,
            sim_ports: Vec::new(),
            workers: 1,
            descriptors: Arc::default(),
        }
    }
}

fn fault(error: impl std::fmt::Display) -> DataplaneError {
    DataplaneError::Fault(error.to_string())
}

/// A random number from the system.
///
/// # Errors
/// The system has none.
pub fn random() -> Result<u64, DataplaneError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(fault)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Why a card that answers cannot be used, for people.
fn refusal(error: &CardError) -> DataplaneError {
    match error {
        CardError::AbiMismatch { .. } | CardError::NotACard { .. } | CardError::Geometry { .. } => {
            DataplaneError::Fault(format!("refused, nothing was written to it: {}", chain(error)))
        }
        _ => DataplaneError::Fault(chain(error)),
    }
}

/// Choices for a card that is opened: a secret of its own, so that nobody outside may aim at buckets.
fn options() -> Result<CardOptions, DataplaneError> {
    let secret = random()?;
    Ok(CardOptions {
        hash_key: HashKey([secret as u32, (secret >> 32) as u32]),
        ..CardOptions::default()
    })
}

/// How the way to a card is opened, again and again.
#[derive(Clone)]
struct Way {
    spec: CardSpec,
    descriptors: Arc<DescriptorStore>,
}

impl Way {
    fn transport(&self) -> Result<Box<dyn Transport>, DataplaneError> {
        let opened = self.descriptors.open(&self.spec);
        opened.map_err(|error| fault(chain(&error)))
    }

    /// Opens the card: reset, tables empty.
    fn open(&self) -> Result<Card, DataplaneError> {
        Card::open(self.transport()?, options()?).map_err(|error| refusal(&error))
    }

    /// After a failure: what was kept of the card may be what is wrong with it, so the next attempt does without.
    fn failed<T>(&self, result: Result<T, DataplaneError>) -> Result<T, DataplaneError> {
        if let (Err(_), CardSpec::Vfio(address)) = (&result, &self.spec) {
            self.descriptors.forget(*address);
        }
        result
    }
}

/// A card that a daemon before this one left running.
struct LeftCard {
    way: Way,
    memory: CardMemory,
}

impl TakeOver for LeftCard {
    fn adopt(&self, config: &GatewayConfig) -> Result<Result<Adopted, String>, DataplaneError> {
        match Card::adopt(self.way.transport()?, options()?, &self.memory, config) {
            Ok(adopted) => Ok(Ok(adopted)),
            Err(AdoptCardError::Card(error)) => Err(refusal(&error)),
            Err(error) => Ok(Err(chain(&error))),
        }
    }

    fn open(&self) -> Result<Card, DataplaneError> {
        self.way.open()
    }
}

/// Takes a card: with the sessions it was left with, when `state` has what is needed for that, else from the beginning.
/// `again` opens it when it fails.
fn take(
    way: &Way,
    state: Option<&Path>,
    config: Option<Arc<CardConfig>>,
    again: impl FnMut() -> Result<Card, String> + Send + 'static,
) -> Result<GatewayDataplane, DataplaneError> {
    let mut dataplane = match state.and_then(state::read) {
        Some(memory) => {
            // Whoever may not be there is found out now, not with the first configuration.
            drop(way.transport()?);
            let left = LeftCard {
                way: way.clone(),
                memory,
            };
            GatewayDataplane::running(Box::new(left), random()?)
        }
        None => GatewayDataplane::new(way.open()?, random()?)?,
    };
    dataplane.reopen_with(again);
    if let Some(path) = state {
        dataplane.keep(MemoryFile::new(path.to_owned()));
    }
    if let Some(config) = config {
        dataplane.prepare(config)?;
        dataplane.apply()?;
    }
    Ok(dataplane)
}

struct DriverOpener {
    way: Way,
    state: PathBuf,
}

impl Opener for DriverOpener {
    fn open(&mut self, config: Option<Arc<CardConfig>>) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let way = self.way.clone();
        let again = move || way.failed(way.open()).map_err(|error| error.to_string());
        let taken = take(&self.way, Some(&self.state), config, again);
        Ok(Box::new(self.way.failed(taken)?))
    }
}

/// Ends a child that is not needed any more.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A simulated card: a child process with a socket.
struct Simulator {
    name: String,
    engine: Option<String>,
    options: OpenOptions,
    child: Option<Ended>,
    starts: u32,
}

impl Simulator {
    fn binary(&self) -> PathBuf {
        if let Some(binary) = &self.options.sim_binary {
            return binary.clone();
        }
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name(SIM));
        match beside {
            Some(beside) if beside.is_file() => beside,
            // The search along PATH is the system's.
            _ => SIM.into(),
        }
    }

    /// Starts it anew; returns where it serves.
    fn start(&mut self) -> Result<PathBuf, DataplaneError> {
        self.child = None;
        self.starts += 1;
        std::fs::create_dir_all(&self.options.folder).map_err(fault)?;
        // A socket of its own for each start: the one before may not be gone yet.
        let file = format!("sim-{}-{}-{}", self.name, std::process::id(), self.starts);
        let socket = self.options.folder.join(file);
        let _ = std::fs::remove_file(&socket);
        let binary = self.binary();
        let mut command = Command::new(&binary);
        // With the connection to us the simulator ends, however we end.
        command.arg("serve").arg("--once").arg("--socket").arg(&socket);
        if let Some(engine) = &self.engine {
            command.arg("--engine").arg(engine);
        }
        for port in &self.options.sim_ports {
            command.arg("--port").arg(port);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| {
            let shown = binary.display();
            fault(format!(
                "cannot start the simulator {shown}: {error}; `--sim-binary PATH` says where it is"
            ))
        })?;
        let mut child = Ended(child);
        let until = Instant::now() + SIM_START;
        loop {
            if socket.exists() {
                self.child = Some(child);
                return Ok(socket);
            }
            if let Ok(Some(status)) = child.0.try_wait() {
                return Err(fault(format!("the simulator {} ended: {status}", binary.display())));
            }
            if Instant::now() > until {
                return Err(fault(format!(
                    "the simulator did not start within {} s",
                    SIM_START.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

struct SimOpener(Arc<Mutex<Simulator>>);

fn started(simulator: &Mutex<Simulator>) -> Result<PathBuf, DataplaneError> {
    simulator.lock().unwrap_or_else(PoisonError::into_inner).start()
}

impl Opener for SimOpener {
    fn open(&mut self, config: Option<Arc<CardConfig>>) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let simulator = self.0.clone();
        let way = move || {
            started(&simulator).map(|socket| Way {
                spec: CardSpec::VfioUser(socket),
                descriptors: Arc::default(),
            })
        };
        let first = way()?;
        let again = move || {
            let opened = way().and_then(|way| way.open());
            opened.map_err(|error| error.to_string())
        };
        Ok(Box::new(take(&first, None, config, again)?))
    }
}

struct SoftOpener(SoftOptions);

impl Opener for SoftOpener {
    fn open(&mut self, config: Option<Arc<CardConfig>>) -> Result<Box<dyn Dataplane>, DataplaneError> {
        self.0.seed = random()?;
        let mut dataplane = SoftDataplane::new(self.0.clone())?;
        if let Some(config) = config {
            dataplane.prepare(config)?;
            dataplane.apply()?;
        }
        Ok(Box::new(dataplane))
    }
}

/// The opener of a card.
pub fn opener(name: &str, location: &Location, options: &OpenOptions) -> Box<dyn Opener> {
    match location {
        Location::Driver(spec) => Box::new(DriverOpener {
            way: Way {
                spec: spec.clone(),
                descriptors: options.descriptors.clone(),
            },
            state: state_file(&options.folder, name),
        }),
        Location::Sim(engine) => Box::new(SimOpener(Arc::new(Mutex::new(Simulator {
            name: name.to_owned(),
            engine: engine.clone(),
            options: options.clone(),
            child: None,
            starts: 0,
        })))),
        Location::Soft { links, workers } => Box::new(SoftOpener(SoftOptions {
            ports: links.clone(),
            workers: workers.unwrap_or(options.workers) as usize,
            slots: SLOTS,
            seed: 0,
        })),
    }
}
