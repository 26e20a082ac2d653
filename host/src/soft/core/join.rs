//! Datagrams of one flow that follow each other leave as one super-segment.
//!
//! ```text
//!   | vnet | Ethernet | IP | UDP | payload | payload | payload |      `gso_size` = the first payload's length
//! ```
//!
//! What the kernel then does for each packet (a buffer, a route, a queue, a wake-up) it does once; whoever needs single
//! datagrams at last, a socket or a network card, cuts them apart again and gets the same ones: equal headers, one length
//! (the last may be shorter), checksums that are made when they are sent. Only datagrams whose checksum was left to the kernel are
//! joined, so that none is made right that was wrong.
//!
//! In IPv4 the kernel counts the Identification on from the first datagram's. That one is of the translator's generator (RFC 7915
//! section 5.1; no packet with a Fragment header comes here), and the next ones are as good as what the generator gave them: unlike
//! those before, and unlike what a stranger can know.

use super::super::offload::Shape;
use super::super::vnet::VNET_HEADER;
use super::{Out, Tx};

/// Longest payload that is joined: it is copied.
const LONGEST: usize = 1024;
/// Most datagrams of a super-segment.
const MOST: u16 = 64;
/// Longest super-segment.
const TOTAL: usize = 60_000;

/// The last frame of a list, when it is a datagram that others may be joined to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Where its first part begins.
    start: usize,
    /// Offset of the IP header in the frame.
    at: usize,
    shape: Shape,
    size: usize,
    count: u16,
}

/// Whether a payload is one that is joined; there is no super-segment of nothing.
pub(super) const fn takes(payload: usize) -> bool {
    0 < payload && payload <= LONGEST
}

/// Whether two datagrams differ in nothing but length, identification and checksums.
fn alike(shape: &Shape, one: &[u8], other: &[u8]) -> bool {
    let same: &[std::ops::Range<usize>] = if shape.six {
        &[0..4, 6..44]
    } else {
        &[0..2, 6..10, 12..24]
    };
    same.iter()
        .all(|range| one.get(range.clone()) == other.get(range.clone()))
}

impl Tx {
    /// Joins the datagram that stands whole behind `start` (vnet header, Ethernet header of `at` bytes, packet) to the
    /// last frame, when that can be; it is gone from its place then.
    pub(super) fn join(&mut self, port: usize, start: usize, at: usize, shape: &Shape) -> bool {
        let Some(open) = self.open.filter(|open| (open.at, open.shape) == (at, *shape)) else {
            return false;
        };
        let header = VNET_HEADER + at;
        let payload = self.heads.len() - start - header - shape.headers;
        let Some(last) = self.list.last().filter(|out| out.port == port && out.head.end == start) else {
            return false;
        };
        let joined = last.head.len() - header - shape.headers + payload;
        if payload > open.size || open.count >= MOST || joined > TOTAL {
            return false;
        }
        let (before, new) = self.heads.split_at(start);
        let old = &before[open.start..];
        let alike =
            old[VNET_HEADER..header] == new[VNET_HEADER..header] && alike(shape, &old[header..], &new[header..]);
        if !alike {
            return false;
        }
        self.heads.copy_within(start + header + shape.headers.., start);
        self.heads.truncate(start + payload);
        let whole = &mut self.heads[open.start..];
        let length = joined + shape.headers - shape.ip;
        // Held against `TOTAL` above.
        shape.set_lengths(&mut whole[header..], length);
        shape.set_partial(&mut whole[header..], length);
        let vnet = shape.vnet(at, Some((open.size as u16, false)));
        whole[..VNET_HEADER].copy_from_slice(&vnet.write());
        if let Some(last) = self.list.last_mut() {
            last.head.end += payload;
            last.packets += 1;
        }
        // A shorter one is the last.
        self.open = (payload == open.size).then_some(Open {
            count: open.count + 1,
            ..open
        });
        true
    }

    /// Others may be joined to the last frame, a whole datagram that begins at `start`.
    pub(super) fn open(&mut self, at: usize, shape: &Shape) {
        let Some(Out { head, .. }) = self.list.last() else {
            return;
        };
        let header = VNET_HEADER + at;
        let packet = &self.heads[head.clone()][header..];
        // IPv4 options would have to be compared, too.
        if !shape.six && shape.ip != 20 {
            return;
        }
        self.open = Some(Open {
            start: head.start,
            at,
            shape: *shape,
            size: packet.len() - shape.headers,
            count: 1,
        });
    }
}
