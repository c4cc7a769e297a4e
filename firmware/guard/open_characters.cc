#include <charconv>
#include <string_view>

#include "firmware/guard/guard.h"
#include "firmware/guard/policy.h"

namespace stele::guard {
namespace {

constexpr std::string_view kMajors[] = {
    "mem", "tty", "/dev/tty", "/dev/console", "/dev/ptmx", "/dev/vc/0", "ttyS", "vcs",     "input",
    "ptm", "pts", "rtc",      "tpm",          "ttyprintk", "hvc",       "fb",   "watchdog"};
constexpr std::string_view kMisc[] = {"hw_random", "autofs", "rfkill", "watchdog", "cpu_dma_latency", "tpm0"};
constexpr std::uint32_t kMiscMajor = 10;

// Calls use(number, name) for lines of "  4 ttyS"; stops at an empty line and skips what is not of that form.
template <typename Use>
void ForEachLine(std::string_view text, Use use) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) return;
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    std::uint32_t number = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    if (error != std::errc{} || rest == line.data() + line.size() || *rest != ' ') continue;
    use(number, line.substr(static_cast<std::size_t>(rest - line.data()) + 1));
  }
}

template <std::size_t kCount>
bool IsAmong(const std::string_view (&names)[kCount], std::string_view name) {
  for (const std::string_view each : names) {
    if (each == name) return true;
  }
  return false;
}

}  // namespace

std::vector<std::uint32_t> OpenCharacters(const std::string& proc_devices, const std::string& proc_misc) {
  std::vector<std::uint32_t> keys;
  ForEachLine(proc_devices, [&](std::uint32_t major, std::string_view name) {
    if (major < 4096 && IsAmong(kMajors, name)) keys.push_back(major << 20 | GUARD_ANY_MINOR);
  });
  ForEachLine(proc_misc, [&](std::uint32_t minor, std::string_view name) {
    if (minor < GUARD_ANY_MINOR && IsAmong(kMisc, name)) keys.push_back(kMiscMajor << 20 | minor);
  });
  return keys;
}

}  // namespace stele::guard
