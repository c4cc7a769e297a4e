#include "firmware/initrd/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "appliance/base/fd.h"
#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr int kSeconds = 600;  // what the init may take, with a disk to wait for
constexpr char kStop = 'V';    // closing it without this word before leaves it on

}  // namespace

bool ArmWatchdog() {
  const UniqueFd watchdog(::open("/dev/watchdog0", O_WRONLY | O_CLOEXEC));
  if (!watchdog.valid()) return false;  // opening it has switched it on
  int seconds = kSeconds;
  if (::ioctl(watchdog.get(), WDIOC_SETTIMEOUT, &seconds) == 0) {
    Say("the watchdog is on, for " + std::to_string(seconds) + " s");
    return true;
  }
  Say("the watchdog is left off, it does not wait for " + std::to_string(kSeconds) + " s");
  if (::write(watchdog.get(), &kStop, 1) != 1) Say("and it does not stop: error " + std::to_string(errno));
  return true;
}

}  // namespace stele::initrd
