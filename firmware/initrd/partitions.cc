#include "firmware/initrd/partitions.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr std::string_view kOurs = "stele-";
constexpr std::string_view kLog = "stele-log-";
constexpr std::uint64_t kSectorBytes = 512;  // the unit of /sys/class/block/X/size, whatever the device's own

template <typename Number>
bool ParseNumber(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

// By the path of its device: ".../0000:00:14.0/usb2/2-1/2-1:1.0/host6/...".
bool IsOnUsb(const std::string& folder) {
  const std::unique_ptr<char, decltype(&std::free)> path(::realpath(folder.c_str(), nullptr), &std::free);
  return path != nullptr && std::string_view(path.get()).find("/usb") != std::string_view::npos;
}

}  // namespace

Result<Partition> ParseUevent(const std::string& text) {
  Partition found;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(line.size(), key.size() + 1));
    if (key == "PARTNAME") found.name = value;
    if (key == "DEVNAME") found.node = "/dev/" + std::string(value);
    if ((key == "MAJOR" && !ParseNumber(value, major)) || (key == "MINOR" && !ParseNumber(value, minor))) {
      return Fail(Code::kInvalid, "a device number is not a number");
    }
  }
  if (!found.name.starts_with(kOurs)) return Fail(Code::kNotFound, "not a partition of an appliance");
  if (found.node.empty() || major == 0 || major >= 4096 || minor >= 1U << 20)
    return Fail(Code::kInvalid, "an incomplete partition");
  found.device = major << 20 | minor;
  return found;
}

bool MayComeByUsb(std::string_view name) { return name == "stele-update" || name == "stele-site"; }

Partitions Partitions::OfThisMachine() {
  std::vector<Partition> all;
  for (const std::string& name : Names("/sys/class/block")) {
    const std::string folder = "/sys/class/block/" + name;
    const auto text = ReadText(folder + "/uevent");
    if (!text) continue;  // it went away
    auto partition = ParseUevent(*text);
    if (!partition || (IsOnUsb(folder) && !MayComeByUsb(partition->name))) continue;
    const auto size = ReadText(folder + "/size");
    std::uint64_t sectors = 0;
    if (!size || !ParseNumber(std::string_view(*size).substr(0, size->find('\n')), sectors)) continue;
    partition->size_bytes = sectors * kSectorBytes;
    all.push_back(std::move(*partition));
  }
  return Partitions(std::move(all));
}

Result<Partition> Partitions::Only(const std::string& name) const {
  const Partition* found = nullptr;
  for (const Partition& partition : all_) {
    if (partition.name != name) continue;
    if (found != nullptr)
      return Fail(Code::kDenied, "partition " + name + " is there twice: " + found->node + " and " + partition.node);
    found = &partition;
  }
  if (found == nullptr) return Fail(Code::kNotFound, "there is no partition " + name);
  return *found;
}

std::vector<Partition> Partitions::Logs(std::vector<std::string>& refused) const {
  std::vector<std::pair<std::uint32_t, Partition>> numbered;
  for (const Partition& partition : all_) {
    std::uint32_t number = 0;
    if (!partition.name.starts_with(kLog) || !ParseNumber(std::string_view(partition.name).substr(kLog.size()), number))
      continue;
    if (partition.name != std::string(kLog) + std::to_string(number)) continue;  // "stele-log-07" is no other name of 7
    if (Only(partition.name)) {
      numbered.emplace_back(number, partition);
    } else if (std::find(refused.begin(), refused.end(), partition.name) == refused.end()) {
      refused.push_back(partition.name);
    }
  }
  std::sort(numbered.begin(), numbered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Partition> logs;
  logs.reserve(numbered.size());
  for (auto& [number, partition] : numbered) logs.push_back(std::move(partition));
  return logs;
}

}  // namespace stele::initrd
