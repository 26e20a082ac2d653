//! A daemon in this process on a wire that the test holds, and a client of its socket.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use etherparse::{EtherType, PacketBuilder, SlicedPacket};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nat64_host::api::Class;
use nat64_host::daemon::access::{Access, Who};
use nat64_host::daemon::cards::{CardSetOptions, Given, MakeOpener};
use nat64_host::daemon::dataplane::{CardConfig, Dataplane, DataplaneError};
use nat64_host::daemon::gateway::{Frames, GatewayDataplane};
use nat64_host::daemon::journal::LogBuffer;
use nat64_host::daemon::server::Limits;
use nat64_host::daemon::service::{Options, Running, Stored};
use nat64_host::daemon::worker::Opener;
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

/// MAC address of everyone on the wire but the gateway.
pub const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];

#[derive(Default)]
struct WireState {
    arrived: VecDeque<(usize, Vec<u8>)>,
    sent: VecDeque<(usize, Vec<u8>)>,
    /// Frames that were taken by the gateway.
    taken: u64,
}

/// Both ports' wires. Whoever is asked for by ARP is there, at [`PEER`].
#[derive(Clone, Default)]
pub struct Wire(Arc<(Mutex<WireState>, Condvar)>);

impl Wire {
    /// A frame arrives on a port.
    pub fn arrive(&self, port: usize, frame: Vec<u8>) {
        self.0 .0.lock().unwrap().arrived.push_back((port, frame));
        self.0 .1.notify_all();
    }

    /// The next frame that the gateway sent and that is no ARP, within some seconds.
    pub fn sent(&self) -> Option<(usize, Vec<u8>)> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut state = self.0 .0.lock().unwrap();
        loop {
            if let Some(frame) = state.sent.pop_front() {
                return Some(frame);
            }
            let left = until.checked_duration_since(Instant::now())?;
            state = self.0 .1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Forgets what was sent.
    pub fn forget(&self) {
        self.0 .0.lock().unwrap().sent.clear();
    }

    /// Frames that the gateway has taken.
    pub fn taken(&self) -> u64 {
        self.0 .0.lock().unwrap().taken
    }
}

fn arp_answer(request: &[u8]) -> Option<Vec<u8>> {
    let arp = request.get(14..42).filter(|_| request[12..14] == [8, 6])?;
    if arp[6..8] != [0, 1] {
        return None;
    }
    let mut answer = Vec::new();
    answer.extend_from_slice(&request[6..12]);
    answer.extend_from_slice(&PEER);
    answer.extend_from_slice(&[8, 6]);
    answer.extend_from_slice(&arp[..6]);
    answer.extend_from_slice(&[0, 2]);
    answer.extend_from_slice(&PEER);
    answer.extend_from_slice(&arp[24..28]);
    answer.extend_from_slice(&arp[8..18]);
    answer.resize(60, 0);
    Some(answer)
}

impl Frames for Wire {
    fn receive(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut state = self.0 .0.lock().unwrap();
        let frame = state.arrived.pop_front();
        state.taken += u64::from(frame.is_some());
        frame
    }

    fn send(&mut self, port: usize, frame: Vec<u8>) {
        let mut state = self.0 .0.lock().unwrap();
        if frame.get(12..14) == Some(&[8, 6]) {
            if let Some(answer) = arp_answer(&frame) {
                state.arrived.push_back((port, answer));
            }
            return;
        }
        state.sent.push_back((port, frame));
        self.0 .1.notify_all();
    }

    fn wait(&mut self, timeout: Duration) {
        let state = self.0 .0.lock().unwrap();
        if state.arrived.is_empty() {
            drop(self.0 .1.wait_timeout(state, timeout).unwrap());
        }
    }
}

struct WireOpener(Wire);

impl Opener for WireOpener {
    fn open(&mut self, config: Option<Arc<CardConfig>>) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let mut dataplane = GatewayDataplane::on_frames(Box::new(self.0.clone()), 64);
        if let Some(config) = config {
            dataplane.prepare(config)?;
            dataplane.apply()?;
        }
        Ok(Box::new(dataplane))
    }
}

/// Openers that put every card on the wire.
pub fn openers(wire: &Wire) -> MakeOpener {
    let wire = wire.clone();
    Box::new(move |_, _| Box::new(WireOpener(wire.clone())))
}

/// A running daemon.
pub struct Rig {
    pub running: Running,
    pub wire: Wire,
    pub folder: PathBuf,
    pub socket: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

/// Access that gives this process' user a class, or none.
pub fn access(class: Option<Class>) -> Access {
    let mut access = Access::none();
    if let Some(class) = class {
        access.push(class, Who::Uid(nix::unistd::geteuid().as_raw()));
    }
    access
}

pub fn options(folder: &Path, class: Option<Class>) -> Options {
    Options {
        folder: folder.join("config"),
        socket: folder.join("control.sock"),
        socket_mode: 0o600,
        access: access(class),
        limits: Limits::default(),
        metrics: None,
        cards: CardSetOptions {
            given: vec!["card0=soft".parse::<Given>().unwrap()],
            ..CardSetOptions::default()
        },
    }
}

impl Rig {
    /// A daemon whose user is a super-user, without a configuration.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), Some(Class::SuperUser));
        Self::start_with(options, Some(dir)).await
    }

    pub async fn start_with(options: Options, dir: Option<tempfile::TempDir>) -> Self {
        let wire = Wire::default();
        let stored = Stored::open(&options.folder).unwrap();
        let (folder, socket) = (options.folder.clone(), options.socket.clone());
        let running = Running::start(options, stored, Some(openers(&wire)), LogBuffer::default()).await;
        Self {
            running: running.unwrap(),
            wire,
            folder,
            socket,
            _dir: dir,
        }
    }

    /// A daemon with a configuration committed.
    pub async fn with(text: &str) -> Self {
        let rig = Self::start().await;
        rig.commit(text).await.unwrap();
        rig
    }

    pub fn client(&self) -> Client {
        Client(self.socket.clone())
    }

    /// Replaces the configuration.
    pub async fn commit(&self, text: &str) -> Result<Value, Value> {
        let client = self.client();
        let edit = client.post("/v1/configuration/edit", &serde_json::json!({})).await?;
        let edit = edit["edit"].as_str().unwrap().to_owned();
        let load = serde_json::json!({"edit": edit, "mode": "override", "text": text});
        let loaded = client.post("/v1/configuration/candidate/load", &load).await;
        let committed = match loaded {
            Ok(_) => {
                client
                    .post("/v1/configuration/commit", &serde_json::json!({"edit": edit}))
                    .await
            }
            Err(error) => Err(error),
        };
        client.delete(&format!("/v1/configuration/edit/{edit}")).await?;
        committed
    }

    /// A client's SYN, and the session it makes: returns the IPv4 packet that left.
    pub fn open_session(&self, client: Ipv6Addr, port: u16, server: Ipv6Addr, server_port: u16) -> Vec<u8> {
        self.wire.arrive(0, syn(client, port, server, server_port));
        let (port, frame) = self.wire.sent().expect("the SYN goes out");
        assert_eq!(port, 1, "{frame:02x?}");
        frame[14..].to_vec()
    }

    /// Waits until all frames that arrived have been taken.
    pub fn drain(&self, frames: u64) {
        let until = Instant::now() + Duration::from_secs(120 + frames / 2_000);
        while self.wire.taken() < frames {
            assert!(Instant::now() < until, "{} of {frames}", self.wire.taken());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// MAC address of our port 0 unless configured.
pub const GATEWAY: [u8; 6] = [2, 0x4e, 0x36, 0x34, 0, 0];

pub fn syn(client: Ipv6Addr, port: u16, server: Ipv6Addr, server_port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER, GATEWAY)
        .ipv6(client.octets(), server.octets(), 64)
        .tcp(port, server_port, 1, 65_535)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

pub fn udp6(client: Ipv6Addr, port: u16, server: Ipv6Addr, server_port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER, GATEWAY)
        .ipv6(client.octets(), server.octets(), 64)
        .udp(port, server_port);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"x").unwrap();
    frame
}

/// Source and destination of an IPv4 TCP or UDP packet.
pub fn ends4(packet: &[u8]) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let sliced = SlicedPacket::from_ether_type(EtherType::IPV4, packet).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else {
        panic!("{packet:02x?}")
    };
    let (source, destination) = match &sliced.transport {
        Some(etherparse::TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(etherparse::TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        other => panic!("{other:?}"),
    };
    let header = ip.header();
    ((header.source_addr(), source), (header.destination_addr(), destination))
}

/// A client of the control socket; each request has a connection of its own.
#[derive(Clone)]
pub struct Client(pub PathBuf);

impl Client {
    pub async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let response = self.open(method, path, body).await;
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    /// The answer, its body not read yet.
    pub async fn open(&self, method: &str, path: &str, body: Vec<u8>) -> hyper::Response<Incoming> {
        let stream = tokio::net::UnixStream::connect(&self.0).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "nat64d")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn json(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, Value> {
        let (status, body) = self.send(method, path, body).await;
        let value: Value = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body:?}"));
        if status.is_success() {
            Ok(value)
        } else {
            let code = value["error"]["code"].clone();
            let code: nat64_host::api::ErrorCode = serde_json::from_value(code).unwrap();
            assert_eq!(status.as_u16(), code.status(), "{value}");
            Err(value["error"].clone())
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Value> {
        self.json("GET", path, Vec::new()).await
    }

    pub async fn get_as<T: DeserializeOwned>(&self, path: &str) -> T {
        let value = self.get(path).await.unwrap();
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{path}: {error}: {value}"))
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Value> {
        self.json("POST", path, serde_json::to_vec(body).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Value> {
        self.json("DELETE", path, Vec::new()).await
    }
}

/// The worked example, curly.
pub const SEED: &str = include_str!("../../../examples/seed.conf");

pub fn client_address(n: u32) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0000 + u128::from(n))
}

/// 192.0.2.1 under the well-known prefix.
pub fn server() -> Ipv6Addr {
    "64:ff9b::c000:201".parse().unwrap()
}
