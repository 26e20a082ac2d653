//! Captures out: what left each side, and what was dropped or punted with the reason as packet comment.
//!
//! ```text
//!   DIR/.nat64-XXXX (one for each file)  --all written, all flushed-->  DIR/inside.pcapng
//!                                                                       DIR/outside.pcapng
//!                                                                       DIR/exceptions.pcapng
//! ```
//!
//! Files get their names only when the whole run succeeded; an [`Outputs`] that is dropped before that leaves
//! nothing behind. Nothing in the files depends on the machine or its clock, so equal runs give equal bytes.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nat64_driver::LinkType;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderBlock;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::{DataLink, Endianness};
use tempfile::NamedTempFile;

use crate::SIDES;

/// What can go wrong with the output directory.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file or the directory cannot be made, written or renamed.
    #[error("{}: cannot {operation}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A packet that pcapng cannot hold.
    #[error("{}: cannot write a packet: {reason}", path.display())]
    Packet {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// One pcapng file that appears under its name when it is finished.
pub struct CaptureWriter {
    path: PathBuf,
    writer: PcapNgWriter<BufWriter<NamedTempFile>>,
}

impl CaptureWriter {
    /// Starts a capture with one interface for each of `interfaces`, nanosecond stamps.
    ///
    /// # Errors
    /// When the temporary file cannot be made beside `path`, or written.
    pub fn create(path: &Path, link: LinkType, interfaces: &[&str]) -> Result<Self, OutputError> {
        let io = |operation| {
            move |source| OutputError::Io {
                path: path.to_owned(),
                operation,
                source,
            }
        };
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".nat64-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any program that makes a file: what umask leaves of rw-rw-rw-.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(dir).map_err(io("create a file here"))?;
        // A fixed byte order, so that files are equal on every machine.
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            ..Default::default()
        };
        let mut writer =
            PcapNgWriter::with_section_header(BufWriter::new(file), section).map_err(|e| bad_packet(path, &e))?;
        let linktype = match link {
            LinkType::Ethernet => DataLink::ETHERNET,
            LinkType::Raw => DataLink::RAW,
        };
        for name in interfaces {
            let block = InterfaceDescriptionBlock {
                linktype,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                    InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
                ],
            };
            writer.write_pcapng_block(block).map_err(|e| bad_packet(path, &e))?;
        }
        Ok(Self {
            path: path.to_owned(),
            writer,
        })
    }

    /// Adds a packet, stamped `time_ns`, of interface `interface`, with a comment when there is something to say.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn packet(
        &mut self,
        interface: u32,
        time_ns: u64,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> Result<(), OutputError> {
        let options = comment
            .map(|text| EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed(text))))
            .into_iter()
            .collect();
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: Duration::from_nanos(time_ns),
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(bytes),
            options,
        };
        self.writer
            .write_pcapng_block(block)
            .map_err(|e| bad_packet(&self.path, &e))?;
        Ok(())
    }

    /// Writes what is still buffered; the file is complete but has no name yet.
    fn complete(self) -> Result<(PathBuf, NamedTempFile), OutputError> {
        let path = self.path;
        let io = |source| OutputError::Io {
            path: path.clone(),
            operation: "write",
            source,
        };
        let mut file = self.writer.into_inner().into_inner().map_err(|e| io(e.into_error()))?;
        file.flush().map_err(io)?;
        Ok((path, file))
    }
}

impl CaptureWriter {
    /// Gives the file its name.
    ///
    /// # Errors
    /// When the file cannot be written or renamed.
    pub fn finish(self) -> Result<(), OutputError> {
        let (path, file) = self.complete()?;
        match file.persist(&path) {
            Ok(_) => Ok(()),
            Err(e) => Err(OutputError::Io {
                path,
                operation: "rename the finished file to this",
                source: e.error,
            }),
        }
    }
}

/// The error for what the pcapng writer refused; its error types have no public names.
fn bad_packet(path: &Path, error: &dyn std::error::Error) -> OutputError {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    OutputError::Packet {
        path: path.to_owned(),
        reason: format!("{error}{cause}"),
    }
}

/// The three files of a replay.
pub struct Outputs {
    sides: [CaptureWriter; 2],
    exceptions: CaptureWriter,
}

impl Outputs {
    /// Starts `inside.pcapng`, `outside.pcapng` and `exceptions.pcapng` in `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// When directory or files cannot be made.
    pub fn create(dir: &Path, link: LinkType) -> Result<Self, OutputError> {
        std::fs::create_dir_all(dir).map_err(|source| OutputError::Io {
            path: dir.to_owned(),
            operation: "make the directory",
            source,
        })?;
        let side = |name: &str| CaptureWriter::create(&dir.join(format!("{name}.pcapng")), link, &[name]);
        Ok(Self {
            sides: [side(SIDES[0])?, side(SIDES[1])?],
            exceptions: CaptureWriter::create(&dir.join("exceptions.pcapng"), link, &SIDES)?,
        })
    }

    /// A packet that left on `port`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sent(&mut self, port: u8, time_ns: u64, bytes: &[u8]) -> Result<(), OutputError> {
        self.sides[usize::from(port & 1)].packet(0, time_ns, bytes, None)
    }

    /// A packet that arrived on `port` and was dropped or punted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn exception(&mut self, port: u8, time_ns: u64, bytes: &[u8], comment: &str) -> Result<(), OutputError> {
        self.exceptions
            .packet(u32::from(port & 1), time_ns, bytes, Some(comment))
    }

    /// Gives all files their names. When one cannot be renamed, none of this run's files stays.
    ///
    /// # Errors
    /// When a file cannot be written or renamed.
    pub fn finish(self) -> Result<(), OutputError> {
        let [inside, outside] = self.sides;
        let complete = [inside, outside, self.exceptions]
            .into_iter()
            .map(CaptureWriter::complete)
            .collect::<Result<Vec<_>, _>>()?;
        let mut named: Vec<PathBuf> = Vec::new();
        for (path, file) in complete {
            if let Err(e) = file.persist(&path) {
                for done in named {
                    // The first error is the one to tell.
                    let _ = std::fs::remove_file(done);
                }
                return Err(OutputError::Io {
                    path,
                    operation: "rename the finished file to this",
                    source: e.error,
                });
            }
            named.push(path);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::Capture;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .expect("the directory is there")
            .map(|e| e.expect("readable").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn finished_files_are_read_back_with_nanoseconds() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut out = Outputs::create(dir.path(), LinkType::Raw).expect("files");
        out.sent(1, 1_700_000_000_123_456_789, &[0x45, 1, 2]).expect("written");
        out.exception(0, 7, &[0x60], "NoRule: nothing matches")
            .expect("written");
        out.finish().expect("renamed");
        assert_eq!(
            names(dir.path()),
            ["exceptions.pcapng", "inside.pcapng", "outside.pcapng"]
        );
        let mut capture = Capture::open(&dir.path().join("outside.pcapng")).expect("opens");
        let packet = capture.next_packet().expect("reads").expect("one packet");
        assert_eq!(
            (packet.time_ns, packet.bytes.as_slice()),
            (1_700_000_000_123_456_789, &[0x45, 1, 2][..])
        );
        assert_eq!(capture.link(), Some(LinkType::Raw));
        assert!(capture.next_packet().expect("reads").is_none());
        let text = std::fs::read(dir.path().join("exceptions.pcapng")).expect("reads");
        assert!(
            text.windows(23).any(|w| w == b"NoRule: nothing matches"),
            "the comment is in the file"
        );
    }

    #[test]
    fn a_run_that_stops_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut out = Outputs::create(dir.path(), LinkType::Ethernet).expect("files");
        out.sent(0, 1, &[0; 60]).expect("written");
        drop(out);
        assert!(names(dir.path()).is_empty());
    }
}
