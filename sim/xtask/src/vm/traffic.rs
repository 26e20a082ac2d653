//! The two networks of the virtual machine test: a client on the inside cable, a server on the outside one.
//!
//! ```text
//!   client --request, IPv6--> card --IPv4--> server
//!   client <--answer, IPv6--- card <--IPv4-- server (answers each request with its own bytes)
//! ```
//!
//! Each request has a number; it counts when its answer comes back with that number and the right addresses. Whoever asks
//! for the server by ARP is told its address. Checksums are made and checked by etherparse.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const SERVER: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const SERVER_PORT: u16 = 53;
const FIRST_PORT: u16 = 4000;
/// Connections of the client.
const FLOWS: u16 = 4;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe1];
/// The card's, when the configuration does not say otherwise (host/docs/configuration.md, `port * mac`).
const CARD_MACS: [[u8; 6]; 2] = [[0x02, 0x4e, 0x36, 0x34, 0, 0], [0x02, 0x4e, 0x36, 0x34, 0, 1]];

/// How much the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Pace {
    /// Nothing.
    Silent,
    /// Some forty packets a second.
    Gentle,
    /// Ten times that.
    Load,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    sent: u64,
    at_server: u64,
    returned: u64,
    wrong: Vec<String>,
    /// Pool address and port of each flow, in the order they were seen.
    pools: HashMap<u16, Vec<(Ipv4Addr, u16)>>,
}

/// Round trips that must be made in a time that is judged by itself.
const LEAST: u64 = 20;

impl Counts {
    /// Whether frames went through both ways, and unharmed.
    pub fn judge(&self) -> Result<String, String> {
        let Self {
            sent,
            at_server,
            returned,
            ..
        } = self;
        let text = format!("{sent} requests, {at_server} at the server, {returned} answers back at the client");
        if let Some(wrong) = self.wrong.first() {
            return Err(format!(
                "{text}; {} frames are wrong, the first: {wrong}",
                self.wrong.len()
            ));
        }
        // Frames are lost while the card is reset; when all is well most come through.
        if *returned < 100 || returned * 4 < *sent {
            return Err(text);
        }
        Ok(text)
    }
}

impl Counts {
    /// Whether sessions went on since `before` as if nothing had happened: three of four requests came back, through the
    /// same pool addresses and ports.
    pub fn judge_since(&self, before: &Self) -> Result<String, String> {
        let (sent, returned) = (self.sent - before.sent, self.returned - before.returned);
        let text = format!("{sent} requests, {returned} answers back at the client");
        if let Some(wrong) = self.wrong.get(before.wrong.len()) {
            return Err(format!("{text}; a frame is wrong: {wrong}"));
        }
        if self.pools != before.pools {
            return Err(format!("{text}; pools were {:?}, are {:?}", before.pools, self.pools));
        }
        if returned < LEAST || returned * 4 < sent * 3 {
            return Err(text);
        }
        Ok(format!("{text}, each flow at the pool port it had"))
    }
}

fn cable(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The two ends, running.
pub struct Traffic {
    pace: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Plugs both ends in; they are silent at first.
    pub fn start(inside: &Path, outside: &Path) -> io::Result<Self> {
        let (inside, outside) = (cable(inside)?, cable(outside)?);
        let (pace, stop) = (
            Arc::new(AtomicU8::new(Pace::Silent as u8)),
            Arc::new(AtomicBool::new(false)),
        );
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (pace_, stop_, counts_) = (pace.clone(), stop.clone(), counts.clone());
        let thread = std::thread::spawn(move || {
            let mut number = 0u32;
            let mut next = Instant::now();
            while !stop_.load(Ordering::Relaxed) {
                let interval = match pace_.load(Ordering::Relaxed) {
                    p if p == Pace::Gentle as u8 => Some(Duration::from_millis(25)),
                    p if p == Pace::Load as u8 => Some(Duration::from_micros(2500)),
                    _ => None,
                };
                let mut counts = counts_.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(interval) = interval.filter(|_| Instant::now() >= next) {
                    next = Instant::now() + interval;
                    number += 1;
                    // A full socket is a card that takes no more for now.
                    if send(&inside, &request(number), SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {
                        counts.sent += 1;
                    }
                }
                let mut busy = false;
                while let Some(frame) = receive(&outside) {
                    busy = true;
                    if let Some(answer) = counts.at_server(&frame).or_else(|| arp_reply(&frame)) {
                        let _ = send(&outside, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                    }
                }
                while let Some(frame) = receive(&inside) {
                    busy = true;
                    counts.at_client(&frame);
                }
                drop(counts);
                if !busy {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Ok(Self {
            pace,
            stop,
            counts,
            thread: Some(thread),
        })
    }

    /// Sets how much is sent from now on.
    pub fn pace(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Relaxed);
    }

    /// What came of it so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it.
    pub fn end(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.counts()
    }
}

fn receive(cable: &OwnedFd) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2048];
    let (_, length) = recv(cable, &mut frame[..], RecvFlags::DONTWAIT).ok()?;
    frame.truncate(length);
    (length > 0).then_some(frame)
}

fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    Ipv6Addr::new(
        0x64,
        0xff9b,
        0,
        0,
        0,
        0,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    )
}

fn request(number: u32) -> Vec<u8> {
    let port = FIRST_PORT + (number % u32::from(FLOWS)) as u16;
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, CARD_MACS[0])
        .ipv6(CLIENT.octets(), embedded(SERVER).octets(), 64)
        .udp(port, SERVER_PORT);
    let mut frame = Vec::new();
    let payload = [&b"request "[..], &number.to_be_bytes()].concat();
    // Writing into memory does not fail.
    let _ = builder.write(&mut frame, &payload);
    frame
}

/// The server's answer to whoever asks for it.
fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Arp(arp)) = &packet.net else {
        return None;
    };
    if arp.operation() != ArpOperation::REQUEST || arp.target_protocol_addr() != SERVER.octets() {
        return None;
    }
    let reply = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &SERVER_MAC,
        &SERVER.octets(),
        arp.sender_hw_addr(),
        arp.sender_protocol_addr(),
    );
    let mut frame = Vec::new();
    let to = arp.sender_hw_addr().try_into().ok()?;
    PacketBuilder::ethernet2(SERVER_MAC, to)
        .arp(reply.ok()?)
        .write(&mut frame)
        .ok()?;
    Some(frame)
}

/// The UDP payload of a frame, and whether its checksum is right.
fn udp(frame: &[u8]) -> Option<(SlicedPacket<'_>, Vec<u8>, bool)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return None;
    };
    let (header, payload) = (udp.to_header(), udp.payload().to_vec());
    let sum = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let ip = ip.header();
            header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), &payload)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let ip = ip.header();
            header.calc_checksum_ipv6_raw(ip.source(), ip.destination(), &payload)
        }
        _ => return None,
    };
    let good = sum.is_ok_and(|sum| sum == header.checksum);
    Some((packet, payload, good))
}

impl Counts {
    /// A frame at the server; its answer. Other frames (the self test's) are not looked at.
    fn at_server(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (packet, payload, good) = udp(frame)?;
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (&packet.net, &packet.transport) else {
            self.wrong.push(format!("at the server: {frame:02x?}"));
            return None;
        };
        let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
        let in_pool = from.octets()[..3] == [203, 0, 113];
        if !good
            || !in_pool
            || (to, udp.destination_port()) != (SERVER, SERVER_PORT)
            || !payload.starts_with(b"request ")
        {
            self.wrong.push(format!("at the server: {frame:02x?}"));
            return None;
        }
        self.at_server += 1;
        let number = u32::from_be_bytes(payload[8..12].try_into().unwrap_or_default());
        let pools = self.pools.entry((number % u32::from(FLOWS)) as u16).or_default();
        let pool = (from, udp.source_port());
        if pools.last() != Some(&pool) {
            pools.push(pool);
        }
        let mut answer = Vec::new();
        let builder = PacketBuilder::ethernet2(SERVER_MAC, CARD_MACS[1])
            .ipv4(to.octets(), from.octets(), 60)
            .udp(SERVER_PORT, udp.source_port());
        let _ = builder.write(&mut answer, &[&b"answer. "[..], &payload[8..]].concat());
        Some(answer)
    }

    fn at_client(&mut self, frame: &[u8]) {
        let Some((packet, payload, good)) = udp(frame) else {
            return;
        };
        let right = match (&packet.net, &packet.transport) {
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
                let number = payload
                    .get(8..12)
                    .map(|b| u32::from_be_bytes(b.try_into().unwrap_or_default()));
                let port = number.map(|n| FIRST_PORT + (n % u32::from(FLOWS)) as u16);
                ip.header().source_addr() == embedded(SERVER)
                    && ip.header().destination_addr() == CLIENT
                    && Some(udp.destination_port()) == port
                    && payload.starts_with(b"answer. ")
            }
            _ => false,
        };
        if good && right {
            self.returned += 1;
        } else {
            self.wrong.push(format!("at the client: {frame:02x?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_by_arp() {
        let ask = |target: Ipv4Addr| {
            let pool = [203, 0, 113, 1];
            let arp = ArpPacket::new(
                ArpHardwareId::ETHERNET,
                EtherType::IPV4,
                ArpOperation::REQUEST,
                &CARD_MACS[1],
                &pool,
                &[0; 6],
                &target.octets(),
            );
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2(CARD_MACS[1], [0xff; 6]).arp(arp.expect("fits"));
            builder.write(&mut frame).expect("memory");
            frame
        };
        let reply = arp_reply(&ask(SERVER)).expect("answered");
        assert_eq!(
            (&reply[..6], &reply[6..12], reply[21]),
            (&CARD_MACS[1][..], &SERVER_MAC[..], 2)
        );
        assert_eq!(
            (&reply[22..28], &reply[28..32]),
            (&SERVER_MAC[..], &SERVER.octets()[..])
        );
        assert_eq!(arp_reply(&ask(Ipv4Addr::LOCALHOST)), None);
        assert_eq!(arp_reply(&reply), None, "no answer to an answer");
    }

    #[test]
    fn frames_are_checked() {
        let frame = request(6);
        let (_, payload, good) = udp(&frame).expect("UDP");
        assert!(good && payload.ends_with(&[0, 0, 0, 6]));
        let mut counts = Counts::default();
        // What was not translated is wrong at the server, and at the client.
        assert!(counts.at_server(&frame).is_none());
        counts.at_client(&frame);
        assert_eq!(counts.wrong.len(), 2);
        let mut translated = Vec::new();
        PacketBuilder::ethernet2([0; 6], [0; 6])
            .ipv4([203, 0, 113, 1], SERVER.octets(), 63)
            .udp(1024, SERVER_PORT)
            .write(&mut translated, &payload)
            .expect("memory");
        let answer = Counts::default().at_server(&translated).expect("answered");
        assert!(udp(&answer).expect("UDP").2);
        let mut later = counts.clone();
        assert!(later.judge_since(&counts).is_err(), "nothing came through");
        (later.sent, later.returned) = (100, 75);
        assert!(later.judge_since(&counts).is_ok());
        later.pools.entry(0).or_default().push((SERVER, 1));
        assert!(later.judge_since(&counts).is_err(), "another pool port");
        translated[45] ^= 1;
        assert!(Counts::default().at_server(&translated).is_none(), "a wrong checksum");
    }
}
