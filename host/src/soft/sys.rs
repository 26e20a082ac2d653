//! The system calls of the software card, each behind a safe function: the only module of the crate with `unsafe`.
//!
//! * [`Interface`]: name, index, MAC address and MTU of a network interface.
//! * [`Ring`]: a packet socket on an interface, received through a ring of memory shared with the kernel.
//! * [`Tap`]: a TAP or TUN device of our own.
//! * [`send`]: many frames with one call. [`wait`], [`Event`]: sleep until there is something to do.
//!
//! ```text
//!   ring:  | slot 66,048 | slot | slot | ... |     one frame each, 15 slots per block of 1 MiB
//!             ^ head: next to read
//!   slot:  | tpacket2_hdr 32 | ... | vnet header 10 | frame ... |
//!   owner: tp_status: 0 = kernel's, TP_STATUS_USER = ours
//! ```
//!
//! Version 2 of the ring and not 3: version 3 hands over whole blocks, at the latest after a timer of some
//! milliseconds, which a TCP with one window in flight waits for; version 2 hands over each frame at once, and many at
//! once when many are there.
//!
//! Frames are sent with `sendmmsg` and not through a transmit ring: the kernel gives slots of that ring back while a
//! receiver on the same machine (the other end of a veth pair) still reads their pages.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::vnet::VNET_HEADER;

/// Longest frame taken: the largest super-segment the kernel makes, with Ethernet header and two VLAN tags.
pub const MAX_SUPER: usize = 65_536 + 22;
/// Most frames sent with one call.
pub const SEND_BATCH: usize = 64;
/// Bytes of a slot.
const SLOT: usize = 66_048;
/// Bytes of a block, a power of two of pages.
const BLOCK: usize = 1 << 20;
/// Slots of a block.
const SLOTS_PER_BLOCK: usize = BLOCK / SLOT;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// An interface name as the kernel takes it.
fn interface_name(name: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) || bytes.contains(&b'/') {
        let text = format!("{name:?} is no interface name");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut field = [0; libc::IFNAMSIZ];
    for (to, &from) in field.iter_mut().zip(bytes) {
        *to = from as libc::c_char;
    }
    Ok(field)
}

fn new_socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the descriptor it returns is nobody else's.
    unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// MAC address; zeros for one without.
    pub mac: [u8; 6],
    /// Largest IP packet.
    pub mtu: u32,
    /// It is up and has a carrier.
    pub up: bool,
}

impl Interface {
    /// Looks an interface up.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn find(name: &str) -> io::Result<Self> {
        let socket = new_socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        // SAFETY: all fields of `ifreq` are numbers, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = interface_name(name)?;
        let mut ask = |what| {
            // SAFETY: the four requests read and write one `ifreq`, which lives here.
            check(unsafe { libc::ioctl(socket.as_raw_fd(), what, &mut request) })?;
            io::Result::Ok(request.ifr_ifru)
        };
        // SAFETY: each request fills the field of the union that is read.
        let (index, hardware, mtu, flags) = unsafe {
            (
                ask(libc::SIOCGIFINDEX)?.ifru_ifindex,
                ask(libc::SIOCGIFHWADDR)?.ifru_hwaddr,
                ask(libc::SIOCGIFMTU)?.ifru_mtu,
                ask(libc::SIOCGIFFLAGS)?.ifru_flags,
            )
        };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(hardware.sa_data) {
            *to = from as u8;
        }
        Ok(Self {
            name: name.to_string(),
            index: u32::try_from(index).unwrap_or(0),
            mac,
            mtu: u32::try_from(mtu).unwrap_or(0),
            up: i32::from(flags) & (libc::IFF_UP | libc::IFF_RUNNING) == libc::IFF_UP | libc::IFF_RUNNING,
        })
    }
}

/// A frame in a ring or buffer.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The header in front of it.
    pub vnet: [u8; VNET_HEADER],
    /// VLAN tag the kernel took off the frame: ethertype and id.
    pub vlan: Option<(u16, u16)>,
    /// The frame, or for a TUN device the packet.
    pub bytes: &'a [u8],
    /// Bytes it had on the wire; more than `bytes` has when it was cut.
    pub length: usize,
}

/// A packet socket with its ring.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    blocks: usize,
    slots: usize,
    head: usize,
}

// SAFETY: the mapping belongs to this value alone; the kernel does not care which thread touches it.
unsafe impl Send for Ring {}
// SAFETY: through a shared reference slots are only read, and only those the kernel has given away; `release` needs the
// exclusive one.
unsafe impl Sync for Ring {}

impl Ring {
    /// Opens a packet socket on an interface: it sees every frame that comes in, and none that goes out. `slots` is
    /// rounded up to whole blocks. Sockets with the same `group` share the interface's traffic, flow by flow.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`; when the kernel has no memory for the ring.
    pub fn open(interface: &Interface, slots: usize, group: Option<u16>) -> io::Result<Self> {
        // Protocol 0: nothing arrives before everything is set up.
        let socket = new_socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)?;
        let set = |name: libc::c_int, value: &[u8]| {
            // SAFETY: the pointer and length are those of a slice.
            check(unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    name,
                    value.as_ptr().cast(),
                    value.len() as libc::socklen_t,
                )
            })
        };
        let number = |value: libc::c_int| value.to_ne_bytes();
        set(
            libc::PACKET_VERSION,
            &number(libc::tpacket_versions::TPACKET_V2 as libc::c_int),
        )?;
        set(libc::PACKET_VNET_HDR, &number(1))?;
        set(libc::PACKET_IGNORE_OUTGOING, &number(1))?;
        set(libc::PACKET_QDISC_BYPASS, &number(1))?;
        let blocks = slots.div_ceil(SLOTS_PER_BLOCK).max(1);
        let request = [BLOCK, blocks, SLOT, blocks * SLOTS_PER_BLOCK];
        let request: Vec<u8> = request.iter().flat_map(|&n| (n as u32).to_ne_bytes()).collect();
        set(libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of the ring just made, of the size it was made with.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK * blocks,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let slots = blocks * SLOTS_PER_BLOCK;
        let ring = Self {
            socket,
            memory,
            blocks,
            slots,
            head: 0,
        };
        ring.bind(interface, group)?;
        Ok(ring)
    }

    fn bind(&self, interface: &Interface, group: Option<u16>) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        // SAFETY: all fields are numbers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = interface.index as i32;
        // SAFETY: pointer and length are those of the address.
        check(unsafe {
            libc::bind(
                fd,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        // Our MAC address need not be the interface's.
        let membership = libc::packet_mreq {
            mr_ifindex: interface.index as i32,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: pointer and length are those of the request.
        check(unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const membership).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        })?;
        if let Some(group) = group {
            let value = u32::from(group) | libc::PACKET_FANOUT_HASH << 16;
            // SAFETY: pointer and length are those of a number.
            check(unsafe {
                libc::setsockopt(
                    fd,
                    libc::SOL_PACKET,
                    libc::PACKET_FANOUT,
                    (&raw const value).cast(),
                    size_of::<u32>() as libc::socklen_t,
                )
            })?;
        }
        Ok(())
    }

    fn slot(&self, index: usize) -> NonNull<u8> {
        let index = (self.head + index) % self.slots;
        let offset = index / SLOTS_PER_BLOCK * BLOCK + index % SLOTS_PER_BLOCK * SLOT;
        // SAFETY: the offset is that of a slot, inside the mapping.
        unsafe { self.memory.add(offset) }
    }

    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: `tp_status` is the first word of the slot, aligned as slots are; the kernel changes it like an atomic.
        unsafe { self.slot(index).cast::<AtomicU32>().as_ref() }
    }

    /// Frames that are there, at most `most`.
    pub fn ready(&self, most: usize) -> usize {
        let most = most.min(self.slots);
        (0..most)
            .take_while(|&i| self.status(i).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0)
            .count()
    }

    /// Frame `index` of those that are ready; `None` for one that is not ours or whose numbers make no sense.
    pub fn frame(&self, index: usize) -> Option<Received<'_>> {
        if index >= self.slots || self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let slot = self.slot(index);
        // SAFETY: the slot is ours (acquired above), so the kernel does not write to it until `release`, which cannot
        // be called while the result borrows `self`; the header lies at its start.
        let header = unsafe { slot.cast::<libc::tpacket2_hdr>().as_ref() };
        let (mac, length) = (usize::from(header.tp_mac), header.tp_snaplen as usize);
        if mac < size_of::<libc::tpacket2_hdr>() + VNET_HEADER || mac + length > SLOT {
            return None;
        }
        // SAFETY: both ranges were just checked to lie in the slot.
        let (vnet, bytes) = unsafe {
            (
                slot.add(mac - VNET_HEADER).cast::<[u8; VNET_HEADER]>().read(),
                std::slice::from_raw_parts(slot.add(mac).as_ptr(), length),
            )
        };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        let ethertype = if header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
            header.tp_vlan_tpid
        } else {
            nat64_layout::ETHERTYPE_VLAN
        };
        Some(Received {
            vnet,
            vlan: tagged.then_some((ethertype, header.tp_vlan_tci & 0xfff)),
            bytes,
            length: header.tp_len as usize,
        })
    }

    /// Gives the first `count` frames back to the kernel.
    pub fn release(&mut self, count: usize) {
        for index in 0..count.min(self.slots) {
            self.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.head = (self.head + count) % self.slots;
    }

    /// Frames lost since the last call because no slot was free.
    pub fn lost(&self) -> u64 {
        let mut stats = [0u32; 2];
        let mut length = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: the kernel writes two words (`tpacket_stats`) to a place of that size.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &mut length,
            )
        };
        if result == 0 {
            u64::from(stats[1])
        } else {
            0
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`; nothing borrows it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK * self.blocks) };
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Super-segments and checksums a TAP device may leave to us.
const OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
/// Those of UDP.
const UDP_OFFLOADS: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Frames read from a TAP device at a time.
const TAP_BATCH: usize = 32;

/// A TAP (Ethernet) or TUN (bare IP) device of our own; it goes when the last of its queues is closed, unless somebody
/// made it lasting before.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    buffer: Vec<u8>,
    lengths: Vec<usize>,
}

impl Tap {
    /// Makes or opens a device. `ethernet`: TAP, else TUN. With `many` the device may be opened once for each queue. With
    /// `offload` frames may be super-segments and lack their checksum; without, the kernel finishes each packet.
    ///
    /// # Errors
    /// Without `/dev/net/tun` or `CAP_NET_ADMIN`; when the name belongs to something else.
    pub fn open(name: &str, ethernet: bool, many: bool, offload: bool) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        // SAFETY: all fields are numbers, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = interface_name(name)?;
        let kind = if ethernet { libc::IFF_TAP } else { libc::IFF_TUN };
        let queues = if many { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        let size = VNET_HEADER as libc::c_int;
        // SAFETY: the first reads and writes one `ifreq`, the second reads one number; both live here.
        unsafe {
            check(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request))?;
            check(libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &size))?;
        }
        let offloads = if offload { OFFLOADS } else { 0 };
        let udp = if offload { UDP_OFFLOADS } else { 0 };
        // SAFETY: the argument is a number. Kernels before 6.2 know no offload of UDP segmentation.
        unsafe {
            if libc::ioctl(
                file.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(offloads | udp),
            ) < 0
            {
                check(libc::ioctl(
                    file.as_raw_fd(),
                    libc::TUNSETOFFLOAD,
                    libc::c_ulong::from(offloads),
                ))?;
            }
        }
        Ok(Self {
            file,
            name: name.to_string(),
            buffer: vec![0; TAP_BATCH * SLOT],
            lengths: Vec::with_capacity(TAP_BATCH),
        })
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what is there into the buffer, in place of what was there before; returns how many frames.
    ///
    /// # Errors
    /// The device is gone.
    pub fn fill(&mut self) -> io::Result<usize> {
        self.lengths.clear();
        for buffer in self.buffer.chunks_exact_mut(SLOT) {
            match self.file.read(buffer) {
                Ok(length) => self.lengths.push(length),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => break,
                // Not up: as if nothing came.
                Err(e) if e.raw_os_error() == Some(libc::EIO) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(self.lengths.len())
    }

    /// Frame `index` of those read.
    pub fn frame(&self, index: usize) -> Option<Received<'_>> {
        let length = *self.lengths.get(index)?;
        let (vnet, bytes) = self.buffer[index * SLOT..][..length].split_first_chunk()?;
        Some(Received {
            vnet: *vnet,
            vlan: None,
            bytes,
            length: bytes.len(),
        })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Sends frames, each given in parts of which the first begins with the vnet header, in order and with one call for
/// [`SEND_BATCH`] of them. Adds the numbers of those the kernel refused to `refused`; they are lost.
pub fn send(socket: BorrowedFd<'_>, frames: &[[&[u8]; 3]], refused: &mut Vec<usize>) {
    for (number, batch) in frames.chunks(SEND_BATCH).enumerate() {
        let mut parts = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; 3 * SEND_BATCH];
        for (to, from) in parts.iter_mut().zip(batch.iter().flatten()) {
            to.iov_base = from.as_ptr().cast_mut().cast();
            to.iov_len = from.len();
        }
        // SAFETY: all fields are numbers or pointers, for which zero is a value.
        let mut messages: [libc::mmsghdr; SEND_BATCH] = unsafe { std::mem::zeroed() };
        for (message, parts) in messages.iter_mut().zip(parts.chunks_exact_mut(3)) {
            message.msg_hdr.msg_iov = parts.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 3;
        }
        let mut at = 0;
        while at < batch.len() {
            // SAFETY: the messages point to parts, and these to slices, which all outlive the call; the kernel only
            // reads what the parts point to.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    messages.as_mut_ptr().add(at),
                    (batch.len() - at) as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => at += sent,
                // The first one is at fault (or the queue is full); the others may still go.
                _ => {
                    refused.push(number * SEND_BATCH + at);
                    at += 1;
                }
            }
        }
    }
}

/// Writes one frame, given in parts of which the first begins with the vnet header, to a TAP or TUN device. `false`: the
/// kernel refused it.
pub fn write(device: BorrowedFd<'_>, frame: &[&[u8]; 3]) -> bool {
    let parts = frame.map(|part| libc::iovec {
        iov_base: part.as_ptr().cast_mut().cast(),
        iov_len: part.len(),
    });
    // SAFETY: the parts point to slices that outlive the call; the kernel only reads them.
    unsafe { libc::writev(device.as_raw_fd(), parts.as_ptr(), 3) >= 0 }
}

/// Sleeps until one of the descriptors has something to read, or the time is over. Returns whether one has.
pub fn wait(descriptors: &[BorrowedFd<'_>], time: Option<Duration>) -> bool {
    let mut list: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timespec = time.map(|time| libc::timespec {
        tv_sec: time.as_secs().min(i64::MAX as u64) as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let pointer = timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the list and the time outlive the call; no signal mask is given.
    let found = unsafe { libc::ppoll(list.as_mut_ptr(), list.len() as libc::nfds_t, pointer, std::ptr::null()) > 0 };
    // A packet socket whose interface goes down says so until it is asked, and would not let us sleep.
    for entry in list.iter().filter(|entry| entry.revents & libc::POLLERR != 0) {
        let mut error: libc::c_int = 0;
        let mut length = size_of_val(&error) as libc::socklen_t;
        // SAFETY: the kernel writes one number to a place of that size; what is no socket has nothing to say.
        unsafe {
            libc::getsockopt(
                entry.fd,
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &mut length,
            )
        };
    }
    found
}

/// Wakes a thread out of [`wait`].
#[derive(Debug)]
pub struct Event(OwnedFd);

impl Event {
    /// A new one, not set.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the descriptor it returns is nobody else's.
        unsafe {
            let fd: RawFd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Sets it: who waits wakes up, or will at once when it next waits.
    pub fn set(&self) {
        let one = 1u64;
        // SAFETY: writes eight bytes from a number that lives here. It can fail only when it is set already.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Clears it.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into a number that lives here. It can fail only when it is not set.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the kernel takes super-segments of UDP from packet sockets and TAP devices: from Linux 6.2 on.
pub fn takes_udp_segments() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 2),
        _ => false,
    }
}

/// Has sleeps of this thread end when they should: the kernel may otherwise put them off by 50 us, to wake for several.
pub fn exact_timers() {
    // SAFETY: takes numbers only. A kernel that refuses leaves everything as it is.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}

/// Processor time this thread has used, the kernel's share included.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec` that lives here; the clock exists for every thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
