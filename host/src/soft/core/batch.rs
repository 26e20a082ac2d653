//! Packets of one arrival, translated together.
//!
//! Plain packets wait until the frames that came with them have been looked at, and go to the translator in one call
//! ([`Nat64::step_batch`](nat64_xlate::Nat64::step_batch)), which waits for the memory of all of them at once. Whatever
//! goes another way (super-segments, packets whose checksum has to be made first) has those that came before it
//! translated first, so that nothing overtakes.

use nat64_driver::link::Mac;
use nat64_xlate::{Effect, Time};

use super::super::offload::Shape;
use super::super::sys::Received;
use super::super::vnet::Gso;
use super::send::{single_of, As};
use super::{Arrival, Core, Tx, NEVER_CUT};
use nat64_layout::Reason;

/// Packets that wait at most.
const MOST: usize = 64;

/// A plain packet that waits for the others.
#[derive(Clone, Copy, Debug)]
struct Waiting<'a> {
    unit: usize,
    packet: &'a [u8],
    source: Mac,
    /// Its checksum is left to the kernel, and is left so.
    partial: Option<Shape>,
}

/// The packets that wait.
#[derive(Debug)]
pub(super) struct Batch<'a>(Vec<Waiting<'a>>);

impl<'a> Batch<'a> {
    /// Takes a packet that may wait; `false`: it goes another way.
    pub(super) fn take(
        &mut self,
        arrival: &Arrival<'a>,
        unit: usize,
        packet: &'a [u8],
        at: usize,
        source: Mac,
    ) -> bool {
        let vnet = &arrival.vnet;
        if vnet.gso != Gso::None && arrival.packets > 1 {
            return false;
        }
        let partial = match vnet.checksum {
            None => None,
            Some((start, offset)) => {
                let whole =
                    |shape: &Shape| usize::from(start) == at + shape.ip && shape.checksum_at() == usize::from(offset);
                match Shape::of(packet).filter(whole) {
                    Some(shape) if packet.len() <= NEVER_CUT => Some(shape),
                    _ => return false,
                }
            }
        };
        self.0.push(Waiting {
            unit,
            packet,
            source,
            partial,
        });
        true
    }

    /// Whether no more should wait.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }
}

impl Core {
    /// Takes the frames that came in on a port, numbered as `Tx` is to name them; one that cannot be read is counted.
    pub fn frames<'a>(
        &mut self,
        now: Time,
        port: usize,
        frames: impl Iterator<Item = Option<Received<'a>>>,
        tx: &mut Tx,
    ) {
        let mut batch = Batch(Vec::with_capacity(MOST));
        for (index, received) in frames.enumerate() {
            match received {
                Some(received) => {
                    self.stats.frames_in[port] += 1;
                    self.soft.bytes_in[port] += received.length as u64;
                    self.take(now, port, index, &received, super::Stage::New, Some(&mut batch), tx);
                }
                None => {
                    self.soft.packets_in[port] += 1;
                    self.count(Reason::BadOffload, 1);
                }
            }
        }
        self.translate_batch(now, &mut batch, tx);
    }

    /// Translates what waits.
    pub(super) fn translate_batch(&mut self, now: Time, batch: &mut Batch<'_>, tx: &mut Tx) {
        if batch.0.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        let (before, from) = (effects.packets().len(), effects.iter().len());
        // Effects of other calls stand between the batch before and this one.
        let between = from - effects.packets().map(<[Effect]>::len).sum::<usize>();
        let packets = batch.0.iter().map(|waiting| (waiting.unit, waiting.packet));
        self.xlate.step_batch(now, packets, &mut effects);
        for (i, (waiting, done)) in batch.0.iter().zip(effects.packets().skip(before)).enumerate() {
            let done = if i == 0 { &done[between..] } else { done };
            let partial = waiting.partial.and_then(|shape| {
                let (_, bytes) = single_of(done)?;
                let other = Shape::of(effects.bytes(&bytes))?;
                (bytes.len() - other.headers == waiting.packet.len() - shape.headers).then_some(As::Partial(other))
            });
            self.perform(now, &effects, done, partial, tx);
            if done.iter().any(|effect| matches!(effect, Effect::Send { .. })) {
                self.learn(now, waiting.unit, waiting.packet, waiting.source, tx);
            }
        }
        self.effects = effects;
        batch.0.clear();
    }
}
