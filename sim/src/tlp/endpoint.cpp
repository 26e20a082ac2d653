// The bench of sim/src/tlp/link.rs in C++, around the endpoint as Verilator compiled it; sim/src/tlp/compiled.rs is the other
// end. TLPs and frames come in on stdin and go out on stdout as little-endian records.
//
//   in:   1 time u64      2 bar u8, DWs u16, DWs u32 (TLP)    4 port u8, error u8, length u32, bytes (frame)
//         3 id u16, max payload u8, max read u8, flags u8 (bus master, MSI-X enable, MSI-X mask, reset)
//         5 max clocks u64 (run)
//   out:  p clock u64, DWs u16, DWs u32 (TLP)                 t port u8, error u8, clock u64, length u32, bytes (frame)
//         i flags u8 (idle, resetting, pending), queued u64, clocks u64 (run done)
//
// Clocks run inside 5 only, which ends with i, so neither side ever waits for the other to empty a pipe. The loop must follow
// the Rust bench clock by clock: a test compares their clock counts.

namespace {

constexpr unsigned IDLE_CLOCKS = NAT64_IDLE_CLOCKS;
constexpr size_t MAX_TX = 64 << 10;
constexpr uint64_t WRITE_CLOCKS = 24; // of link.rs

struct Tlp {
    std::vector<uint32_t> dws;
    uint8_t bar;
};
struct Frame {
    std::vector<uint8_t> bytes;
    bool error;
};
struct Collecting {
    bool busy = false;
    std::vector<uint8_t> bytes;
};

std::unique_ptr<VerilatedContext> context;
std::unique_ptr<Vcore> core;
std::deque<Tlp> tlps;
size_t tlp_at = 0;
uint64_t hold = 0;
std::vector<uint32_t> sending;
std::deque<Frame> rx[2];
size_t rx_at[2];
Collecting collecting[2];
uint64_t clocks = 0;

void power_on() {
    context.reset(new VerilatedContext);
    core.reset(new Vcore(context.get(), "core"));
    core->tx0_ready = 1;
    core->tx1_ready = 1;
    core->tlp_tx_ready = 1;
    core->credit_p = 1;
    core->credit_n = 1;
    core->credit_c = 1;
    core->clock = 0;
    core->eval();
}

bool wants_host(uint32_t first) { return (first >> 24 & 31) == 10 || (first >> 30 & 1) == 0; }

void set_rx(int port, bool valid, uint64_t data, unsigned count, bool first, bool last, bool error) {
    if (port == 0) {
        core->rx0_valid = valid;
        core->rx0_data = data;
        core->rx0_count = count;
        core->rx0_first = first;
        core->rx0_last = last;
        core->rx0_error = error;
    } else {
        core->rx1_valid = valid;
        core->rx1_data = data;
        core->rx1_count = count;
        core->rx1_first = first;
        core->rx1_last = last;
        core->rx1_error = error;
    }
}

void collect(int port, uint64_t data, unsigned count, bool first, bool last, bool error) {
    Collecting &c = collecting[port];
    if (!c.busy || first) c.bytes.clear();
    c.busy = true;
    unsigned n = last && count != 0 ? count & 7 : 8;
    if (c.bytes.size() < MAX_TX)
        for (unsigned i = 0; i < n; i++) c.bytes.push_back(static_cast<uint8_t>(data >> (56 - 8 * i)));
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

// One clock; whether a TLP ended that wants the host to act.
bool step() {
    bool waits = !tlps.empty(), last = false;
    bool may = false;
    if (waits) {
        const Tlp &tlp = tlps.front();
        may = tlp_at > 0 || core->tlp_rx_np_ok || !wants_host(tlp.dws[0]) || (tlp.dws[0] >> 24 & 31) == 10;
        if (may) {
            bool two = tlp_at + 1 < tlp.dws.size();
            last = tlp_at + 2 >= tlp.dws.size();
            core->tlp_rx_data = tlp.dws[tlp_at] | (two ? static_cast<uint64_t>(tlp.dws[tlp_at + 1]) << 32 : 0);
            core->tlp_rx_keep = two ? 3 : 1;
            core->tlp_rx_last = last;
            core->tlp_rx_bar = tlp.bar;
        }
    }
    core->tlp_rx_valid = may;
    bool held = waits || hold > 0;
    if (hold > 0) hold--;
    bool rx_valid[2] = {false, false}, rx_last[2] = {false, false};
    for (int port = 0; port < 2; port++) {
        if (rx[port].empty() || (held && rx_at[port] == 0)) {
            set_rx(port, false, 0, 0, false, false, false);
            continue;
        }
        const Frame &frame = rx[port].front();
        size_t at = rx_at[port], end = at + 8 < frame.bytes.size() ? at + 8 : frame.bytes.size();
        uint64_t data = 0;
        for (size_t i = at; i < end; i++) data |= static_cast<uint64_t>(frame.bytes[i]) << (56 - 8 * (i - at));
        bool end_of_frame = end == frame.bytes.size();
        rx_valid[port] = true;
        rx_last[port] = end_of_frame;
        set_rx(port, true, data, end_of_frame ? (end - at) % 8 : 0, at == 0, end_of_frame, end_of_frame && frame.error);
    }
    core->clock = 0;
    core->eval();
    clocks++;
    bool rx_ready[2] = {static_cast<bool>(core->rx0_ready), static_cast<bool>(core->rx1_ready)};
    if (may && core->tlp_rx_ready) {
        tlp_at += 2;
        if (last) {
            uint32_t first = tlps.front().dws[0];
            tlps.pop_front();
            tlp_at = 0;
            if ((first >> 24 & 0x5f) == 0x40) hold = WRITE_CLOCKS + (first & 0x3ff);
        }
    }
    bool stop = false;
    if (core->tlp_tx_valid) {
        uint64_t data = core->tlp_tx_data;
        sending.push_back(static_cast<uint32_t>(data));
        if (core->tlp_tx_keep & 2) sending.push_back(static_cast<uint32_t>(data >> 32));
        if (core->tlp_tx_last) {
            stop = wants_host(sending[0]);
            put<uint8_t>('p');
            put<uint64_t>(clocks);
            put<uint16_t>(static_cast<uint16_t>(sending.size()));
            for (uint32_t dw : sending) put<uint32_t>(dw);
            sending.clear();
            if (out_buffer.size() > (32 << 10)) flush();
        }
    }
    if (core->tx0_valid)
        collect(0, core->tx0_data, core->tx0_count, core->tx0_first, core->tx0_last, core->tx0_error);
    if (core->tx1_valid)
        collect(1, core->tx1_data, core->tx1_count, core->tx1_first, core->tx1_last, core->tx1_error);
    core->clock = 1;
    core->eval();
    for (int port = 0; port < 2; port++) {
        if (!rx_valid[port] || !rx_ready[port]) continue;
        rx_at[port] += 8;
        if (rx_last[port]) {
            rx[port].pop_front();
            rx_at[port] = 0;
        }
    }
    return stop;
}

void run(uint64_t max_clocks) {
    uint64_t ran = 0;
    unsigned quiet = 0;
    bool stop = false;
    while (ran < max_clocks && quiet < IDLE_CLOCKS && !stop) {
        stop = step();
        ran++;
        bool still = core->idle && tlps.empty() && rx[0].empty() && rx[1].empty() && !collecting[0].busy &&
                     !collecting[1].busy;
        quiet = still ? quiet + 1 : 0;
    }
    put<uint8_t>('i');
    put<uint8_t>(static_cast<uint8_t>((quiet >= IDLE_CLOCKS) | core->resetting << 1 | core->pending << 2));
    put<uint64_t>(tlps.size());
    put<uint64_t>(clocks);
}

} // namespace

int main() {
    power_on();
    uint8_t op;
    while (read_bytes(&op, 1)) {
        switch (op) {
        case 1: core->time_ns = get<uint64_t>(); break;
        case 2: {
            Tlp tlp;
            tlp.bar = get<uint8_t>();
            tlp.dws.resize(get<uint16_t>());
            for (uint32_t &dw : tlp.dws) dw = get<uint32_t>();
            if (tlp.dws.empty()) die("a TLP without DWs");
            tlps.push_back(std::move(tlp));
            break;
        }
        case 3: {
            core->cfg_id = get<uint16_t>();
            core->cfg_max_payload = get<uint8_t>();
            core->cfg_max_read = get<uint8_t>();
            uint8_t flags = get<uint8_t>();
            core->cfg_bus_master = flags & 1;
            core->cfg_msix_enable = flags >> 1 & 1;
            core->cfg_msix_mask = flags >> 2 & 1;
            core->cfg_flr = flags >> 3 & 1;
            break;
        }
        case 4: {
            unsigned port = get<uint8_t>() & 1;
            bool error = get<uint8_t>() != 0;
            std::vector<uint8_t> bytes(get<uint32_t>());
            if (!read_bytes(bytes.data(), bytes.size())) return 0;
            rx[port].push_back({std::move(bytes), error});
            break;
        }
        case 5: run(get<uint64_t>()); flush(); break;
        default: die("unknown record on stdin");
        }
    }
    return 0;
}
