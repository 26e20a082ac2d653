//! The host's configuration: the Junos language of stateful NAT64 in, a typed model for the driver out.
//!
//! [`config`] reads curly text and `set` commands into one lossless tree, checks every statement against a schema and
//! builds the [`nat64_driver::GatewayConfig`] that the gateway runs on; [`store`] is the commit engine on top of it.
//! [`daemon`] is `nat64d`, [`api`] what it speaks, [`ctl`] is `nat64ctl`. [`soft`] runs it on network interfaces of this
//! machine, without a card.
#![deny(unsafe_code)] // but for `soft::sys` and one call of `daemon::descriptors`
#![deny(missing_docs)]

pub mod api;
pub mod config;
pub mod ctl;
pub mod daemon;
pub mod soft;
pub mod store;
