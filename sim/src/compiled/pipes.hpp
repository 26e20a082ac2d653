// What the harnesses of the compiled engines share: little-endian records on stdin and stdout. It stands before them in one
// text (sim/src/compiled/build.rs).

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <unistd.h>
#include <utility>
#include <vector>

#include "Vcore.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

[[noreturn]] void die(const char *what) {
    std::fprintf(stderr, "harness: %s\n", what);
    std::exit(3);
}

// ---- pipes -----------------------------------------------------------------------------------------------------

uint8_t in_buffer[1 << 16];
size_t in_at = 0, in_end = 0;
std::vector<uint8_t> out_buffer;

// False at the end of the input.
bool read_bytes(void *to, size_t n) {
    auto *out = static_cast<uint8_t *>(to);
    while (n != 0) {
        if (in_at == in_end) {
            ssize_t got = read(0, in_buffer, sizeof in_buffer);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            in_at = 0;
            in_end = static_cast<size_t>(got);
        }
        size_t take = in_end - in_at < n ? in_end - in_at : n;
        std::memcpy(out, in_buffer + in_at, take);
        in_at += take;
        out += take;
        n -= take;
    }
    return true;
}

template <typename T> T get() {
    uint8_t raw[sizeof(T)];
    if (!read_bytes(raw, sizeof raw)) std::exit(0);
    T value = 0;
    for (size_t i = 0; i < sizeof(T); i++) value |= static_cast<T>(static_cast<T>(raw[i]) << 8 * i);
    return value;
}

void flush() {
    size_t at = 0;
    while (at < out_buffer.size()) {
        ssize_t put = write(1, out_buffer.data() + at, out_buffer.size() - at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) std::exit(0);
        at += static_cast<size_t>(put);
    }
    out_buffer.clear();
}

template <typename T> void put(T value) {
    for (size_t i = 0; i < sizeof(T); i++) out_buffer.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> 8 * i));
}

void put_bytes(const std::vector<uint8_t> &bytes) { out_buffer.insert(out_buffer.end(), bytes.begin(), bytes.end()); }

} // namespace

