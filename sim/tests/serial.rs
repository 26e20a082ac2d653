//! The card on a serial line: the driver on one side, every bit of the line through the RTL of the link block on the other.

mod common;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{check4, udp4, udp6, CLIENT, SEED, SERVER};
use nat64_driver::transport::SerialTransport;
use nat64_driver::{link, open, self_test, Card, CardOptions, Check, Gateway, LinkType, OpenError, Transport};
use nat64_host::config::{self, BuildOptions};
use nat64_layout::regs::{Bar, Ident, Scratch, MAGIC};
use nat64_sim::serve::serial::Noise;
use nat64_sim::serve::{Options, PortKind, PortSpec, SerialService};
use nat64_sim::tlp::PciEngine;
use rand::{rngs::StdRng, Rng, SeedableRng};
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// One simulated card at a time, as in `serve.rs`.
static ALONE: Mutex<()> = Mutex::new(());

struct Bench {
    folder: tempfile::TempDir,
    service: SerialService,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn start(noise: Option<Noise>) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("folder");
        let port = |port: u8, name: &str| PortSpec {
            port,
            kind: PortKind::Unix(folder.path().join(name)),
        };
        let options = Options {
            ports: vec![port(0, "inside"), port(1, "outside")],
            tlp_log: Some(folder.path().join("card.tlp")),
            abi_hash: None,
        };
        let path = folder.path().join("board");
        let service = SerialService::start_with(&path, &options, PciEngine::Rtl, noise).expect("it starts");
        Self {
            folder,
            service,
            _alone: alone,
        }
    }

    fn connect(&self) -> SerialTransport {
        SerialTransport::open_with(&self.folder.path().join("board"), Duration::from_secs(30)).expect("it answers")
    }

    fn cable(&self, name: &str) -> OwnedFd {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socket");
        let address = SocketAddrUnix::new(self.folder.path().join(name)).expect("path");
        connect(&socket, &address).expect("the port listens");
        socket
    }
}

fn receive(cable: &OwnedFd) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2048];
    let (_, length) = recv(cable, &mut frame[..], RecvFlags::DONTWAIT).ok()?;
    frame.truncate(length);
    Some(frame)
}

#[test]
fn the_same_tests_as_for_any_card_pass() {
    let bench = Bench::start(None);
    let inside = bench.cable("inside");
    let mut card = bench.connect();
    let checks = self_test(&mut card, Duration::from_secs(60));
    assert!(checks.iter().all(Check::passed), "{checks:#?}");
    let frame = receive(&inside).expect("the frame of the test");
    assert_eq!((&frame[..6], frame.len()), (&[0xff; 6][..], 60));
    assert!(card.read32(Bar::Bar0, 1 << 16).is_err());
    let line = card.stats();
    assert_eq!(
        (card.faults(), line.damaged, line.damaged_at_card),
        (0, 0, 0),
        "{line:?}"
    );
    let stats = bench.service.stats().expect("it goes on");
    assert_eq!(stats.resets, 2, "{stats:?}");
    assert!(stats.tlps_in > 300 && stats.tlps_out > 100, "{stats:?}");
}

#[test]
fn packets_are_translated_on_a_line_that_damages_one_octet_in_two_hundred() {
    let mut rng = StdRng::seed_from_u64(9);
    // not the hello: a board that does not answer in three seconds is said to be silent
    let noise = move |at: u64| match at > 100 && rng.random_range(0..200) == 0 {
        true => 1 << rng.random_range(0..8),
        false => 0,
    };
    let bench = Bench::start(Some(Box::new(noise)));
    let (inside, outside) = (bench.cable("inside"), bench.cable("outside"));
    let tree = config::parse(SEED, "seed.conf").expect("the worked example");
    let options = BuildOptions {
        link_type: LinkType::Raw,
        ..BuildOptions::default()
    };
    let (config, _) = config::build(&tree, options).expect("the worked example");
    let mut transport = bench.connect();
    transport.reset().expect("reset");
    let mut card = Card::open(Box::new(transport), CardOptions::default()).expect("our card");
    let clock = (Instant::now(), card.time().expect("read"));
    let mut gateway = Gateway::new(config, Some(card), 1).expect("configured");
    gateway.card_mut().expect("one").time().expect("read");
    let until = |cable: &OwnedFd, gateway: &mut Gateway| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let now = clock.1 + clock.0.elapsed().as_nanos() as u64;
            gateway.poll(now).expect("card works");
            if let Some(frame) = receive(cable) {
                return frame;
            }
            let card = gateway.card_mut().expect("one");
            card.wait(Duration::from_millis(5)).expect("card works");
        }
        panic!("no frame came out; {:?}", gateway.stats());
    };
    let put = |cable: &OwnedFd, port: usize, gateway: &Gateway, packet: &[u8]| {
        let frame = link::raw_wrap(port, gateway.config().ports[port].mac, packet).expect("an IP packet");
        assert_eq!(send(cable, &frame, SendFlags::empty()).expect("taken"), frame.len());
    };
    let mut pool = None;
    for round in 0..3u8 {
        put(&inside, 0, &gateway, &udp6(CLIENT, 4000, SERVER, 53, &[round; 900]));
        let frame = until(&outside, &mut gateway);
        let packet = link::raw_unwrap(&frame).expect("IPv4");
        check4(packet);
        let from = std::net::Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let port = u16::from_be_bytes([packet[20], packet[21]]);
        assert_eq!(*pool.get_or_insert((from, port)), (from, port));
        put(&outside, 1, &gateway, &udp4(SERVER, 53, from, port, &[round; 5]));
        let frame = until(&inside, &mut gateway);
        let packet = link::raw_unwrap(&frame).expect("IPv6");
        assert_eq!(
            (&packet[24..40], &packet[48..]),
            (&CLIENT.octets()[..], &[round; 5][..])
        );
    }
    let stats = gateway.stats();
    assert_eq!(
        (stats.installed, stats.translated),
        (1, [1, 0]),
        "the rest went through the card"
    );
    let served = bench.service.stats().expect("it goes on");
    assert_eq!((served.frames_in, served.frames_lost), ([3, 3], [0, 0]));
}

#[test]
fn the_next_host_finds_the_card_as_the_last_one_left_it() {
    let bench = Bench::start(None);
    let mut card = bench.connect();
    card.reset().expect("reset");
    card.write32(Bar::Bar0, Scratch::OFFSET, 0x7e7d_5e5d).expect("posted");
    assert_eq!(card.read32(Bar::Bar0, Scratch::OFFSET).expect("read"), 0x7e7d_5e5d);
    drop(card);
    for _ in 0..3 {
        let mut card = bench.connect();
        assert_eq!(card.read32(Bar::Bar0, Ident::OFFSET).expect("read"), MAGIC);
        assert_eq!(card.read32(Bar::Bar0, Scratch::OFFSET).expect("read"), 0x7e7d_5e5d);
    }
}

#[test]
fn a_line_that_is_no_card_is_said_to_be_none() {
    let missing = "serial:/dev/no-such-line".parse().expect("a line");
    assert!(matches!(open(&missing).err(), Some(OpenError::Line { .. })));
    // a file is no terminal
    let file = tempfile::NamedTempFile::new().expect("file");
    assert!(matches!(
        SerialTransport::open(file.path()).err(),
        Some(OpenError::Line { .. })
    ));
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).expect("a terminal");
    rustix::pty::grantpt(&master)
        .and_then(|()| rustix::pty::unlockpt(&master))
        .expect("ours");
    let name = rustix::pty::ptsname(&master, Vec::new()).expect("a name");
    let begin = Instant::now();
    let refused = SerialTransport::open(Path::new(name.to_str().expect("a path"))).err();
    assert!(matches!(refused, Some(OpenError::Silent { .. })), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}
