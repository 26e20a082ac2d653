//! Clear: the function-level reset.
//!
//! ```text
//!  start --> hold requests --> rings and datapath off --> drained? --> write zeros over everything --> counters --> end
//!            (refuse)          (csr writes)                            (csr writes)                    (wipe)
//! ```
//!
//! Registers of the core have no reset; what the host can see of them is cleared by writing it, as the host would:
//!
//! 1. `refuse`: `Access` finishes the request it is at and then touches nothing; requests of the host are dropped or
//!    unsupported. `Post` and `Fetch` make no more requests; what the core still writes is thrown away, what it reads fails, so
//!    that punt, inject and dump run to their ends. `Msix` goes back to its state after power-on.
//! 2. `Ctrl`, `ExcCtrl`, `InjCtrl` are written 0: no frame enters any more, and each in flight leaves or is dropped.
//! 3. When core and transaction layer have been empty for 128 clocks (read requests that were sent have completed or timed
//!    out), BAR0 is written 0 up to the end of the tables, `DumpGo` left out; then every tag and every stash entry.
//! 4. Counters are set to zero. Those of the transaction layer (`State`) stay.
//!
//! Records are not cleared: without tags nothing leads to one, and a record that is written starts its stamps and counters
//! anew. `ExcHead` and `InjHead` keep their values until their rings are enabled, which sets them to 0. Card time goes on.
//!
//! It takes some 12,000 clocks (0.1 ms at 125 MHz) and as long as frames need to leave; at most the completion timeout
//! more. PCI Express allows 100 ms.

use crate::counters::WIPE_CLOCKS;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;
use nat64_layout::record::{STASH_BASE, STASH_STRIDE, TAG_BANK_STRIDE, TAG_BASE, TAG_BUCKET_STRIDE};
use nat64_layout::regs::{Ctrl, DumpGo, ExcCtrl, InjCtrl};
use nat64_layout::tables::{SERVICE_SETS, SERVICE_SET_BASE, SERVICE_SET_STRIDE};
use nat64_layout::STASH;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Clear<const BUCKET_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Begins; ignored while one is under way.
    pub start: Signal<In, Bit>,
    /// `Access` does nothing to the core.
    pub access_quiet: Signal<In, Bit>,
    /// Core, `Post` and `Fetch` are empty.
    pub drained: Signal<In, Bit>,
    /// Requests of the host are refused, the card makes none.
    pub refuse: Signal<Out, Bit>,
    /// `csr_write` is this block's.
    pub own: Signal<Out, Bit>,
    /// A word is cleared.
    pub csr_write: Signal<Out, Bit>,
    /// In BAR2 (else BAR0).
    pub csr_bar2: Signal<Out, Bit>,
    /// Its address.
    pub csr_addr: Signal<Out, Bits<24>>,
    /// Counters are set to zero.
    pub wipe: Signal<Out, Bit>,
    /// The reset has ended: one clock.
    pub done: Signal<Out, Bit>,
    /// 0 none, 1 wait for `Access`, 2 to 4 switch off, 5 drain, 6 BAR0, 7 tags, 8 stash, 9 counters.
    state: Reg<Bits<4>>,
    /// `state` is not 0, is over 1: much hangs on either.
    refusing: Reg<Bit>,
    owning: Reg<Bit>,
    count: Reg<Bits<7>>,
    address: Reg<Bits<24>>,
    ended: Reg<Bit>,
    in_bank: Signal<Local, Bits<24>>,
    at_ctrl: Constant<Bits<24>>,
    at_exc: Constant<Bits<24>>,
    at_inj: Constant<Bits<24>>,
    at_go: Constant<Bits<24>>,
    first: Constant<Bits<24>>,
    bar0_end: Constant<Bits<24>>,
    tags: Constant<Bits<24>>,
    bank_mask: Constant<Bits<24>>,
    bank_end: Constant<Bits<24>>,
    bank_step: Constant<Bits<24>>,
    tags_end: Constant<Bits<24>>,
    stash: Constant<Bits<24>>,
    stash_end: Constant<Bits<24>>,
    _quiet: Quiet,
}

impl<const BUCKET_LOG2: usize> Default for Clear<BUCKET_LOG2> {
    fn default() -> Self {
        let at = |x: u32| Constant::new(u64::from(x).into());
        let bank_bytes = TAG_BUCKET_STRIDE << BUCKET_LOG2;
        assert!(bank_bytes <= TAG_BANK_STRIDE && TAG_BANK_STRIDE.is_power_of_two());
        const { assert!(1 << 7 == WIPE_CLOCKS, "`count` goes round once for the counters") };
        Self {
            clock: Default::default(),
            start: Default::default(),
            access_quiet: Default::default(),
            drained: Default::default(),
            refuse: Default::default(),
            own: Default::default(),
            csr_write: Default::default(),
            csr_bar2: Default::default(),
            csr_addr: Default::default(),
            wipe: Default::default(),
            done: Default::default(),
            state: Default::default(),
            refusing: Default::default(),
            owning: Default::default(),
            count: Default::default(),
            address: Default::default(),
            ended: Default::default(),
            in_bank: Default::default(),
            at_ctrl: at(Ctrl::OFFSET),
            at_exc: at(ExcCtrl::OFFSET),
            at_inj: at(InjCtrl::OFFSET),
            at_go: at(DumpGo::OFFSET),
            first: at(0),
            bar0_end: at(SERVICE_SET_BASE + SERVICE_SET_STRIDE * SERVICE_SETS as u32 - 4),
            tags: at(TAG_BASE),
            bank_mask: at(TAG_BANK_STRIDE - 1),
            bank_end: at(bank_bytes - 4),
            bank_step: at(TAG_BANK_STRIDE - bank_bytes + 4),
            tags_end: at(TAG_BASE + TAG_BANK_STRIDE + bank_bytes - 4),
            stash: at(STASH_BASE),
            stash_end: at(STASH_BASE + STASH_STRIDE * STASH as u32 - 4),
            _quiet: Default::default(),
        }
    }
}

impl<const BUCKET_LOG2: usize> Logic for Clear<BUCKET_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, state, refusing, owning, count, address, ended);
        self.ended.d.next = false;
        self.csr_write.next = false;
        self.csr_bar2.next = false;
        self.csr_addr.next = self.address.q.val();
        self.in_bank.next = self.address.q.val() & self.bank_mask.val();
        if self.state.q.val() == 0 {
            self.count.d.next = 0.into();
            if self.start.val() {
                self.refusing.d.next = true;
                self.state.d.next = 1.into();
            }
        } else if self.state.q.val() == 1 {
            if self.access_quiet.val() {
                self.owning.d.next = true;
                self.state.d.next = 2.into();
            }
        } else if self.state.q.val() == 2 {
            self.csr_write.next = true;
            self.csr_addr.next = self.at_ctrl.val();
            self.state.d.next = 3.into();
        } else if self.state.q.val() == 3 {
            self.csr_write.next = true;
            self.csr_addr.next = self.at_exc.val();
            self.state.d.next = 4.into();
        } else if self.state.q.val() == 4 {
            self.csr_write.next = true;
            self.csr_addr.next = self.at_inj.val();
            self.state.d.next = 5.into();
        } else if self.state.q.val() == 5 {
            self.count.d.next = 0.into();
            if self.drained.val() {
                self.count.d.next = self.count.q.val() + 1;
                if self.count.q.val().all() {
                    self.state.d.next = 6.into();
                    self.address.d.next = self.first.val();
                }
            }
        } else if self.state.q.val() == 6 {
            self.csr_write.next = self.address.q.val() != self.at_go.val();
            self.address.d.next = self.address.q.val() + 4;
            if self.address.q.val() == self.bar0_end.val() {
                self.address.d.next = self.tags.val();
                self.state.d.next = 7.into();
            }
        } else if self.state.q.val() == 7 {
            self.csr_write.next = true;
            self.csr_bar2.next = true;
            self.address.d.next = self.address.q.val() + 4;
            if self.in_bank.val() == self.bank_end.val() {
                self.address.d.next = self.address.q.val() + self.bank_step.val();
            }
            if self.address.q.val() == self.tags_end.val() {
                self.address.d.next = self.stash.val();
                self.state.d.next = 8.into();
            }
        } else if self.state.q.val() == 8 {
            self.csr_write.next = true;
            self.csr_bar2.next = true;
            self.address.d.next = self.address.q.val() + 4;
            if self.address.q.val() == self.stash_end.val() {
                self.count.d.next = 0.into();
                self.state.d.next = 9.into();
            }
        } else {
            self.count.d.next = self.count.q.val() + 1;
            if self.count.q.val().all() {
                self.state.d.next = 0.into();
                self.refusing.d.next = false;
                self.owning.d.next = false;
                self.ended.d.next = true;
            }
        }
        self.refuse.next = self.refusing.q.val();
        self.own.next = self.owning.q.val();
        self.wipe.next = self.state.q.val() == 9;
        self.done.next = self.ended.q.val();
    }
}
