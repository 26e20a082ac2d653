//! The cables of a simulated card whose ports are sockets (`nat64-sim serve --port inside=unix:PATH`), and the machines at
//! their other ends, as far as packets of a test need some.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::rig::PORT_MACS;

/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ethernet address of everyone at the other ends.
pub const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// EtherType of ARP.
const ARP: [u8; 2] = [8, 6];

/// Both cables. ARP requests are answered: whoever is asked for is there, at [`PEER`].
pub struct Cables {
    ends: [Arc<OwnedFd>; 2],
    frames: [Receiver<Vec<u8>>; 2],
}

fn arp_answer(request: &[u8]) -> Option<Vec<u8>> {
    let arp = request.get(14..42)?;
    let sender = arp.get(8..18)?;
    let target = arp.get(24..28)?;
    let mut answer = Vec::new();
    answer.extend_from_slice(request.get(6..12)?);
    answer.extend_from_slice(&PEER);
    answer.extend_from_slice(&ARP);
    answer.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
    answer.extend_from_slice(&PEER);
    answer.extend_from_slice(target);
    answer.extend_from_slice(sender);
    answer.resize(60, 0);
    (arp.get(6..8) == Some(&[0, 1])).then_some(answer)
}

/// Source and destination of a packet, and its ports or identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Source port; identifier of an echo.
    pub source_port: u16,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

/// The ends of an IPv4 frame with TCP, UDP or ICMP echo.
///
/// # Panics
/// It is none.
pub fn ends(frame: &[u8]) -> Ends {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap_or_else(|e| panic!("{e}: {frame:02x?}"));
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
        panic!("no IPv4: {frame:02x?}");
    };
    let source_port = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.source_port(),
        Some(TransportSlice::Udp(udp)) => udp.source_port(),
        Some(TransportSlice::Icmpv4(icmp)) => {
            let bytes = icmp.bytes5to8();
            u16::from_be_bytes([bytes[0], bytes[1]])
        }
        other => panic!("{other:?}"),
    };
    Ends {
        source_port,
        source: ip.header().source_addr(),
        destination: ip.header().destination_addr(),
    }
}

impl Cables {
    /// Plugs cables into the sockets of both ports.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn plug(paths: [&Path; 2]) -> Self {
        let end = |path: &Path| {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
            let socket = socket.expect("a socket");
            let address = SocketAddrUnix::new(path).expect("a short path");
            connect(&socket, &address).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            Arc::new(socket)
        };
        let ends = paths.map(end);
        let frames = [&ends[0], &ends[1]].map(|end| {
            let (to, frames) = channel();
            let end = Arc::clone(end);
            std::thread::spawn(move || {
                let mut frame = vec![0; 2048];
                while let Ok((_, length @ 1..)) = recv(&*end, &mut frame[..], RecvFlags::empty()) {
                    let frame = &frame[..length];
                    if frame.get(12..14) == Some(&ARP) {
                        if let Some(answer) = arp_answer(frame) {
                            let _ = send(&*end, &answer, SendFlags::NOSIGNAL);
                        }
                    } else if to.send(frame.to_vec()).is_err() {
                        return;
                    }
                }
            });
            frames
        });
        Self { ends, frames }
    }

    /// A frame arrives at a port of the card.
    ///
    /// # Panics
    /// The card is gone.
    pub fn arrive(&self, port: usize, frame: &[u8]) {
        send(&*self.ends[port], frame, SendFlags::NOSIGNAL).expect("the card is there");
    }

    /// The next frame the card sends on a port that is wanted.
    ///
    /// # Panics
    /// None comes within a minute.
    pub fn next(&self, port: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let frame = self.frames[port].recv_timeout(left).expect("a frame comes");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// The next IPv4 frame the card sends outside.
    pub fn next4(&self) -> Vec<u8> {
        self.next(1, |frame| frame.get(12..14) == Some(&[8, 0]))
    }
}

/// A frame from a client to the gateway.
pub fn from_client(client: Ipv6Addr, server: Ipv6Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(PEER, PORT_MACS[0]).ipv6(client.octets(), server.octets(), 64)
}

/// A frame from a server to the gateway.
pub fn from_server(server: Ipv4Addr, public: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(PEER, PORT_MACS[1]).ipv4(server.octets(), public.octets(), 64)
}
