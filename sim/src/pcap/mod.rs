//! Captures in: pcap and pcapng, micro- and nanosecond stamps, read packet by packet.
//!
//! ```text
//!   inside.pcap  --> Capture --\
//!                               Merge --> packets of both sides by rising time stamp
//!   outside.pcap --> Capture --/
//! ```
//!
//! A capture is never held in memory: at most one packet of each input is. A file that ends in the middle of a packet
//! is an error that tells the number of the packet and the byte where it begins, as is every other thing a file can
//! have wrong. Packets of one file keep their order even where its stamps go back; time does not go back for them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use nat64_driver::LinkType;
use pcap_file::pcap::{PcapReader, PcapTsResolution};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::DataLink;

/// Longest packet taken from a capture, in bytes: the `snaplen` of tcpdump and Wireshark.
pub const MAX_CAPTURED: usize = 262_144;

/// Bytes read from a file at a time; a longer pcapng block than this is refused.
const BUFFER: usize = 1 << 20;

/// What can be wrong with a capture. Packets are numbered from 1, as Wireshark does.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Open {
        /// File.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is neither pcap nor pcapng, or its header is damaged.
    #[error("{}: offset 0: not a pcap or pcapng file: {reason}", path.display())]
    NotACapture {
        /// File.
        path: PathBuf,
        /// What is wrong with the header.
        reason: String,
    },
    /// The file ends inside a packet or block.
    #[error(
        "{}: the file ends inside packet {packet}, which starts at offset {offset} (truncated capture)",
        path.display()
    )]
    Truncated {
        /// File.
        path: PathBuf,
        /// Number of the packet.
        packet: u64,
        /// Byte offset of the packet's header in the file.
        offset: u64,
    },
    /// A packet or block that cannot be right.
    #[error("{}: packet {packet} at offset {offset}: {reason}", path.display())]
    Malformed {
        /// File.
        path: PathBuf,
        /// Number of the packet.
        packet: u64,
        /// Byte offset of the packet's header in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The link type is none that can be replayed.
    #[error("{}: link type {link:?} is neither Ethernet nor raw IP", path.display())]
    LinkType {
        /// File.
        path: PathBuf,
        /// The link type found.
        link: DataLink,
    },
    /// The link type differs from the one asked for, or from the other capture's.
    #[error("{}: the capture holds {found} packets, but {wanted} is asked for by {by}", path.display())]
    OtherLinkType {
        /// File.
        path: PathBuf,
        /// Link type of this file.
        found: &'static str,
        /// Link type of the run.
        wanted: &'static str,
        /// What asked for it: an option or another file.
        by: String,
    },
}

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Time stamp, in nanoseconds since 1970.
    pub time_ns: u64,
    /// The bytes in the file.
    pub bytes: Vec<u8>,
    /// Bytes the packet had on the wire; more than `bytes` when the capture cut it.
    pub original: usize,
    /// Number of the packet in its file, from 1.
    pub number: u64,
}

/// Name of a link type as the command line spells it.
pub const fn link_name(link: LinkType) -> &'static str {
    match link {
        LinkType::Ethernet => "ethernet",
        LinkType::Raw => "raw",
    }
}

/// Link types of files that can be replayed. LINKTYPE_RAW is 101; 12 and 14 are what some systems wrote for it.
fn link_of(link: DataLink) -> Option<LinkType> {
    match u32::from(link) {
        1 => Some(LinkType::Ethernet),
        12 | 14 | 101 | 228 | 229 => Some(LinkType::Raw),
        _ => None,
    }
}

enum Format {
    Pcap(Box<PcapReader<Counted>>),
    PcapNg(Box<PcapNgReader<Counted>>),
}

/// A file and how much of it was read, for progress.
struct Counted {
    file: File,
    head: Option<[u8; 4]>,
    head_at: usize,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if let Some(head) = self.head {
            let n = (head.len() - self.head_at).min(out.len());
            out[..n].copy_from_slice(&head[self.head_at..self.head_at + n]);
            self.head_at += n;
            if self.head_at == head.len() {
                self.head = None;
            }
            return Ok(n);
        }
        loop {
            match self.file.read(out) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// One capture being read.
pub struct Capture {
    path: PathBuf,
    format: Format,
    link: Option<LinkType>,
    size: u64,
    offset: u64,
    number: u64,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("path", &self.path)
            .field("link", &self.link)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Opens a pcap or pcapng file and reads its header.
    ///
    /// # Errors
    /// A missing file, or one whose header is no capture's.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let fail = |source| CaptureError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if meta.is_dir() {
            return Err(fail(ErrorKind::IsADirectory.into()));
        }
        let not = |reason: String| CaptureError::NotACapture {
            path: path.to_owned(),
            reason,
        };
        let mut head = [0; 4];
        file.read_exact(&mut head).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => not("it has less than 4 bytes".into()),
            _ => fail(e),
        })?;
        let counted = Counted {
            file,
            head: Some(head),
            head_at: 0,
        };
        let (format, link, offset) = if head == [0x0a, 0x0d, 0x0d, 0x0a] {
            let reader = PcapNgReader::with_capacity(counted, BUFFER).map_err(|e| not(chain(&e)))?;
            let offset = reader.bytes_parsed();
            (Format::PcapNg(Box::new(reader)), None, offset)
        } else {
            let reader = PcapReader::with_capacity(counted, BUFFER).map_err(|e| not(chain(&e)))?;
            let link = reader.header().datalink;
            let link = link_of(link).ok_or_else(|| CaptureError::LinkType {
                path: path.to_owned(),
                link,
            })?;
            (Format::Pcap(Box::new(reader)), Some(link), 24)
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            link,
            size: meta.len(),
            offset,
            number: 0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of it that were consumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What its packets are; `None` for a pcapng file whose first packet was not read yet.
    pub fn link(&self) -> Option<LinkType> {
        self.link
    }

    /// The next packet; `None` at the end of the file.
    ///
    /// # Errors
    /// A truncated or malformed packet, a stamp that no 64-bit count of nanoseconds holds, a link type that changes.
    pub fn next_packet(&mut self) -> Result<Option<Captured>, CaptureError> {
        let packet = match self.format {
            Format::Pcap(_) => self.next_pcap()?,
            Format::PcapNg(_) => self.next_pcapng()?,
        };
        Ok(packet)
    }

    fn malformed(&self, offset: u64, reason: impl Into<String>) -> CaptureError {
        CaptureError::Malformed {
            path: self.path.clone(),
            packet: self.number + 1,
            offset,
            reason: reason.into(),
        }
    }

    /// The reader ran out of bytes; it does not tell whether of the file's or of its buffer's.
    fn ended_early(&self, offset: u64) -> CaptureError {
        if self.size.saturating_sub(offset) > BUFFER as u64 {
            return self.malformed(offset, format!("its length field says more than {BUFFER} bytes"));
        }
        CaptureError::Truncated {
            path: self.path.clone(),
            packet: self.number + 1,
            offset,
        }
    }

    fn next_pcap(&mut self) -> Result<Option<Captured>, CaptureError> {
        let offset = self.offset;
        let Format::Pcap(reader) = &mut self.format else {
            return Ok(None);
        };
        let micro = reader.header().ts_resolution == PcapTsResolution::MicroSecond;
        // The raw form: a file whose snaplen is 0 or too small is common and its packets are whole.
        let raw = match reader.next_raw_packet() {
            None => return Ok(None),
            Some(Ok(raw)) => raw,
            Some(Err(e)) if is_end(&e) => {
                return Err(self.ended_early(offset));
            }
            Some(Err(e)) => {
                let reason = chain(&e);
                return Err(self.malformed(offset, reason));
            }
        };
        let (sec, frac, orig) = (u64::from(raw.ts_sec), u64::from(raw.ts_frac), raw.orig_len as usize);
        let bytes = raw.data.into_owned();
        let limit = if micro { 1_000_000 } else { 1_000_000_000 };
        if frac >= limit {
            return Err(self.malformed(offset, format!("fraction of a second {frac} is not below {limit}")));
        }
        let time_ns = sec * 1_000_000_000 + if micro { frac * 1000 } else { frac };
        self.offset += 16 + bytes.len() as u64;
        self.finish(offset, time_ns, bytes, orig).map(Some)
    }

    fn next_pcapng(&mut self) -> Result<Option<Captured>, CaptureError> {
        loop {
            let offset = self.offset;
            let Format::PcapNg(reader) = &mut self.format else {
                return Ok(None);
            };
            let found = match reader.next_block() {
                None => return Ok(None),
                Some(Err(e)) if is_end(&e) => Err(None),
                Some(Err(e)) => Err(Some(chain(&e))),
                Some(Ok((block, state))) => Ok(match block {
                    Block::EnhancedPacket(p) => {
                        let link = state.interfaces().get(p.interface_id as usize).map(|i| i.linktype);
                        Some((link, Some(p.timestamp), p.data.into_owned(), p.original_len as usize))
                    }
                    Block::Packet(p) => {
                        let link = state.interfaces().get(usize::from(p.interface_id)).map(|i| i.linktype);
                        Some((link, Some(p.timestamp), p.data.into_owned(), p.original_len as usize))
                    }
                    Block::SimplePacket(p) => Some((None, None, p.data.into_owned(), p.original_len as usize)),
                    _ => None,
                }),
            };
            self.offset = reader.bytes_parsed();
            let (link, stamp, bytes, original) = match found {
                Err(None) => return Err(self.ended_early(offset)),
                Err(Some(reason)) => return Err(self.malformed(offset, reason)),
                Ok(None) => continue,
                Ok(Some(found)) => found,
            };
            let Some(stamp) = stamp else {
                return Err(self.malformed(offset, "a Simple Packet Block has no time stamp to replay it at"));
            };
            let Ok(time_ns) = u64::try_from(stamp.as_nanos()) else {
                return Err(self.malformed(offset, format!("time stamp {} s is out of range", stamp.as_secs())));
            };
            let Some(data_link) = link else {
                return Err(self.malformed(offset, "the packet names an interface that the file does not describe"));
            };
            let link = link_of(data_link).ok_or_else(|| CaptureError::LinkType {
                path: self.path.clone(),
                link: data_link,
            })?;
            if *self.link.get_or_insert(link) != link {
                return Err(self.malformed(offset, "Ethernet and raw IP packets in one file"));
            }
            return self.finish(offset, time_ns, bytes, original).map(Some);
        }
    }

    fn finish(&mut self, offset: u64, time_ns: u64, bytes: Vec<u8>, original: usize) -> Result<Captured, CaptureError> {
        if bytes.len() > MAX_CAPTURED {
            return Err(self.malformed(offset, format!("{} bytes are more than {MAX_CAPTURED}", bytes.len())));
        }
        if time_ns > crate::MAX_TIME {
            return Err(self.malformed(offset, "the time stamp is out of range"));
        }
        self.number += 1;
        Ok(Captured {
            time_ns,
            original: original.max(bytes.len()),
            bytes,
            number: self.number,
        })
    }
}

/// Whether the reader failed because it had no more bytes.
fn is_end(error: &dyn std::error::Error) -> bool {
    let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|e| e.kind() == ErrorKind::UnexpectedEof)
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Captures of the two sides, merged by time stamp. Of equal stamps the inside comes first.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<(u8, Capture, Option<Captured>)>,
}

impl Merge {
    /// Reads the first packet of each input; `inputs` are pairs of port and capture.
    ///
    /// # Errors
    /// As [`Capture::next_packet`].
    pub fn new(inputs: Vec<(u8, Capture)>) -> Result<Self, CaptureError> {
        let inputs = inputs
            .into_iter()
            .map(|(port, mut capture)| {
                let head = capture.next_packet()?;
                Ok((port, capture, head))
            })
            .collect::<Result<_, CaptureError>>()?;
        Ok(Self { inputs })
    }

    /// The link type all inputs have: `wanted` when given, else that of the first input that has one; Ethernet when
    /// there is no packet at all.
    ///
    /// # Errors
    /// [`CaptureError::OtherLinkType`] when an input differs.
    pub fn link(&self, wanted: Option<LinkType>) -> Result<LinkType, CaptureError> {
        let mut chosen = wanted.map(|link| (link, format!("--linktype {}", link_name(link))));
        for (_, capture, _) in &self.inputs {
            let Some(found) = capture.link() else { continue };
            match &chosen {
                None => chosen = Some((found, capture.path().display().to_string())),
                Some((link, by)) if *link != found => {
                    return Err(CaptureError::OtherLinkType {
                        path: capture.path().to_owned(),
                        found: link_name(found),
                        wanted: link_name(*link),
                        by: by.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(chosen.map_or(LinkType::Ethernet, |(link, _)| link))
    }

    /// Time stamp of the next packet; `None` at the end.
    pub fn peek_time(&self) -> Option<u64> {
        self.inputs
            .iter()
            .filter_map(|(_, _, head)| head.as_ref().map(|p| p.time_ns))
            .min()
    }

    /// The next packet and the port it arrives at; `None` at the end of all inputs.
    ///
    /// # Errors
    /// As [`Capture::next_packet`], for the packet *after* the one returned.
    pub fn next_packet(&mut self) -> Result<Option<(u8, Captured)>, CaptureError> {
        let first = self
            .inputs
            .iter_mut()
            .filter(|(_, _, head)| head.is_some())
            .min_by_key(|(port, _, head)| (head.as_ref().map(|p| p.time_ns), *port));
        let Some((port, capture, head)) = first else {
            return Ok(None);
        };
        let next = capture.next_packet()?;
        Ok(std::mem::replace(head, next).map(|packet| (*port, packet)))
    }

    /// Bytes of all inputs, and how many of them are consumed.
    pub fn progress(&self) -> (u64, u64) {
        self.inputs
            .iter()
            .fold((0, 0), |(size, done), (_, c, _)| (size + c.size(), done + c.offset()))
    }
}

#[cfg(test)]
mod tests;
