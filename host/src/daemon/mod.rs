//! `nat64d`: owns cards, serves the control API.
//!
//! ```text
//!   card thread, one per card                         control plane (tokio)
//!   +-----------------------------------+   messages  +---------------------------+
//!   | work, queries in bounded slices   |<------------| axum on a UNIX socket     |<-- nat64ctl, curl
//!   | Dataplane: Gateway + Card, or     |------------>| commit engine, monitors,  |
//!   |            sharded software card  |   answers,  | metrics, syslog, logs     |
//!   +-----------------------------------+   events    +---------------------------+
//! ```

pub mod dataplane;
pub mod filter;
