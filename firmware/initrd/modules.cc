#include "firmware/initrd/modules.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "appliance/base/fd.h"
#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr std::size_t kTableBytesMax = std::size_t{4} << 20U;
constexpr auto kSettlingTime = std::chrono::seconds(3);

Result<void> Load(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open module " + path);
  if (::syscall(SYS_finit_module, file.get(), "", 0) == 0) return {};
  if (errno == ENODEV) return {};  // this machine has no such device, or no such instructions
  return FailErrno("load module " + path);
}

}  // namespace

// The names begin with a number: the order in which they need each other.
Result<void> LoadModules() {
  for (const std::string& name : Names("/modules")) STELE_TRY_VOID(Load("/modules/" + name));
  return {};
}

Drivers::Drivers() {
  const auto bytes = ReadAll("/drivers.table", kTableBytesMax);
  if (!bytes) return;
  auto table = DriverTable::Parse({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (table) {
    table_ = std::move(*table);
  } else {
    Say(Describe(table.error()));
  }
}

void Drivers::LoadForWhatIsThere() {
  if (table_.empty()) return;
  for (const std::string& bus : Names("/sys/bus")) {
    const std::string devices = "/sys/bus/" + bus + "/devices/";
    for (const std::string& device : Names(devices)) {
      auto modalias = ReadText(devices + device + "/modalias");
      if (!modalias) continue;  // many have none
      modalias->resize(std::min(modalias->find('\n'), modalias->size()));
      if (!seen_.insert(*modalias).second) continue;
      for (const std::string& file : table_.FilesFor(*modalias)) {
        if (!loaded_.insert(file).second) continue;
        if (auto loaded = Load("/drivers/" + file); !loaded) Say(Describe(loaded.error()));
        last_ = std::chrono::steady_clock::now();  // a controller may take minutes
      }
    }
  }
}

bool Drivers::Settled() const { return table_.empty() || std::chrono::steady_clock::now() - last_ >= kSettlingTime; }

}  // namespace stele::initrd
