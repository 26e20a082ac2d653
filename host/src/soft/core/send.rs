//! What comes of a frame: effects performed, next hops found, frames made ready.

use std::net::IpAddr;
use std::ops::Range;

use nat64_driver::link::Mac;
use nat64_driver::neigh::{self, Output};
use nat64_driver::LinkType;
use nat64_layout::{Reason, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN};
use nat64_xlate::shard::hairpin_set;
use nat64_xlate::{Effect, Effects, Time};

use super::super::hops::Memory;
use super::super::offload::{self, Shape};
use super::super::vnet::{Vnet, VNET_HEADER};
use super::{join, Core, Out, Tx, EVENTS};

/// How a translated packet is sent.
pub(super) enum As {
    /// Its checksum left to the kernel.
    Partial(Shape),
    /// With the payload of the super-segment it stands for: bytes of the payload in the received frame, packets, size
    /// of each, CWR on the first only, flags of the whole.
    Super {
        shape: Shape,
        tail: Range<usize>,
        packets: u64,
        size: u16,
        ecn: bool,
        flags: u8,
    },
}

impl Core {
    /// A whole frame to send.
    pub(super) fn raw(&mut self, port: usize, vnet: &Vnet, frame: &[u8], tx: &mut Tx) {
        let start = tx.heads.len();
        tx.heads.extend_from_slice(&vnet.write());
        tx.heads.extend_from_slice(frame);
        self.send_out(port, 1, start, 0..0, None, tx);
    }

    pub(super) fn send_out(
        &mut self,
        port: usize,
        packets: u64,
        start: usize,
        body: Range<usize>,
        tail: Option<(usize, Range<usize>)>,
        tx: &mut Tx,
    ) {
        self.stats.frames_out[port] += 1;
        self.soft.packets_out[port] += packets;
        let tail_length = tail.as_ref().map_or(0, |(_, range)| range.len());
        self.soft.bytes_out[port] += (tx.heads.len() - start - VNET_HEADER + body.len() + tail_length) as u64;
        tx.open = None;
        tx.list.push(Out {
            port,
            packets,
            head: start..tx.heads.len(),
            body,
            tail,
        });
    }

    /// Performs the effects of a super-segment that goes on as one.
    #[allow(clippy::too_many_arguments)] // effects, and the frame they are of
    pub(super) fn perform_super(
        &mut self,
        now: Time,
        effects: &Effects,
        done: &[Effect],
        how: As,
        index: usize,
        packet: &[u8],
        shape: &Shape,
        tx: &mut Tx,
    ) {
        let Some((unit, bytes)) = single_of(done) else {
            return;
        };
        let to = neigh::destination_of(effects.bytes(&bytes));
        let known = to.and_then(|to| self.hop(now, unit, to));
        if let As::Super { packets, .. } = how {
            // All it stands for; `book` counts the first.
            let direction = done.iter().find_map(|effect| match effect {
                Effect::Send { translated, .. } => *translated,
                _ => None,
            });
            if let Some(direction) = direction {
                self.stats.translated[direction as usize] += packets - 1;
            }
        }
        if known.is_some() || self.config.link_type == LinkType::Raw {
            self.book(done);
            self.emit(unit, effects, bytes, Some(how), known, Some(index), tx);
            return;
        }
        // It has to wait for its next hop: as packets, of which a few may wait.
        let As::Super {
            shape: other, flags, ..
        } = how
        else {
            return;
        };
        let mut whole = effects.bytes(&bytes)[..other.headers].to_vec();
        whole.extend_from_slice(&packet[shape.headers..]);
        let length = whole.len() - other.ip;
        other.set_lengths(&mut whole, length);
        if !other.udp {
            whole[other.ip + 13] = flags;
        }
        self.book(done);
        let size = bytes.len() - other.headers;
        for piece in offload::cut(&whole, &other, size, 0) {
            self.slow(now, unit, &piece, true, tx);
        }
    }

    /// Counts the effects that are no `Send`, and keeps events.
    fn book(&mut self, done: &[Effect]) {
        for effect in done {
            match effect {
                Effect::Send { translated, .. } => match translated {
                    Some(direction) => self.stats.translated[*direction as usize] += 1,
                    None => self.soft.originated += 1,
                },
                Effect::Drop(reason) => self.stats.reasons[*reason as usize] += 1,
                Effect::Log(event) if self.events.len() < EVENTS => self.events.push(event.clone()),
                Effect::Log(_) => self.stats.not_kept += 1,
                Effect::Install(_) | Effect::Remove(_) => {}
            }
        }
    }

    /// Performs some of the effects, in order; `how` is for the only translated packet among them.
    pub(super) fn perform(&mut self, now: Time, effects: &Effects, done: &[Effect], how: Option<As>, tx: &mut Tx) {
        self.book(done);
        let mut how = how;
        for effect in done {
            let Effect::Send {
                unit,
                bytes,
                translated,
                ..
            } = effect
            else {
                continue;
            };
            let how = translated.and_then(|_| how.take());
            let packet = effects.bytes(bytes);
            if let Some(set) = hairpin_set(*unit) {
                let mut whole = packet.to_vec();
                if let Some(As::Partial(shape)) = how {
                    shape.set_checksum(&mut whole);
                }
                self.send_middle(now, set, whole, tx);
                continue;
            }
            let Some(to) = neigh::destination_of(packet) else {
                self.count(Reason::BadHeader, 1);
                continue;
            };
            let known = self.hop(now, *unit, to);
            if known.is_some() || self.config.link_type == LinkType::Raw {
                self.emit(*unit, effects, bytes.clone(), how, known, None, tx);
                continue;
            }
            match how {
                Some(As::Partial(shape)) => {
                    let mut whole = packet.to_vec();
                    shape.set_checksum(&mut whole);
                    self.slow(now, *unit, &whole, true, tx);
                }
                _ => self.slow(now, *unit, packet, translated.is_some(), tx),
            }
        }
    }

    /// The MAC address a packet to `to` is sent to, when it is known.
    fn hop(&mut self, now: Time, unit: usize, to: IpAddr) -> Option<Mac> {
        if let Some(mac) = self.hops.get(&self.shared, now, unit, to) {
            return Some(mac);
        }
        if self.config.link_type == LinkType::Raw {
            return None;
        }
        let generation = Memory::begin(&self.shared);
        let mac = {
            let neighbours = self.shared.lock();
            neighbours.next_hop(unit, to).and_then(|key| neighbours.mac(key))
        }?;
        self.hops.put(generation, now, unit, to, mac);
        Some(mac)
    }

    /// Sends by way of the neighbours: the packet may wait there.
    fn slow(&mut self, now: Time, unit: usize, packet: &[u8], translated: bool, tx: &mut Tx) {
        let mut out = Output::default();
        self.shared.lock().send(now, unit, packet, translated, &mut out);
        self.apply(out, tx);
    }

    /// A translated packet, or one of ours, whose next hop is known.
    #[allow(clippy::too_many_arguments)] // the packet, how and where
    fn emit(
        &mut self,
        unit: usize,
        effects: &Effects,
        bytes: Range<usize>,
        how: Option<As>,
        mac: Option<Mac>,
        index: Option<usize>,
        tx: &mut Tx,
    ) {
        let Some(place) = self.config.units.get(unit) else {
            self.count(Reason::NoUnit, 1);
            return;
        };
        let port = usize::from(place.port);
        let packet = effects.bytes(&bytes);
        let start = tx.heads.len();
        tx.heads.extend_from_slice(&[0; VNET_HEADER]);
        if let Some(mac) = mac {
            tx.heads.extend_from_slice(&mac);
            tx.heads.extend_from_slice(&self.config.ports[port].mac);
            for vlan in place.vlans.into_iter().flatten() {
                tx.heads.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
                tx.heads.extend_from_slice(&(vlan & 0xfff).to_be_bytes());
            }
            let six = packet[0] >> 4 == 6;
            let ethertype = if six { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
            tx.heads.extend_from_slice(&ethertype.to_be_bytes());
        }
        let at = tx.heads.len() - start - VNET_HEADER;
        let (vnet, body, tail, packets) = match how {
            None => (Vnet::default(), bytes, None, 1),
            Some(As::Partial(shape)) if self.joins && shape.udp && join::takes(packet.len() - shape.headers) => {
                return self.emit_datagram(port, packet, start, &shape, tx);
            }
            Some(As::Partial(shape)) => {
                let length = packet.len() - shape.ip;
                let header = tx.heads.len();
                tx.heads.extend_from_slice(&packet[..shape.headers]);
                shape.set_partial(&mut tx.heads[header..], length);
                let body = bytes.start + shape.headers..bytes.end;
                (shape.vnet(at, None), body, None, 1)
            }
            Some(As::Super {
                shape,
                tail,
                packets,
                size,
                ecn,
                flags,
            }) => {
                let length = tail.len() + shape.headers - shape.ip;
                let start = tx.heads.len();
                tx.heads.extend_from_slice(&packet[..shape.headers]);
                let header = &mut tx.heads[start..];
                if !shape.udp {
                    header[shape.ip + 13] = flags;
                }
                // Held against the limit before.
                shape.set_lengths(header, length);
                shape.set_partial(header, length);
                let tail = index.map(|index| (index, tail));
                (shape.vnet(at, Some((size, ecn))), 0..0, tail, packets)
            }
        };
        tx.heads[start..start + VNET_HEADER].copy_from_slice(&vnet.write());
        self.send_out(port, packets, start, body, tail, tx);
    }
}

impl Core {
    /// A datagram whose checksum is left to the kernel, behind what begins at `start`: alone, or joined to the one before.
    fn emit_datagram(&mut self, port: usize, packet: &[u8], start: usize, shape: &Shape, tx: &mut Tx) {
        let at = tx.heads.len() - start - VNET_HEADER;
        tx.heads.extend_from_slice(packet);
        let length = tx.heads.len() - start - VNET_HEADER;
        if tx.join(port, start, at, shape) {
            self.soft.joined += 1;
            self.soft.packets_out[port] += 1;
            self.soft.bytes_out[port] += length as u64;
            return;
        }
        let header = start + VNET_HEADER + at;
        shape.set_partial(&mut tx.heads[header..], packet.len() - shape.ip);
        tx.heads[start..start + VNET_HEADER].copy_from_slice(&shape.vnet(at, None).write());
        self.send_out(port, 1, start, 0..0, None, tx);
        tx.open(at, shape);
    }
}

/// The effects from one on.
pub(super) fn since(effects: &Effects, from: usize) -> &[Effect] {
    effects.iter().as_slice().get(from..).unwrap_or_default()
}

/// The only translated packet among effects, if there is exactly one and nothing was dropped or answered: unit and bytes.
pub(super) fn single_of(done: &[Effect]) -> Option<(usize, Range<usize>)> {
    let mut found = None;
    for effect in done {
        match effect {
            Effect::Send {
                unit,
                bytes,
                translated: Some(_),
                ..
            } if found.is_none() => found = Some((*unit, bytes.clone())),
            Effect::Send { .. } | Effect::Drop(_) => return None,
            _ => {}
        }
    }
    found
}
