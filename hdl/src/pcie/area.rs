//! Area: what a byte offset of BAR0 belongs to, beside the core.
//!
//! ```text
//!  offset --> | area | --> area: bit 0 MSI-X table, 1 pending bits, 2 registers of the layer, 3 moderation times (which are among these)
//! ```
//!
//! Every area is as long as a power of two and begins at a multiple of that, so that one comparison of the upper bits tells it.
//! Latency: none.

use crate::prelude::*;
use crate::prim::Quiet;
use crate::FastBlock;
use nat64_layout::pcie::{MSIX_PBA, MSIX_TABLE, STATE_BASE, STATE_END};
use nat64_layout::regs::MsixModeration0;

/// Bytes of an area, log2: table, pending bits, registers, moderation times.
const LOG2: [u32; 4] = [5, 3, 8, 3];
/// Where they begin.
const BASES: [u32; 4] = [MSIX_TABLE, MSIX_PBA, STATE_BASE, MsixModeration0::OFFSET];
const _: () = assert!(STATE_END - STATE_BASE == 1 << LOG2[2]);
const _: () = {
    let mut i = 0;
    while i < 4 {
        assert!(
            BASES[i].is_multiple_of(1 << LOG2[i]),
            "an area begins at a multiple of its length"
        );
        i += 1;
    }
};

/// See the module documentation.
#[derive(FastBlock)]
pub struct Area {
    /// Byte offset.
    pub offset: Signal<In, Bits<24>>,
    /// What it belongs to; 0 is the core.
    pub area: Signal<Out, Bits<4>>,
    at_table: Constant<Bits<24>>,
    at_pending: Constant<Bits<24>>,
    at_state: Constant<Bits<24>>,
    at_moderation: Constant<Bits<24>>,
    _quiet: Quiet,
}

impl Default for Area {
    fn default() -> Self {
        let at = |i: usize| Constant::new(u64::from(BASES[i] >> LOG2[i]).into());
        Self {
            offset: Default::default(),
            area: Default::default(),
            at_table: at(0),
            at_pending: at(1),
            at_state: at(2),
            at_moderation: at(3),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Area {
    #[hdl_gen]
    fn update(&mut self) {
        // the shifts are those of `LOG2`
        self.area.next = 0.into();
        if (self.offset.val() >> 5) == self.at_table.val() {
            self.area.next = 1.into();
        }
        if (self.offset.val() >> 3) == self.at_pending.val() {
            self.area.next = 2.into();
        }
        if (self.offset.val() >> 8) == self.at_state.val() {
            self.area.next = 4.into();
        }
        if (self.offset.val() >> 3) == self.at_moderation.val() {
            self.area.next = 12.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::settle;
    use nat64_layout::regs::BAR2_BYTES;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    #[test]
    fn every_offset_has_its_area() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut area = Area::default();
        area.connect_all();
        let edges = BASES.iter().zip(LOG2).flat_map(|(&base, log2)| {
            let end = base + (1 << log2);
            [base - 4, base, end - 4, end]
        });
        let random: Vec<u32> = (0..200).map(|_| rng.random_range(0..BAR2_BYTES / 4) * 4).collect();
        for offset in edges.chain(random) {
            area.offset.next = u64::from(offset).into();
            settle(&mut area);
            let want = (0..4)
                .filter(|&i| offset >= BASES[i] && offset < BASES[i] + (1 << LOG2[i]))
                .fold(0, |area, i| area | 1 << i);
            assert_eq!(area.area.val().index(), want, "{offset:#x}");
        }
    }
}
