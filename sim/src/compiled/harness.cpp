// The bench of sim/src/pins.rs in C++, around the core as Verilator compiled it. Frames, register accesses and DMA
// come in on stdin and go out on stdout as little-endian records; sim/src/compiled.rs is the other end.
//
//   in:   1 time u64              2 bar2 u8, offset u32, value u32     3 offset u32 (register read)
//         4 port u8, error u8, length u32, bytes (frame)               5 max clocks u64 (run)
//         6 n u32, n pin records (raw clocks)   7 clocks u64 (latency of DMA reads)   8 (reset)
//   out:  w addr u64, data u64    q addr u64, length u16; answered on stdin by ok u8 and, when 1, the bytes
//         t port u8, error u8, clock u64, length u32, bytes            p n pin records
//         v value u32, clocks u64 (read done)      n clocks u64 (no answer to the read)
//         i idle u8, irqs u8, clocks u64 (run done, or given up when idle is 0)
//
// NAT64_WIDTH is the bus width of the core in bits; raw pins (6) are those of 64.
//
// Clocks run inside 3, 5 and 6 only, and each of those ends with v, n, i or p, so neither side ever waits for the other
// to empty a pipe. The loop must follow the Rust bench clock by clock: a test compares their clock counts.

namespace {

constexpr unsigned IDLE_CLOCKS = NAT64_IDLE_CLOCKS;
constexpr uint64_t READ_CLOCKS = NAT64_READ_CLOCKS;
constexpr size_t READS_OUTSTANDING = NAT64_READS_OUTSTANDING;
constexpr size_t MAX_TX = 64 << 10;
constexpr size_t BEAT = NAT64_WIDTH / 8;

// ---- beats: byte 0 is the most significant one. Verilator has a plain number up to 64 bits, words of 32 bits above.

[[maybe_unused]] void set_bytes(QData &to, const uint8_t *bytes, size_t n) {
    to = 0;
    for (size_t i = 0; i < n; i++) to |= static_cast<QData>(bytes[i]) << (8 * (BEAT - 1 - i));
}
template <std::size_t N> void set_bytes(VlWide<N> &to, const uint8_t *bytes, size_t n) {
    for (size_t word = 0; word < N; word++) to[word] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t bit = 8 * (BEAT - 1 - i);
        to[bit / 32] |= static_cast<EData>(bytes[i]) << bit % 32;
    }
}
[[maybe_unused]] uint8_t byte_of(const QData &from, size_t i) { return static_cast<uint8_t>(from >> (8 * (BEAT - 1 - i))); }
template <std::size_t N> uint8_t byte_of(const VlWide<N> &from, size_t i) {
    size_t bit = 8 * (BEAT - 1 - i);
    return static_cast<uint8_t>(from[bit / 32] >> bit % 32);
}
[[maybe_unused]] uint64_t number(const QData &from) { return from; }
template <std::size_t N> uint64_t number(const VlWide<N> &) { die("raw pins are those of a core of 64 bits"); }

// ---- bench -----------------------------------------------------------------------------------------------------

struct Posted {
    bool is_time;
    uint64_t time;
    bool bar2;
    uint32_t offset, value;
};
struct Frame {
    std::vector<uint8_t> bytes;
    bool error;
};
struct Read {
    uint64_t due;
    std::vector<uint64_t> words;
    size_t at;
    bool fault;
};
struct Collecting {
    bool busy = false;
    std::vector<uint8_t> bytes;
};

std::unique_ptr<VerilatedContext> context;
std::unique_ptr<Vcore> core;
std::deque<Posted> posted;
std::deque<Frame> rx[2];
size_t rx_at[2];
std::deque<Read> reads;
Collecting collecting[2];
uint64_t read_latency = 40, clocks = 0;
uint8_t irqs = 0;

void power_on() {
    core.reset();
    context.reset(new VerilatedContext);
    core.reset(new Vcore(context.get(), "core"));
    posted.clear();
    reads.clear();
    for (int port = 0; port < 2; port++) {
        rx[port].clear();
        rx_at[port] = 0;
        collecting[port] = Collecting();
    }
    irqs = 0;
    core->tx0_ready = 1;
    core->tx1_ready = 1;
    core->mw_ready = 1;
    core->clock = 0;
    core->eval();
}

void set_rx(int port, bool valid, const uint8_t *bytes, size_t n, unsigned count, bool first, bool last, bool error) {
    if (port == 0) {
        core->rx0_valid = valid;
        set_bytes(core->rx0_data, bytes, n);
        core->rx0_count = count;
        core->rx0_first = first;
        core->rx0_last = last;
        core->rx0_error = error;
    } else {
        core->rx1_valid = valid;
        set_bytes(core->rx1_data, bytes, n);
        core->rx1_count = count;
        core->rx1_first = first;
        core->rx1_last = last;
        core->rx1_error = error;
    }
}

template <typename Data> void collect(int port, const Data &data, unsigned count, bool first, bool last, bool error) {
    Collecting &c = collecting[port];
    if (!c.busy || first) c.bytes.clear();
    c.busy = true;
    size_t n = last && count != 0 ? count & (BEAT - 1) : BEAT;
    if (c.bytes.size() < MAX_TX)
        for (size_t i = 0; i < n; i++) c.bytes.push_back(byte_of(data, i));
    if (last) {
        put<uint8_t>('t');
        put<uint8_t>(static_cast<uint8_t>(port));
        put<uint8_t>(error);
        put<uint64_t>(clocks);
        put<uint32_t>(static_cast<uint32_t>(c.bytes.size()));
        put_bytes(c.bytes);
        c.busy = false;
        c.bytes.clear();
        if (out_buffer.size() > (32 << 10)) flush();
    }
}

Read ask_host(uint64_t addr, unsigned len) {
    len = len / 8 * 8;
    put<uint8_t>('q');
    put<uint64_t>(addr);
    put<uint16_t>(static_cast<uint16_t>(len));
    flush();
    Read read{clocks + read_latency, {}, 0, false};
    if (get<uint8_t>() == 0) {
        read.fault = true;
        read.words.push_back(0);
        return read;
    }
    for (unsigned i = 0; i < len / 8; i++) read.words.push_back(get<uint64_t>());
    return read;
}

struct Seen {
    bool csr_done, idle;
    uint32_t csr_rdata;
};

Seen step() {
    bool csr_write = false;
    core->csr_bar2 = 0;
    core->csr_addr = 0;
    core->csr_wdata = 0;
    while (!posted.empty()) {
        Posted p = posted.front();
        posted.pop_front();
        if (p.is_time) {
            core->time_ns = p.time;
        } else {
            csr_write = true;
            core->csr_bar2 = p.bar2;
            core->csr_addr = p.offset;
            core->csr_wdata = p.value;
            break;
        }
    }
    core->csr_write = csr_write;
    bool rx_valid[2] = {false, false}, rx_last[2] = {false, false};
    for (int port = 0; port < 2; port++) {
        if (rx[port].empty() || csr_write) {
            set_rx(port, false, nullptr, 0, 0, false, false, false);
            continue;
        }
        const Frame &frame = rx[port].front();
        size_t at = rx_at[port], end = at + BEAT < frame.bytes.size() ? at + BEAT : frame.bytes.size();
        bool last = end == frame.bytes.size();
        rx_valid[port] = true;
        rx_last[port] = last;
        set_rx(port, true, frame.bytes.data() + at, end - at, last ? (end - at) % BEAT : 0, at == 0, last, last && frame.error);
    }
    bool mr_ready = reads.size() < READS_OUTSTANDING;
    core->mr_ready = mr_ready;
    bool md_valid = !reads.empty() && reads.front().due <= clocks;
    core->md_valid = md_valid;
    core->md_data = md_valid ? reads.front().words[reads.front().at] : 0;
    core->md_last = md_valid && reads.front().at + 1 >= reads.front().words.size();
    core->md_error = md_valid && reads.front().fault;

    core->clock = 0;
    core->eval();
    Seen seen{static_cast<bool>(core->csr_done), static_cast<bool>(core->idle), core->csr_rdata};
    bool rx_ready[2] = {static_cast<bool>(core->rx0_ready), static_cast<bool>(core->rx1_ready)};
    bool md_ready = core->md_ready, mw_valid = core->mw_valid, mr_valid = core->mr_valid;
    uint64_t mw_addr = core->mw_addr, mw_data = core->mw_data, mr_addr = core->mr_addr;
    unsigned mr_len = core->mr_len;
    irqs |= core->irq;
    clocks++;
    if (core->tx0_valid)
        collect(0, core->tx0_data, core->tx0_count, core->tx0_first, core->tx0_last, core->tx0_error);
    if (core->tx1_valid)
        collect(1, core->tx1_data, core->tx1_count, core->tx1_first, core->tx1_last, core->tx1_error);
    core->clock = 1;
    core->eval();

    for (int port = 0; port < 2; port++) {
        if (!rx_valid[port] || !rx_ready[port]) continue;
        rx_at[port] += BEAT;
        if (rx_last[port]) {
            rx[port].pop_front();
            rx_at[port] = 0;
        }
    }
    if (mw_valid) {
        put<uint8_t>('w');
        put<uint64_t>(mw_addr);
        put<uint64_t>(mw_data);
        if (out_buffer.size() > (32 << 10)) flush();
    }
    if (md_valid && md_ready && ++reads.front().at == reads.front().words.size()) reads.pop_front();
    if (mr_valid && mr_ready) reads.push_back(ask_host(mr_addr, mr_len));
    return seen;
}

void register_read(uint32_t offset) {
    while (!posted.empty()) step();
    core->csr_read = 1;
    core->csr_raddr = offset;
    Seen seen = step();
    core->csr_read = 0;
    core->csr_raddr = 0;
    uint64_t waited = 1;
    while (!seen.csr_done) {
        if (waited == READ_CLOCKS) {
            put<uint8_t>('n');
            put<uint64_t>(clocks);
            return;
        }
        seen = step();
        waited++;
    }
    put<uint8_t>('v');
    put<uint32_t>(seen.csr_rdata);
    put<uint64_t>(clocks);
}

void run(uint64_t max_clocks) {
    uint64_t start = clocks;
    unsigned quiet = 0;
    while (quiet < IDLE_CLOCKS && clocks - start < max_clocks) {
        Seen seen = step();
        bool still = seen.idle && posted.empty() && rx[0].empty() && rx[1].empty() && reads.empty() &&
                     !collecting[0].busy && !collecting[1].busy;
        quiet = still ? quiet + 1 : 0;
    }
    bool idle = quiet >= IDLE_CLOCKS;
    put<uint8_t>('i');
    put<uint8_t>(idle);
    put<uint8_t>(irqs);
    put<uint64_t>(clocks);
    if (idle) irqs = 0;
}

// One clock of raw pins: 46 bytes in, 50 bytes out.
void raw_clock() {
    if (BEAT != 8) die("raw pins are those of a core of 64 bits");
    core->time_ns = get<uint64_t>();
    uint64_t data[2] = {get<uint64_t>(), get<uint64_t>()};
    uint8_t bytes[2][8];
    for (size_t port = 0; port < 2; port++)
        for (size_t i = 0; i < 8; i++) bytes[port][i] = static_cast<uint8_t>(data[port] >> (56 - 8 * i));
    core->md_data = get<uint64_t>();
    core->csr_addr = get<uint32_t>();
    core->csr_wdata = get<uint32_t>();
    core->csr_raddr = get<uint16_t>();
    uint8_t r0 = get<uint8_t>(), r1 = get<uint8_t>(), misc = get<uint8_t>(), md = get<uint8_t>();
    set_rx(0, r0 & 1, bytes[0], 8, r0 >> 4, r0 >> 1 & 1, r0 >> 2 & 1, r0 >> 3 & 1);
    set_rx(1, r1 & 1, bytes[1], 8, r1 >> 4, r1 >> 1 & 1, r1 >> 2 & 1, r1 >> 3 & 1);
    core->tx0_ready = misc & 1;
    core->tx1_ready = misc >> 1 & 1;
    core->csr_write = misc >> 2 & 1;
    core->csr_bar2 = misc >> 3 & 1;
    core->csr_read = misc >> 4 & 1;
    core->mw_ready = misc >> 5 & 1;
    core->mr_ready = misc >> 6 & 1;
    core->md_valid = md & 1;
    core->md_last = md >> 1 & 1;
    core->md_error = md >> 2 & 1;
    core->clock = 0;
    core->eval();
    put<uint64_t>(number(core->tx0_data));
    put<uint64_t>(number(core->tx1_data));
    put<uint64_t>(core->mw_addr);
    put<uint64_t>(core->mw_data);
    put<uint64_t>(core->mr_addr);
    put<uint32_t>(core->csr_rdata);
    put<uint16_t>(core->mr_len);
    put<uint8_t>(core->tx0_valid | core->tx0_first << 1 | core->tx0_last << 2 | core->tx0_error << 3 | core->tx0_count << 4);
    put<uint8_t>(core->tx1_valid | core->tx1_first << 1 | core->tx1_last << 2 | core->tx1_error << 3 | core->tx1_count << 4);
    put<uint8_t>(core->rx0_ready | core->rx1_ready << 1 | core->csr_done << 2 | core->mw_valid << 3 | core->mw_first << 4 |
                 core->mw_last << 5 | core->mr_valid << 6 | core->md_ready << 7);
    put<uint8_t>(core->irq | core->idle << 2);
    core->clock = 1;
    core->eval();
    clocks++;
}

} // namespace

int main() {
    power_on();
    uint8_t op;
    while (read_bytes(&op, 1)) {
        switch (op) {
        case 1: posted.push_back({true, get<uint64_t>(), false, 0, 0}); break;
        case 2: {
            bool bar2 = get<uint8_t>() != 0;
            uint32_t offset = get<uint32_t>();
            posted.push_back({false, 0, bar2, offset, get<uint32_t>()});
            break;
        }
        case 3: register_read(get<uint32_t>()); flush(); break;
        case 4: {
            unsigned port = get<uint8_t>() & 1;
            bool error = get<uint8_t>() != 0;
            std::vector<uint8_t> bytes(get<uint32_t>());
            if (!read_bytes(bytes.data(), bytes.size())) return 0;
            rx[port].push_back({std::move(bytes), error});
            break;
        }
        case 5: run(get<uint64_t>()); flush(); break;
        case 6: {
            uint32_t n = get<uint32_t>();
            put<uint8_t>('p');
            for (uint32_t i = 0; i < n; i++) raw_clock();
            flush();
            break;
        }
        case 7: read_latency = get<uint64_t>(); break;
        case 8: power_on(); break;
        default: die("unknown record on stdin");
        }
    }
    return 0;
}
