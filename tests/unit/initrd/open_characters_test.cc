// Goal: only character devices that are known to be harmless stay open; passthrough never is among them. Method: /proc
// texts of a real system.
#include <gtest/gtest.h>

#include <algorithm>

#include "firmware/guard/guard.h"
#include "firmware/guard/policy.h"

namespace stele::guard {
namespace {

const std::string kDevices =
    "Character devices:\n  1 mem\n  4 /dev/vc/0\n  4 tty\n  5 /dev/console\n 10 misc\n 21 sg\n226 drm\n236 "
    "nvme-generic\n237 nvme\n249 bsg\n252 watchdog\n253 tpm\n\n"
    "Block devices:\n  1 ramdisk\n259 blkext\n  5 tty\n";
const std::string kMisc = "237 loop-control\n236 device-mapper\n235 autofs\n183 hw_random\n196 vfio\n231 snapshot\n";

bool Has(const std::vector<std::uint32_t>& keys, std::uint32_t key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

TEST(OpenCharacters, TerminalsMemoryTheTpmAndTheWatchdogStayOpen) {
  const auto keys = OpenCharacters(kDevices, kMisc);
  for (const std::uint32_t major : {1U, 4U, 5U, 252U, 253U}) EXPECT_TRUE(Has(keys, major << 20 | GUARD_ANY_MINOR)) << major;
  EXPECT_TRUE(Has(keys, 10U << 20 | 183U));
  EXPECT_TRUE(Has(keys, 10U << 20 | 235U));
}

TEST(OpenCharacters, PassthroughMapperLoopsAndWhatIsUnknownAreClosed) {
  const auto keys = OpenCharacters(kDevices, kMisc);
  for (const std::uint32_t major : {10U, 21U, 226U, 236U, 237U, 249U})
    EXPECT_FALSE(Has(keys, major << 20 | GUARD_ANY_MINOR)) << major;
  for (const std::uint32_t minor : {196U, 231U, 236U, 237U}) EXPECT_FALSE(Has(keys, 10U << 20 | minor)) << minor;
}

TEST(OpenCharacters, BlockDevicesAfterTheEmptyLineAreNotRead) {
  EXPECT_EQ(OpenCharacters("Character devices:\n\nBlock devices:\n  1 mem\n", "").size(), 0U);
}

TEST(OpenCharacters, GarbageOpensNothing) {
  EXPECT_TRUE(
      OpenCharacters("mem\n x mem\n 99999999999 mem\n 4096 mem\n 1mem\n 1\n", "4294967295 autofs\n1048575 autofs\n")
          .empty());
}

}  // namespace
}  // namespace stele::guard
