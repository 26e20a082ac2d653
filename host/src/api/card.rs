//! `show chassis card`, `show drops`, `show registers`, `show neighbours`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What carries a card's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardKind {
    /// A card behind VFIO.
    Vfio,
    /// A card behind a vfio-user socket.
    VfioUser,
    /// A board on a serial line.
    Serial,
    /// A simulated card, a child process of the daemon.
    Sim,
    /// No card: software on network interfaces.
    Soft,
}

/// Whether a card works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardState {
    /// Open, no configuration yet.
    Idle,
    /// Works.
    Online,
    /// Failed or gone; [`Card::fault`] says why. It is tried again.
    Fault,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Card {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: CardKind,
    /// As given: `vfio:0000:01:00.0`, `sim:rtl-compiled`.
    pub location: String,
    /// State.
    pub state: CardState,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How the card was taken: `opened` (reset, tables empty) or `adopted` (its sessions kept).
    pub taken: String,
    /// Its identity and sizes; none for the software card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// ABI hash the daemon was built with, as hexadecimal.
    pub driver_abi_hash: String,
    /// Seconds since it was taken.
    pub uptime: u64,
    /// Sessions, on host and card.
    pub sessions: u64,
    /// Mappings.
    pub mappings: u64,
    /// Sessions that wait for a next hop or for room in the card.
    pub sessions_deferred: u64,
    /// Packets the card translated.
    pub translated_by_card: u64,
    /// Packets the host translated.
    pub translated_by_host: u64,
    /// Percent of the translated packets that the card did.
    pub hardware_share: f64,
    /// Ports.
    pub ports: Vec<Port>,
    /// Table fill.
    pub tables: Vec<Table>,
    /// Worker threads, for the software card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
}

/// What the hardware says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Hardware {
    /// Identity register, as hexadecimal.
    pub identity: String,
    /// ABI hash, as hexadecimal.
    pub abi_hash: String,
    /// Version of the bitstream, when the board tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitstream: Option<String>,
    /// Width of the datapath, bits.
    pub bus_width: u32,
    /// Port-to-port latency, clocks.
    pub latency: u32,
    /// Session records.
    pub records: u64,
    /// Tag slots.
    pub tags: u64,
    /// Stash entries.
    pub stash: u64,
    /// Time of the card, ns.
    pub time: u64,
    /// Temperature, degrees Celsius, when the board has a sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<i32>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Port {
    /// Number.
    pub port: u32,
    /// MAC address, `02:00:00:00:00:01`.
    pub mac: String,
    /// Interface name, for the software card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Link, when it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_up: Option<bool>,
    /// Frames received.
    pub packets_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Frames sent.
    pub packets_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Rate of the link, Mbit/s, where the card has a MAC of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbits: Option<u32>,
    /// Full duplex, there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_duplex: Option<bool>,
    /// Frames that MAC counted since power-on, by what became of them; 32 bits, which wrap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mac_counters: Vec<MacCounter>,
    /// The PHY behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phy: Option<PortPhy>,
}

/// One counter of a port's MAC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MacCounter {
    /// `RxGood`, `RxFcs`, `TxUnderrun`, ...: the register without its port.
    pub counter: String,
    /// Frames.
    pub frames: u32,
}

/// A port's PHY.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PortPhy {
    /// Address on the port's management bus.
    pub address: u8,
    /// Maker, model and revision (registers 2 and 3 of clause 22), as hexadecimal.
    pub identifier: String,
    /// It has a link.
    pub link_up: bool,
}

/// Fill of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Table {
    /// `sessions`, `tags`, `stash`, `next-hops`, ...
    pub table: String,
    /// Entries in use.
    pub used: u64,
    /// Entries there are.
    pub capacity: u64,
}

/// One reason of `show drops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drop {
    /// Card.
    pub card: String,
    /// Name of the reason, `NoRule`.
    pub reason: String,
    /// Its code.
    pub code: u8,
    /// `drop`, `answer` or `punt`.
    pub kind: String,
    /// Who counts it: `card` or `host`.
    pub by: String,
    /// Packets.
    pub count: u64,
    /// Packets per second, over the last seconds.
    pub rate: f64,
    /// One line for people.
    pub explanation: String,
}

/// Query of `GET /v1/drops`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DropQuery {
    /// Card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Reasons that were never met, too.
    pub all: bool,
    /// Punts (packets the host took over), too.
    pub punts: bool,
}

/// A register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// Name.
    pub name: String,
    /// Offset in BAR0, bytes.
    pub offset: u32,
    /// Value read; none for registers that are only written.
    pub value: Option<u32>,
    /// `ro`, `rw`, `wo`.
    pub access: String,
    /// One line.
    pub doc: String,
    /// Fields, most significant first.
    pub fields: Vec<Field>,
}

/// A field of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Field {
    /// Name.
    pub name: String,
    /// Most significant bit.
    pub msb: u8,
    /// Least significant bit.
    pub lsb: u8,
    /// Value.
    pub value: Option<u32>,
    /// One line.
    pub doc: String,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Neighbour {
    /// Card.
    pub card: String,
    /// Unit.
    pub interface: String,
    /// Address.
    pub address: IpAddr,
    /// MAC address; none while it is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `resolving`, `reachable` (answered), `learned` (auto last hop), `static`.
    pub state: String,
    /// Sessions in the card that use it.
    pub sessions: u32,
    /// Packets that wait for it.
    pub waiting: u32,
    /// Seconds until it is asked again or forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}
