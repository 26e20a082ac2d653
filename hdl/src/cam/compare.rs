//! Compares a record with the whole key, in chunks that a register can follow; no clock.

use crate::prelude::*;
use crate::prim::Quiet;
use crate::types::{Key, RECORD_BITS};
use crate::wide::{bits_narrow, Wide};
use crate::FastBlock;
use nat64_layout::record::RECORD_FIELDS;

/// See the module documentation.
#[derive(FastBlock)]
pub struct KeyCompare {
    /// Record.
    pub record: Signal<In, Wide<RECORD_BITS>>,
    /// Key.
    pub key: Signal<In, Key>,
    /// Unit of the record.
    pub unit: Signal<Out, Bits<4>>,
    /// Service set of that unit.
    pub set: Signal<In, Bits<3>>,
    /// What is equal: bits 3:0 the client address, 4 client port, prefix and unit (IPv6-side keys); 5 pool address, 6
    /// pool port and service set (IPv4-side keys); 7 server address, 8 server port and protocol, and the record is not
    /// empty (both).
    pub same: Signal<Out, Bits<9>>,
    bits: Signal<Local, Wide<RECORD_BITS>>,
    client: Signal<Local, Wide<128>>,
    address: Signal<Local, Wide<128>>,
    pool: Signal<Local, Wide<32>>,
    protocol: Signal<Local, Bits<2>>,
    index: Signal<Local, Bits<4>>,
    chunks: Signal<Local, Bits<9>>,
    at_protocol: Constant<Bits<9>>,
    at_pref64: Constant<Bits<9>>,
    at_unit: Constant<Bits<9>>,
    at_client_port: Constant<Bits<9>>,
    at_remote_port: Constant<Bits<9>>,
    at_pool_port: Constant<Bits<9>>,
    at_remote: Constant<Bits<9>>,
    at_pool: Constant<Bits<9>>,
    at_client: Constant<Bits<9>>,
    _quiet: Quiet,
}

impl Default for KeyCompare {
    fn default() -> Self {
        let field = |name: &str| {
            let low = RECORD_FIELDS.iter().find(|f| f.0 == name).map(|f| f.1);
            // the names below are those of the table, or no test passes
            Constant::new((low.expect("a field of the record") as u64).into())
        };
        Self {
            record: Default::default(),
            key: Default::default(),
            unit: Default::default(),
            set: Default::default(),
            same: Default::default(),
            bits: Default::default(),
            client: Default::default(),
            address: Default::default(),
            pool: Default::default(),
            protocol: Default::default(),
            index: Default::default(),
            chunks: Default::default(),
            at_protocol: field("protocol"),
            at_pref64: field("pref64"),
            at_unit: field("unit"),
            at_client_port: field("client_port"),
            at_remote_port: field("remote_port"),
            at_pool_port: field("pool_port"),
            at_remote: field("remote"),
            at_pool: field("pool"),
            at_client: field("client"),
            _quiet: Default::default(),
        }
    }
}

impl Logic for KeyCompare {
    #[hdl_gen]
    fn update(&mut self) {
        self.bits.next = self.record.val();
        self.address.next = self.key.val().local;
        self.client.next = self.bits.val().get_bits::<128>(self.at_client.val().index());
        self.pool.next = self.bits.val().get_bits::<32>(self.at_pool.val().index());
        self.protocol.next = bits_narrow::<2>(self.bits.val().get_bits::<2>(self.at_protocol.val().index()));
        self.index.next = bits_narrow::<4>(self.bits.val().get_bits::<4>(self.at_unit.val().index()));
        self.unit.next = self.index.val();
        self.chunks.next = 0.into();
        for i in 0..4 {
            self.chunks.next = self.chunks.val().replace_bit(
                i,
                self.client.val().get_bits::<32>(i * 32) == self.address.val().get_bits::<32>(i * 32),
            );
        }
        self.chunks.next = self.chunks.val().replace_bit(
            4,
            (self.index.val() == self.key.val().unit)
                & (bits_narrow::<3>(self.bits.val().get_bits::<3>(self.at_pref64.val().index()))
                    == self.key.val().pref64)
                & (bits_narrow::<16>(self.bits.val().get_bits::<16>(self.at_client_port.val().index()))
                    == self.key.val().local_port),
        );
        self.chunks.next = self
            .chunks
            .val()
            .replace_bit(5, self.pool.val() == self.address.val().get_bits::<32>(0));
        self.chunks.next = self.chunks.val().replace_bit(
            6,
            (self.set.val() == self.key.val().set)
                & (bits_narrow::<16>(self.bits.val().get_bits::<16>(self.at_pool_port.val().index()))
                    == self.key.val().local_port),
        );
        self.chunks.next = self.chunks.val().replace_bit(
            7,
            bits_narrow::<32>(self.bits.val().get_bits::<32>(self.at_remote.val().index())) == self.key.val().remote,
        );
        self.chunks.next = self.chunks.val().replace_bit(
            8,
            self.protocol.val().any()
                & (self.protocol.val() == self.key.val().protocol)
                & (bits_narrow::<16>(self.bits.val().get_bits::<16>(self.at_remote_port.val().index()))
                    == self.key.val().remote_port),
        );
        self.same.next = self.chunks.val();
    }
}
