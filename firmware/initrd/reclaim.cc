#include "firmware/initrd/reclaim.h"

#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr const char* kProgram = "/usr/lib/stele/stele-reclaim";
constexpr const char* kWords = "/run/stele-boot/reclaim";
constexpr const char* kPlace = "/var/lib/stele";
constexpr std::size_t kSaidMax = 800;  // the kernel takes no line longer than about 1,000; the file has all of it

}  // namespace

std::string Reclaim(const Partitions& partitions) {
  std::vector<std::string> refused;  // whoever hands them over says it
  const std::vector<Partition> logs = partitions.Logs(refused);
  if (logs.empty()) return "";
  std::vector<std::string> command = {kProgram, "--dir", kPlace, "--user", std::to_string(kStele)};
  for (const Partition& log : logs) command.push_back(log.node);
  const auto status = Run(command, kWords);
  if (!status) return "nothing: " + Describe(status.error());
  std::string words = ReadText(kWords).value_or("");
  words = words.substr(0, words.find('\n'));
  if (words.empty() && *status != 0)
    return "nothing: stele-reclaim ended with " + std::to_string(*status) + " and said nothing";
  if (words.size() > kSaidMax) words = words.substr(0, kSaidMax) + " ...";
  return words;
}

}  // namespace stele::initrd
