//! `nat64d`, the daemon of the NAT64 card: see [`nat64_host::daemon`].
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use nat64_host::api::card::CardKind;
use nat64_host::api::DEFAULT_SOCKET;
use nat64_host::config::{Device, MAX_WORKERS};
use nat64_host::daemon::access::Access;
use nat64_host::daemon::cards::{CardSetOptions, Given, Location};
use nat64_host::daemon::descriptors::DescriptorStore;
use nat64_host::daemon::journal::LogFormat;
use nat64_host::daemon::opening::OpenOptions;
use nat64_host::daemon::server::Limits;
use nat64_host::daemon::service::{Options, Running, Stored};
use nat64_host::daemon::worker::Sleep;
use nat64_host::daemon::{journal, privileges};
use sd_notify::NotifyState;
use tokio::signal::unix::{signal, SignalKind};

const EXAMPLES: &str = "\
Examples:
  # A card in this machine
  nat64d --card vfio:0000:03:00.0

  # A simulated card, for a look around without hardware; everything in one folder
  nat64d --card sim --folder /tmp/n/config --run /tmp/n

  # A card that somebody serves (nat64-sim serve, a hypervisor), and metrics for Prometheus on loopback
  nat64d --card vfio-user:/run/card.sock --metrics 127.0.0.1:9464

  # No card: software between two interfaces, two threads
  nat64d --card soft:eth1,eth2 --workers 2

  # Members of the group `noc` may look, the user `ops` may clear
  nat64d --card vfio:0000:03:00.0 --allow read-only=@noc --allow operator=ops

Signals: TERM and INT stop it (a card that is kept open keeps translating the sessions it knows), HUP puts the configuration in force
again. Exit codes: 0 stopped, 1 it could not start, 2 something on the command line is wrong.";

/// Daemon of the NAT64 card: owns cards, keeps the configuration, serves the control socket.
#[derive(Debug, Parser)]
#[command(name = "nat64d", version, after_help = EXAMPLES)]
struct Arguments {
    /// A card: [NAME=]vfio:ADDRESS, vfio-user:PATH, serial:DEVICE, `sim[:ENGINE]` or `soft[:INSIDE,OUTSIDE]` (interfaces, or tap:NAME for
    /// devices that are made; those of the configuration where none is given). The name is card0 when not given. May be given
    /// several times; cards can also be named in the configuration.
    #[arg(long = "card", value_name = "CARD")]
    cards: Vec<Given>,
    /// Folder of the configuration and its rollbacks.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/nat64d")]
    folder: PathBuf,
    /// Folder for what does not outlive a restart of the machine.
    #[arg(long, value_name = "FOLDER", default_value = "/run/nat64d")]
    run: PathBuf,
    /// Control socket; control.sock in the --run folder when not given.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Mode of the control socket, octal. Who connects is known by user and group, whatever the mode.
    #[arg(long, value_name = "MODE", default_value = "666", value_parser = octal)]
    socket_mode: u32,
    /// Who has a class: CLASS=USER,@GROUP,...; CLASS is read-only, operator or super-user. Root and the groups
    /// nat64-read-only, nat64-operator and nat64-super-user have theirs without it.
    #[arg(long = "allow", value_name = "CLASS=WHO")]
    allow: Vec<String>,
    /// Serve Prometheus metrics on this address, to everyone who can reach it. Nowhere when not given.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Look for packets all the time: lowest latency, a processor core is used up for each card.
    #[arg(long)]
    busy_poll: bool,
    /// Longest sleep of a card's thread without interrupts, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    sleep: u64,
    /// The simulator, for --card sim; beside this program or in PATH when not given.
    #[arg(long, value_name = "PATH")]
    sim_binary: Option<PathBuf>,
    /// What a port of the simulated card is plugged into, as `nat64-sim serve --port` takes it.
    #[arg(long = "sim-port", value_name = "SIDE=WHAT")]
    sim_ports: Vec<String>,
    /// Threads of a software card whose configuration does not say how many.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WORKERS)))]
    workers: u32,
    /// Print the manual page.
    #[arg(long)]
    man: bool,
    /// Keep all privileges.
    #[arg(long)]
    keep_privileges: bool,
    /// What is logged: error, warn, info, debug, or a filter as RUST_LOG takes it.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
    /// Form of the log: text (to the journal under systemd, else to standard error), or one JSON object a line, as `show log`
    /// gives them, on standard error.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    log_format: LogFormat,
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("`{text}` is no mode (octal, up to 777)"))
}

fn main() -> ExitCode {
    if let Err(error) = nat64_xlate::pages::ask_for_large_pages() {
        eprintln!("warning: tables are in small pages: {error}");
    }
    let arguments = Arguments::parse();
    if arguments.man {
        return match nat64_host::ctl::manual::daemon_page(Arguments::command()) {
            Ok(page) => {
                print!("{page}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let mut access = Access::default();
    for allow in &arguments.allow {
        if let Err(error) = access.add(allow) {
            eprintln!("error: --allow {error}");
            return ExitCode::from(2);
        }
    }
    for (index, card) in arguments.cards.iter().enumerate() {
        if arguments.cards[..index].iter().any(|other| other.name == card.name) {
            eprintln!(
                "error: --card: there are two cards `{}`; write NAME=... before one of them",
                card.name
            );
            return ExitCode::from(2);
        }
    }
    let log = match journal::start(&arguments.log, arguments.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(arguments, access, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut next = error.source();
            while let Some(cause) = next {
                text = format!("{text}: {cause}");
                next = cause.source();
            }
            tracing::error!(error = text, "nat64d did not start");
            ExitCode::FAILURE
        }
    }
}

/// The kinds of card there are, on the command line and in the configuration.
fn kinds(given: &[Given], stored: &Stored) -> HashSet<CardKind> {
    let model = stored.model().unwrap_or_default();
    let configured = model.cards.iter().filter_map(|card| match card.device.as_ref()? {
        Device::Vfio(_) => Some(CardKind::Vfio),
        Device::VfioUser(_) => Some(CardKind::VfioUser),
        Device::Sim => Some(CardKind::Sim),
        Device::Soft => Some(CardKind::Soft),
    });
    given
        .iter()
        .map(|given| given.location.kind())
        .chain(configured)
        .collect()
}

/// Folders that are written to.
fn written(arguments: &Arguments) -> Vec<PathBuf> {
    let mut folders = vec![arguments.folder.clone(), arguments.run.clone()];
    let sockets = arguments.cards.iter().filter_map(|card| match &card.location {
        Location::Driver(nat64_driver::CardSpec::VfioUser(path)) => path.parent().map(PathBuf::from),
        _ => None,
    });
    folders.extend(sockets);
    folders.extend(
        arguments
            .socket
            .iter()
            .filter_map(|socket| socket.parent().map(PathBuf::from)),
    );
    folders
}

fn run(arguments: Arguments, access: Access, log: journal::LogBuffer) -> Result<(), Box<dyn std::error::Error>> {
    // Everything until the runtime is made runs on the one thread there is: privileges belong to threads.
    let descriptors = Arc::new(DescriptorStore::of_service_manager());
    std::fs::create_dir_all(&arguments.run)?;
    let stored = Stored::open(&arguments.folder)?;
    if arguments.keep_privileges {
        tracing::info!("privileges kept");
    } else {
        let kinds = kinds(&arguments.cards, &stored);
        let dropped = privileges::drop_to(&kinds, &written(&arguments));
        let kept = dropped.kept.join(" ");
        tracing::info!(capabilities = kept, landlock = dropped.landlock, "privileges dropped");
        for failure in dropped.failures {
            tracing::warn!(failure, "privileges not dropped");
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let pid = arguments.run.join("nat64d.pid");
    std::fs::write(&pid, format!("{}\n", std::process::id()))?;
    let default_socket = PathBuf::from(DEFAULT_SOCKET);
    let file = default_socket.file_name().unwrap_or(default_socket.as_os_str());
    let options = Options {
        socket: arguments.socket.unwrap_or_else(|| arguments.run.join(file)),
        socket_mode: arguments.socket_mode,
        folder: arguments.folder,
        access,
        limits: Limits::default(),
        metrics: arguments.metrics,
        cards: CardSetOptions {
            given: arguments.cards,
            sleep: Sleep {
                busy_poll: arguments.busy_poll,
                longest: Duration::from_millis(arguments.sleep),
            },
            open: OpenOptions {
                folder: arguments.run,
                sim_binary: arguments.sim_binary,
                sim_ports: arguments.sim_ports,
                workers: arguments.workers,
                descriptors,
            },
        },
    };
    let result = runtime.block_on(serve(options, stored, log));
    // It may have been removed by hand.
    let _ = std::fs::remove_file(pid);
    result
}

/// Tells the service manager; there may be none.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

async fn serve(options: Options, stored: Stored, log: journal::LogBuffer) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let running = Running::start(options, stored, None, log).await?;
    notify(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled();
    let beat = watchdog
        .map_or(Duration::from_secs(5), |within| within / 2)
        .max(Duration::from_millis(10));
    let mut timer = tokio::time::interval(beat);
    loop {
        tokio::select! {
            _ = timer.tick() => {
                if running.is_alive() && watchdog.is_some() {
                    notify(&[NotifyState::Watchdog]);
                }
            }
            _ = hang_up.recv() => {
                match NotifyState::monotonic_usec_now() {
                    Ok(now) => notify(&[NotifyState::Reloading, now]),
                    Err(error) => tracing::warn!(%error, "no time for the service manager"),
                }
                let daemon = running.daemon.clone();
                let again = tokio::task::spawn_blocking(move || daemon.configuration.again()).await?;
                match again {
                    Ok(()) => tracing::info!("configuration put in force again"),
                    Err(error) => tracing::error!(error = error.message, "configuration not put in force again"),
                }
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    running.stop().await;
    Ok(())
}
