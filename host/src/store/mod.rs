//! The commit engine: candidate and active configuration, 50 rollbacks on disk, `commit confirmed`, `commit at`.
//!
//! ```text
//!  sessions --edit, load, rollback--> candidate --check--> Model --Apply::prepare--> the card says yes or no
//!                                         |                                   |
//!                                         +------ written beside, fsynced ----+--> Apply::apply --> renamed: active
//! ```
//!
//! * [`Engine`] is what a daemon holds: sessions, candidate, commits. It has no clock and no thread: time is an argument,
//!   and [`Engine::tick`] does what is due ([`Engine::next_due`] says when).
//! * [`Apply`] is what the daemon gives it: prepare, apply and abort on the card.
//! * [`Files`] is the directory; [`Disk`] is a real one.
//!
//! # What holds at every moment
//! A configuration becomes active by one rename of a file that is on disk whole; its predecessor stays beside it. Power
//! cut at any moment leaves the old or the new one. Every file has a checksum: one that is torn is named in
//! [`Opened::torn`], and the newest good one is used. A refusal of the card, a full disk or an error while applying
//! leaves disk, daemon and card as they were.
//!
//! # Files
//! `0000000042.commit` is commit 42, `0000000043.confirm` one that goes away unless it is confirmed in time,
//! `scheduled` what `commit at` waits with, `lock` keeps a second daemon out. The newest is active.

mod apply;
mod archive;
mod engine;
mod files;
mod private;

pub use apply::{Apply, ApplyError, ApplyReport, Refusal};
pub use archive::{CommitInfo, Opened, StoreError, Torn, ROLLBACKS};
pub use engine::{
    Changes, CommitError, CommitReport, CommitRequest, Engine, EngineError, Event, Owner, SessionId, Sharing, UnixTime,
    MAX_CONFIRM_MINUTES,
};
pub use files::{Disk, Files};
