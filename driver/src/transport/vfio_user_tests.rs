//! The client against servers of every temper: one that does everything right, and ones that do each message wrong in
//! each way.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::*;

/// How a server answers one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// An error with its number.
    Errno,
    /// An error without one.
    NoErrno,
    /// Nothing at all.
    Silence,
    /// The end of the connection.
    Close,
    /// The end after half a header.
    HalfHeader,
    /// A header that promises more than comes.
    HalfBody,
    /// An answer with too little in it.
    Short,
    /// A header with a size below its own.
    Tiny,
    /// A header with a size beyond all bounds.
    Huge,
    /// Another number.
    Id,
    /// A command in place of an answer.
    Command,
    /// One byte, and then another, for ever.
    Drip,
}

const ALL: [Wrong; 12] = [
    Wrong::Errno,
    Wrong::NoErrno,
    Wrong::Silence,
    Wrong::Close,
    Wrong::HalfHeader,
    Wrong::HalfBody,
    Wrong::Short,
    Wrong::Tiny,
    Wrong::Huge,
    Wrong::Id,
    Wrong::Command,
    Wrong::Drip,
];

/// What the server has seen, and the card it plays: registers that keep what is written, a doorbell that adds two
/// words of shared memory and raises vector 1.
#[derive(Default)]
struct Server {
    wrong: Option<(u16, usize, Wrong)>,
    vendor: Option<u16>,
    seen: Vec<u16>,
    bar0: std::collections::HashMap<u64, u32>,
    command: u16,
    commands: Vec<u16>,
    memory: Option<(u64, DmaMemory)>,
    vectors: [Option<File>; 2],
    refuse_writes: bool,
    unmapped: usize,
}

const DOORBELL: u64 = 0x414;

fn reply(stream: &mut UnixStream, id: u16, command: u16, flags: u32, error: u32, body: &[u8]) {
    let mut message = Vec::new();
    message.extend_from_slice(&id.to_le_bytes());
    message.extend_from_slice(&command.to_le_bytes());
    message.extend_from_slice(&(16 + body.len() as u32).to_le_bytes());
    message.extend_from_slice(&flags.to_le_bytes());
    message.extend_from_slice(&error.to_le_bytes());
    message.extend_from_slice(body);
    let _ = stream.write_all(&message);
}

impl Server {
    fn serve(mut self, listener: UnixListener) -> Self {
        let (mut stream, _) = listener.accept().expect("a client");
        loop {
            let mut header = [0; 16];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                &stream,
                &mut [io::IoSliceMut::new(&mut header)],
                &mut control,
                RecvFlags::empty(),
            );
            if got.map_or(0, |m| m.bytes) < 16 {
                return self;
            }
            let mut files: Vec<File> = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    files.extend(fds.map(File::from));
                }
            }
            let (id, command) = (u32_at(&header, 0) as u16, (u32_at(&header, 0) >> 16) as u16);
            let mut body = vec![0; u32_at(&header, 4) as usize - 16];
            stream.read_exact(&mut body).expect("whole message");
            self.seen.push(command);
            let nth = self.seen.iter().filter(|&&c| c == command).count();
            if let Some((_, _, wrong)) = self.wrong.filter(|w| (w.0, w.1) == (command, nth)) {
                match wrong {
                    Wrong::Errno => reply(&mut stream, id, command, 0x21, 22, &[]),
                    Wrong::NoErrno => reply(&mut stream, id, command, 0x21, 0, &[]),
                    Wrong::Silence => std::thread::sleep(Duration::from_millis(400)),
                    Wrong::Close => return self,
                    Wrong::HalfHeader => {
                        let _ = stream.write_all(&[1; 7]);
                        return self;
                    }
                    Wrong::HalfBody => {
                        let _ = stream.write_all(&header[..4]);
                        let _ = stream.write_all(&[64, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
                    }
                    Wrong::Short => reply(&mut stream, id, command, 1, 0, &[0]),
                    Wrong::Tiny | Wrong::Huge => {
                        let size: u32 = if wrong == Wrong::Tiny { 3 } else { u32::MAX };
                        let _ = stream.write_all(&header[..4]);
                        let _ = stream.write_all(&size.to_le_bytes());
                        let _ = stream.write_all(&[1, 0, 0, 0, 0, 0, 0, 0]);
                    }
                    Wrong::Id => reply(&mut stream, id.wrapping_add(7), command, 1, 0, &[0; 64]),
                    Wrong::Command => reply(&mut stream, id, 11, 0, 0, &[0; 16]),
                    Wrong::Drip => {
                        for byte in header.iter().cycle().take(40) {
                            if stream.write_all(&[*byte]).is_err() {
                                return self;
                            }
                            std::thread::sleep(Duration::from_millis(15));
                        }
                    }
                }
                continue;
            }
            let no_reply = u32_at(&header, 8) & 0x10 != 0;
            let answer = self.answer(command, &body, files);
            match answer {
                Some(answer) if !no_reply => reply(&mut stream, id, command, 1, 0, &answer),
                Some(_) => {}
                // As the crate's server does, even when no reply is wanted.
                None => reply(&mut stream, id, command, 0x21, 0, &[]),
            }
        }
    }

    fn answer(&mut self, command: u16, body: &[u8], files: Vec<File>) -> Option<Vec<u8>> {
        let mut file = files.into_iter().next();
        Some(match command {
            1 => [&[0; 4][..], b"{\"capabilities\":{\"max_data_xfer_size\": 64}}\0"].concat(),
            2 => {
                let (size, at) = (u64_at(body, 24) as usize, u64_at(body, 16));
                let memory = DmaMemory::map_file(&file?, size).ok()?;
                self.memory = Some((at, memory));
                Vec::new()
            }
            3 => {
                self.unmapped += 1;
                body.to_vec()
            }
            4 => u32s([16, 3, 9, 5]),
            5 => {
                let index = u32_at(body, 8);
                let size: u32 = [0x1_0000, 0, 0x80_0000, 0, 0, 0, 0, 4096, 0][index as usize];
                u32s([32, 3, index, 0, size, 0, 0, 0])
            }
            7 => u32s([16, 1, u32_at(body, 8), 2]),
            8 => {
                assert_eq!(u32_at(body, 4), EVENTFD_TRIGGER);
                self.vectors[u32_at(body, 12) as usize] = file.take();
                Vec::new()
            }
            9 => {
                let (at, region, count) = (u64_at(body, 0), u32_at(body, 8), u32_at(body, 12));
                let word = match (region, at) {
                    (7, 0) => u32::from(self.vendor.unwrap_or(pci::VENDOR_ID)) | u32::from(pci::DEVICE_ID) << 16,
                    (7, 4) => u32::from(self.command),
                    _ => self.bar0.get(&at).copied().unwrap_or(0),
                };
                [&body[..16], &word.to_le_bytes()[..count as usize]].concat()
            }
            10 => {
                let (at, region) = (u64_at(body, 0), u32_at(body, 8));
                if self.refuse_writes && region != 7 {
                    return None;
                }
                match region {
                    7 => {
                        self.command = u32_at(&[&body[16..18], &[0, 0]].concat(), 0) as u16;
                        self.commands.push(self.command);
                    }
                    _ => {
                        for (i, word) in body[16..].chunks_exact(4).enumerate() {
                            self.bar0.insert(at + 4 * i as u64, u32_at(word, 0));
                        }
                    }
                }
                if at == DOORBELL {
                    let (_, memory) = self.memory.as_ref()?;
                    memory.store_release(2, memory.load(0) + memory.load(1));
                    self.vectors[1].as_mut()?.write_all(&1u64.to_ne_bytes()).ok()?;
                }
                body[..16].to_vec()
            }
            13 => {
                self.bar0.clear();
                self.command = 0;
                Vec::new()
            }
            _ => return None,
        })
    }
}

fn start(server: Server) -> (tempfile::TempDir, PathBuf, JoinHandle<Server>) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("card.sock");
    let listener = UnixListener::bind(&path).expect("socket");
    let thread = std::thread::spawn(move || server.serve(listener));
    (folder, path, thread)
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn registers_memory_interrupts_and_reset_go_through() {
    let (_folder, path, thread) = start(Server::default());
    let mut card = VfioUserTransport::open(&path).expect("opened");
    card.write32(Bar::Bar0, 0x1c, 5).expect("posted");
    assert_eq!(card.read32(Bar::Bar0, 0x1c).expect("read"), 5);
    // The server takes 64 bytes at a time.
    let words: Vec<u32> = (0..40).collect();
    card.write_burst(Bar::Bar0, 0x2000, &words).expect("posted");
    assert_eq!(card.read32(Bar::Bar0, 0x2000 + 4 * 39).expect("read"), 39);
    let buffer = card.dma_alloc(4096).expect("memory");
    buffer.memory.store(0, 40);
    buffer.memory.store(1, 2);
    assert_eq!(card.wait(Duration::ZERO).expect("poll"), 0);
    card.write32(Bar::Bar0, DOORBELL as u32, 1).expect("posted");
    assert_eq!(card.wait(Duration::from_secs(5)).expect("waits"), 2, "vector 1");
    assert_eq!(card.wait(Duration::ZERO).expect("poll"), 0, "told once");
    assert_eq!(buffer.memory.load_acquire(2), 42);
    card.reset().expect("reset");
    assert_eq!(card.read32(Bar::Bar0, 0x1c).expect("read"), 0);
    for (bar, offset) in [
        (Bar::Bar0, 2),
        (Bar::Bar0, BAR0_BYTES),
        (Bar::Bar2, BAR2_BYTES),
        (Bar::Bar0, u32::MAX),
    ] {
        assert!(matches!(card.read32(bar, offset), Err(DeviceError::BadOffset { .. })));
        assert!(matches!(
            card.write32(bar, offset, 0),
            Err(DeviceError::BadOffset { .. })
        ));
    }
    assert!(
        card.write_burst(Bar::Bar0, BAR0_BYTES - 4, &[0; 2]).is_err(),
        "runs past the end"
    );
    drop(card);
    let server = thread.join().expect("served");
    let (memory, both) = (pci::COMMAND_MEMORY, pci::COMMAND_MEMORY | pci::COMMAND_MASTER);
    assert_eq!(
        server.commands,
        [memory, both, both, memory],
        "opened, with memory, after the reset, at the end"
    );
    assert_eq!(server.unmapped, 1);
}

#[test]
fn every_wrong_answer_to_every_message_is_an_error_in_time() {
    // Message, which of its kind, and whether it belongs to opening.
    let messages = [
        (1, 1),
        (4, 1),
        (5, 1),
        (5, 3),
        (7, 1),
        (9, 1),
        (10, 1),
        (8, 1),
        (8, 2),
        (2, 1),
        (9, 3),
        (9, 4),
        (10, 2),
        (13, 1),
    ];
    for (command, nth) in messages {
        for wrong in ALL {
            if wrong == Wrong::Short && [2, 8, 10, 13].contains(&command) {
                continue; // nothing in these answers is looked at
            }
            let (_folder, path, _thread) = start(Server {
                wrong: Some((command, nth, wrong)),
                ..Server::default()
            });
            let start = Instant::now();
            let opened = VfioUserTransport::open_with(&path, SHORT);
            let failed = opened.is_err() || {
                let mut card = opened.expect("checked");
                let results = [
                    card.dma_alloc(4096).map(|_| ()).err(),
                    card.read32(Bar::Bar0, 0x1c).map(|_| ()).err(),
                    card.reset().err(),
                ];
                let refused = matches!(wrong, Wrong::Errno | Wrong::NoErrno);
                if !refused {
                    // A server that talks nonsense is not asked again.
                    assert!(
                        matches!(card.read32(Bar::Bar0, 0), Err(DeviceError::Disconnected { .. })),
                        "{command} {nth} {wrong:?}"
                    );
                }
                results.iter().any(Option::is_some)
            };
            assert!(failed, "message {command} number {nth}, {wrong:?}");
            assert!(start.elapsed() < Duration::from_secs(2), "message {command}, {wrong:?}");
        }
    }
}

#[test]
fn a_refused_posted_write_is_told_by_the_next_call() {
    let (_folder, path, _thread) = start(Server {
        refuse_writes: true,
        ..Server::default()
    });
    let mut card = VfioUserTransport::open(&path).expect("opened");
    card.write32(Bar::Bar0, 0x1c, 5).expect("nobody knows yet");
    assert!(matches!(card.read32(Bar::Bar0, 0x1c), Err(DeviceError::Backend { .. })));
    assert!(card.read32(Bar::Bar0, 0x1c).is_ok(), "told once");
    // More than the socket holds: the answers are taken while the writes go out, and nothing hangs.
    let result = (0..200_000u32).try_for_each(|i| card.write32(Bar::Bar0, 0x1c, i));
    assert!(result.is_err());
}

#[test]
fn a_server_that_ends_is_noticed_while_waiting() {
    let (_folder, path, thread) = start(Server {
        wrong: Some((13, 1, Wrong::Close)),
        ..Server::default()
    });
    let mut card = VfioUserTransport::open(&path).expect("opened");
    card.connection.post(Command::Reset, &[]).expect("sent");
    thread.join().expect("ended");
    assert!(matches!(
        card.wait(Duration::from_secs(30)),
        Err(DeviceError::Disconnected { .. })
    ));
    assert!(card.dma_alloc(1).is_err());
}

#[test]
fn what_is_no_card_of_ours_is_refused() {
    let (_folder, path, _thread) = start(Server {
        vendor: Some(0x8086),
        ..Server::default()
    });
    let error = VfioUserTransport::open(&path).expect_err("another device").to_string();
    assert!(error.contains("8086:4e36"), "{error}");
    let error = VfioUserTransport::open(Path::new("/nonexistent/card.sock")).expect_err("nobody");
    assert!(error.to_string().contains("nat64-sim serve"), "{error}");
}

#[test]
fn the_transfer_size_is_read_or_assumed() {
    for (json, want) in [
        ("{\"capabilities\":{\"max_data_xfer_size\":4096}}\0", 4096),
        ("{\"capabilities\":{\"max_data_xfer_size\" : 7, \"x\": 1}}", 7),
        ("{\"capabilities\":{\"max_data_xfer_size\":\"big\"}}", 1 << 20),
        ("{}", 1 << 20),
        ("\"max_data_xfer_size\"", 1 << 20),
        ("\"max_data_xfer_size\":99999999999999999999999999", 1 << 20),
    ] {
        assert_eq!(max_transfer(json.as_bytes()), want, "{json}");
    }
}
