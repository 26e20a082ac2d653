//! The served card from outside: the driver on one side of the socket, frames on the other.

mod common;

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{check4, udp4, udp6, CLIENT, SEED, SERVER};
use nat64_driver::transport::VfioUserTransport;
use nat64_driver::{link, self_test, Card, CardOptions, Check, Gateway, LinkType, Transport};
use nat64_host::config::{self, BuildOptions};
use nat64_layout::regs::{Bar, DumpAddrHigh, DumpDoneHigh, DumpFirst, DumpGo, Ident, Scratch, MAGIC};
use nat64_sim::serve::{Options, PortKind, PortSpec, Service};
use nat64_sim::tlp::{PciCard, PciEngine};
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

struct Bench {
    folder: tempfile::TempDir,
    service: Service,
    _alone: MutexGuard<'static, ()>,
}

/// One simulated card at a time: five beside each other on a busy machine of two cores have answered later than a client waits.
static ALONE: Mutex<()> = Mutex::new(());

impl Bench {
    fn start() -> Self {
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
        let start = |memory| PciCard::start(PciEngine::Rtl, Box::new(memory));
        let service = Service::start(&folder.path().join("card.sock"), &options, start).expect("it starts");
        Self {
            folder,
            service,
            _alone: alone,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn connect(&self) -> VfioUserTransport {
        VfioUserTransport::open(&self.path("card.sock")).expect("opened")
    }
}

/// A cable: one packet is one frame.
fn cable(path: &Path) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socket");
    connect(&socket, &SocketAddrUnix::new(path).expect("path")).expect("the port listens");
    socket
}

fn receive(cable: &OwnedFd) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2048];
    let (_, length) = recv(cable, &mut frame[..], RecvFlags::DONTWAIT).ok()?;
    frame.truncate(length);
    Some(frame)
}

struct Running {
    gateway: Gateway,
    clock: (Instant, u64),
}

impl Running {
    fn new(mut transport: VfioUserTransport) -> Self {
        let tree = config::parse(SEED, "seed.conf").expect("the worked example");
        let options = BuildOptions {
            link_type: LinkType::Raw,
            ..BuildOptions::default()
        };
        let (config, _) = config::build(&tree, options).expect("the worked example");
        transport.reset().expect("reset");
        let mut card = Card::open(Box::new(transport), CardOptions::default()).expect("our card");
        let clock = (Instant::now(), card.time().expect("read"));
        let mut gateway = Gateway::new(config, Some(card), 1).expect("configured");
        // Writes are posted, and cables are another way to the card: what is read comes after them, so that no frame meets a
        // card that is still off.
        gateway.card_mut().expect("one").time().expect("read");
        Self { gateway, clock }
    }

    /// Lets driver and card work until a frame comes out of a cable.
    fn until(&mut self, cable: &OwnedFd) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let now = self.clock.1 + self.clock.0.elapsed().as_nanos() as u64;
            self.gateway.poll(now).expect("card works");
            if let Some(frame) = receive(cable) {
                return frame;
            }
            self.gateway
                .card_mut()
                .expect("one")
                .wait(Duration::from_millis(5))
                .expect("card works");
        }
        panic!("no frame came out; {:?}", self.gateway.stats());
    }
}

fn put(cable: &OwnedFd, port: usize, gateway: &Gateway, packet: &[u8]) {
    let mac = gateway.config().ports[port].mac;
    let frame = link::raw_wrap(port, mac, packet).expect("an IP packet");
    assert_eq!(send(cable, &frame, SendFlags::empty()).expect("taken"), frame.len());
}

#[test]
fn the_same_tests_as_for_any_card_pass() {
    let bench = Bench::start();
    let inside = cable(&bench.path("inside"));
    let mut card = bench.connect();
    let checks = self_test(&mut card, Duration::from_secs(30));
    assert!(checks.iter().all(Check::passed), "{checks:#?}");
    let frame = receive(&inside).expect("the frame of the test");
    assert_eq!((&frame[..6], frame.len()), (&[0xff; 6][..], 60));
    // Windows are write only or read only as documented, and end where they end.
    assert!(card.read32(Bar::Bar0, 1 << 16).is_err());
    drop(card);
    assert!(bench.service.wait_for_end(Duration::from_secs(10)));
    let stats = bench.service.stats().expect("it goes on");
    assert_eq!((stats.faults, stats.resets, stats.unheard), (0, 2, 0));
    assert!(stats.reads > 100 && stats.writes > 1000, "{stats:?}");
}

#[test]
fn packets_are_translated_through_the_socket() {
    let bench = Bench::start();
    let (inside, outside) = (cable(&bench.path("inside")), cable(&bench.path("outside")));
    let mut running = Running::new(bench.connect());
    // The first packet goes through the host, which puts the session into the card.
    let mut pool = None;
    for round in 0..4u8 {
        put(
            &inside,
            0,
            &running.gateway,
            &udp6(CLIENT, 4000, SERVER, 53, &[round; 9]),
        );
        let frame = running.until(&outside);
        let packet = link::raw_unwrap(&frame).expect("IPv4");
        check4(packet);
        let from = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let port = u16::from_be_bytes([packet[20], packet[21]]);
        assert_eq!(*pool.get_or_insert((from, port)), (from, port));
        put(
            &outside,
            1,
            &running.gateway,
            &udp4(SERVER, 53, from, port, &[round; 5]),
        );
        let frame = running.until(&inside);
        let packet = link::raw_unwrap(&frame).expect("IPv6");
        assert_eq!((packet[0] >> 4, &packet[24..40]), (6, &CLIENT.octets()[..]));
        assert_eq!(&packet[48..], &[round; 5]);
    }
    let stats = running.gateway.stats();
    let counters = running.gateway.card_counters().expect("read").expect("a card");
    assert_eq!(
        (stats.installed, stats.translated),
        (1, [1, 0]),
        "the rest went through the card"
    );
    assert_eq!(counters.translated(), [3, 4]);
    let served = bench.service.stats().expect("it goes on");
    assert_eq!((served.faults, served.frames_in), (0, [4, 4]));
    assert!(served.interrupts > 0);

    // Another client finds the card as the last one left it.
    drop(running);
    assert!(bench.service.wait_for_end(Duration::from_secs(10)));
    let mut next = bench.connect();
    assert_eq!(next.read32(Bar::Bar0, Ident::OFFSET).expect("read"), MAGIC);
    assert_eq!(
        next.read32(Bar::Bar0, nat64_layout::regs::Ctrl::OFFSET).expect("read"),
        1,
        "still enabled"
    );
}

/// Frames without a session go to the host's memory as they come; a driver that leaves takes that memory with it.
#[test]
fn a_client_that_leaves_under_load_leaves_no_dma_behind() {
    let bench = Bench::start();
    let inside = cable(&bench.path("inside"));
    let mut punted = 0;
    for round in 0..12u16 {
        let mut running = Running::new(bench.connect());
        for number in 0..24 {
            let packet = udp6(CLIENT, 5000 + 24 * round + number, SERVER, 53, &[7; 300]);
            put(&inside, 0, &running.gateway, &packet);
        }
        // The first are on their way; the others meet what is done here.
        while running.gateway.stats().frames_in[0] == 0 {
            let now = running.clock.1 + running.clock.0.elapsed().as_nanos() as u64;
            running.gateway.poll(now).expect("card works");
        }
        punted += running.gateway.stats().frames_in[0];
        drop(running);
        assert!(bench.service.wait_for_end(Duration::from_secs(10)));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut stats = bench.service.stats().expect("it goes on");
    while stats.frames_in[0] < 12 * 24 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        stats = bench.service.stats().expect("it goes on");
    }
    assert_eq!(
        (stats.faults, stats.frames_in[0]),
        (0, 12 * 24),
        "{punted} seen by the driver"
    );
}

#[test]
fn dma_to_memory_that_is_not_mapped_is_refused_and_counted() {
    let bench = Bench::start();
    let mut card = bench.connect();
    // With memory of its own, elsewhere, it is bus master.
    card.dma_alloc(4096).expect("memory");
    card.write32(Bar::Bar0, DumpAddrHigh::OFFSET, 0x7777).expect("posted");
    card.write32(Bar::Bar0, DumpDoneHigh::OFFSET, 0x7777).expect("posted");
    card.write32(Bar::Bar0, DumpFirst::OFFSET, 0).expect("posted");
    let mut go = DumpGo(0);
    go.set_count(1);
    go.set_sequence(1);
    card.write32(Bar::Bar0, DumpGo::OFFSET, go.0).expect("posted");
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.service.stats().expect("it goes on").faults == 0 {
        assert!(Instant::now() < deadline, "no fault was counted");
        card.wait(Duration::from_millis(10)).expect("waits");
    }
    // The card is none the worse for it.
    card.write32(Bar::Bar0, Scratch::OFFSET, 9).expect("posted");
    assert_eq!(card.read32(Bar::Bar0, Scratch::OFFSET).expect("read"), 9);
}

#[test]
fn clients_that_send_nonsense_hurt_nobody_else() {
    let bench = Bench::start();
    let header = |command: u16, size: u32| {
        let mut bytes = vec![1, 0];
        bytes.extend_from_slice(&command.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes
    };
    let nonsense: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: card\r\n\r\n".to_vec(),
        vec![0xff; 64],
        header(1, 3),
        [header(1, 22), vec![0, 0, 0, 0, 1, 2]].concat(),
        [header(9, 32), vec![0xff; 16]].concat(),
        [
            header(9, 32),
            0u64.to_le_bytes().to_vec(),
            vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f],
        ]
        .concat(),
        [header(2, 48), vec![0xee; 32]].concat(),
        [header(8, 36), vec![0xff; 20]].concat(),
        header(13, 16)[..7].to_vec(),
        header(99, 16),
    ];
    for bytes in nonsense {
        let mut client = UnixStream::connect(bench.path("card.sock")).expect("it listens");
        client.write_all(&bytes).expect("taken");
        client.shutdown(std::net::Shutdown::Write).expect("open");
        // Until the server has done with it.
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("socket");
        let _ = std::io::copy(&mut client, &mut std::io::sink());
        assert!(bench.service.wait_for_end(Duration::from_secs(10)), "{bytes:x?}");
    }
    let mut card = bench.connect();
    assert_eq!(card.read32(Bar::Bar0, Ident::OFFSET).expect("read"), MAGIC);
    // Only one card is served at a socket, and its path is free again afterwards.
    let path = bench.path("card.sock");
    drop(card);
    let Bench {
        folder,
        service,
        _alone,
    } = bench;
    drop(service);
    assert!(!path.exists());
    drop(folder);
}
