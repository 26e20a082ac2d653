//! The daemon in this process, on a wire that the tests hold, asked over its socket.

#[path = "daemon/classes.rs"]
mod classes;
#[path = "daemon/example.rs"]
mod example;
#[path = "daemon/filters.rs"]
mod filters;
#[path = "daemon/fuzz.rs"]
mod fuzz;
#[path = "daemon/limits.rs"]
mod limits;
#[path = "daemon/rig.rs"]
mod rig;
#[path = "daemon/streams.rs"]
mod streams;
