// stele-console: what a person before the machine sees, and all that is to be seen there. It reads files and prints
// lines; there is nothing to type. A line is printed when it is new or has changed:
//
//   stele: name north
//   stele: state encrypted, sealed to this TPM
//   stele: logs 4 log partitions, 1 sealed
//   stele: reclaimed units 0, 1 have expired and are free
//   stele: version 2 in slot b
//   stele: update version 2 confirmed
//   stele: pcr-11 9c1f...            of the TPM's SHA-256 bank, 0 to 14
//   stele: watchdog iTCO_wdt, active, restarts a machine that hangs for 120 s
//   stele: address ingest0 10.0.2.15
//   stele: serving                   every process of Stele answers
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "appliance/base/bytes.h"
#include "appliance/base/system.h"
#include "image/console/serving.h"

namespace {

using Facts = std::map<std::string, std::string>;

constexpr std::size_t kFileBytesMax = 65536;
constexpr int kRegisters = 15;  // the firmware's, the boot's and Stele's own

std::string TextOf(const std::string& path) {
  const auto bytes = stele::ReadFile(path, kFileBytesMax);
  if (!bytes) return {};
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

void AddFile(Facts& facts, const std::string& path) {
  std::istringstream lines(TextOf(path));
  for (std::string line; std::getline(lines, line);) {
    const std::string key = line.substr(0, line.find(' '));
    facts[key] = line.substr(std::min(line.size(), key.size() + 1));
  }
}

// PCR 14 is Stele's own and grows with the log; its beginning is not told here.
void AddTpm(Facts& facts) {
  if (::access("/dev/tpmrm0", F_OK) != 0) {
    facts["tpm"] = "MISSING: records are kept, nothing is anchored";
    return;
  }
  facts["tpm"] = "found";
  for (int i = 0; i < kRegisters - 1; ++i) {
    facts["pcr-" + std::to_string(i)] = FirstLine(TextOf("/sys/class/tpm/tpm0/pcr-sha256/" + std::to_string(i)));
  }
}

void AddWatchdog(Facts& facts) {
  const std::string watchdog = "/sys/class/watchdog/watchdog0/";
  const std::string name = FirstLine(TextOf(watchdog + "identity"));
  facts["watchdog"] = name.empty() ? "none: a machine that hangs waits for the power button"
                                   : name + ", " + FirstLine(TextOf(watchdog + "state")) +
                                         ", restarts a machine that hangs for " +
                                         FirstLine(TextOf(watchdog + "timeout")) + " s";
}

void AddName(Facts& facts) {
  std::array<char, 65> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) facts["name"] = name.data();
}

void AddAddresses(Facts& facts) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET || (each->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    sockaddr_in address{};
    std::memcpy(&address, each->ifa_addr, sizeof address);
    char text[INET_ADDRSTRLEN] = {};
    if (::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text) != nullptr)
      facts["address " + std::string(each->ifa_name)] = text;
  }
}

void AddService(Facts& facts) {
  if (::access("/run/stele-boot/state-is-mounted", F_OK) != 0) {
    facts["NOT SERVING"] = "there is no place for the log, see state";
  } else {
    facts[stele::IsServing() ? "serving" : "starting"] = "";
  }
}

}  // namespace

int main() {
  Facts shown;
  for (;;) {
    Facts facts;
    AddName(facts);
    AddFile(facts, "/run/stele-boot/facts");
    AddFile(facts, "/run/stele-confirm/facts");  // what the trial of an update has come to since
    AddTpm(facts);
    AddWatchdog(facts);
    AddAddresses(facts);
    AddService(facts);
    for (const auto& [key, value] : facts) {
      const auto before = shown.find(key);
      if (before != shown.end() && before->second == value) continue;
      std::printf("stele: %s%s%s\r\n", key.c_str(), value.empty() ? "" : " ", value.c_str());
    }
    std::fflush(stdout);
    shown = std::move(facts);
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}
