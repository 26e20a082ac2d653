//! `nat64ctl`: the command line of the gateway.
//!
//! ```text
//!  line --parse (grammar tables)--> command --session--> request --client--> nat64d
//!                                                                              |
//!  screen or file <--pipes, pager <--text or JSON <--render <------------------+
//! ```
//!
//! The commands are data ([`grammar`]): parsing, `?`, completion, the manual page and `host/docs/commands.md` are made
//! from the same tables.

pub mod grammar;
pub mod lex;
pub mod parse;

pub mod args;
pub mod card;
pub mod client;
pub mod complete;
pub mod error;
pub mod manual;
pub mod output;
pub mod pager;
pub mod render;
pub mod session;
pub mod shell;
