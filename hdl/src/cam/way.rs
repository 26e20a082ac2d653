//! One way of one bank: a RAM of tags and the comparison with the fingerprint.

// The accessors that RustHDL's kernels call have no documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::prim::{BlockRam, Quiet, Reg};
use crate::FastBlock;
use nat64_layout::FINGERPRINT_BITS;
use rust_hdl::core::ast::VerilogLiteral;
use rust_hdl::core::synth::VCDValue;
use rust_hdl::core::type_descriptor::{TypeDescriptor, TypeField, TypeKind};

/// A tag as a way's RAM holds it: as wide as the card's indices, so that a session stays within its RAM budget.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct TagWord<const RECORD_LOG2: usize> {
    /// Bits 44:32 of the key's hash.
    pub fingerprint: Bits<13>,
    /// Record index.
    pub index: Bits<RECORD_LOG2>,
    /// In use.
    pub valid: Bit,
}

// By hand what `LogicStruct` derives: it cannot do generic structs.
impl<const RECORD_LOG2: usize> TagWord<RECORD_LOG2> {
    pub fn get_my_width_fingerprint(&self) -> usize {
        FINGERPRINT_BITS
    }
    pub fn get_my_offset_fingerprint(&self) -> usize {
        0
    }
    pub fn get_my_width_index(&self) -> usize {
        RECORD_LOG2
    }
    pub fn get_my_offset_index(&self) -> usize {
        FINGERPRINT_BITS
    }
    pub fn get_my_width_valid(&self) -> usize {
        1
    }
    pub fn get_my_offset_valid(&self) -> usize {
        FINGERPRINT_BITS + RECORD_LOG2
    }
}

impl<const RECORD_LOG2: usize> Synth for TagWord<RECORD_LOG2> {
    const BITS: usize = FINGERPRINT_BITS + RECORD_LOG2 + 1;

    fn descriptor() -> TypeDescriptor {
        let field = |name: &str, kind| {
            Box::new(TypeField {
                fieldname: name.to_string(),
                kind,
            })
        };
        TypeDescriptor {
            name: format!("TagWord{RECORD_LOG2}"),
            kind: TypeKind::Composite(vec![
                field("fingerprint", Bits::<13>::descriptor()),
                field("index", Bits::<RECORD_LOG2>::descriptor()),
                field("valid", Bit::descriptor()),
            ]),
        }
    }

    fn vcd(self) -> VCDValue {
        VCDValue::Composite(vec![
            Box::new(self.fingerprint.vcd()),
            Box::new(self.index.vcd()),
            Box::new(self.valid.vcd()),
        ])
    }

    fn verilog(self) -> VerilogLiteral {
        let index: u64 = self.index.into();
        let fingerprint: u64 = self.fingerprint.into();
        let word = fingerprint | index << FINGERPRINT_BITS | u64::from(self.valid) << (FINGERPRINT_BITS + RECORD_LOG2);
        rust_hdl::core::bits::Bits::<32>::from(word).into()
    }
}

/// See the module documentation. `hit` and `index` come three clocks after `bucket`, and one after `fingerprint`.
#[derive(FastBlock, Default)]
pub struct Way<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Bucket to read.
    pub bucket: Signal<In, Bits<BUCKET_LOG2>>,
    /// Fingerprint to compare, two clocks after `bucket`.
    pub fingerprint: Signal<In, Bits<13>>,
    /// Writes a tag.
    pub write: Signal<In, Bit>,
    /// Bucket it goes to.
    pub write_bucket: Signal<In, Bits<BUCKET_LOG2>>,
    /// The tag.
    pub tag: Signal<In, TagWord<RECORD_LOG2>>,
    /// The bucket's tag here is valid and has the fingerprint.
    pub hit: Signal<Out, Bit>,
    /// Its record index, hit or not.
    pub index: Signal<Out, Bits<RECORD_LOG2>>,
    /// The tag itself, two clocks after `bucket`.
    pub word: Signal<Out, TagWord<RECORD_LOG2>>,
    tags: BlockRam<TagWord<RECORD_LOG2>, BUCKET_LOG2>,
    same: Reg<Bit>,
    record: Reg<Bits<RECORD_LOG2>>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Logic for Way<RECORD_LOG2, BUCKET_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, same, record);
        clock!(self, clock, tags);
        self.tags.read_address.next = self.bucket.val();
        self.tags.write.next = self.write.val();
        self.tags.write_address.next = self.write_bucket.val();
        self.tags.write_data.next = self.tag.val();
        self.same.d.next =
            self.tags.read_data.val().valid & (self.tags.read_data.val().fingerprint == self.fingerprint.val());
        self.record.d.next = self.tags.read_data.val().index;
        self.hit.next = self.same.q.val();
        self.index.next = self.record.q.val();
        self.word.next = self.tags.read_data.val();
    }
}
