// Goal: a device gets the drivers that know it, with what they need, and a table that is not one is refused. Method:
// lines as pack.py writes them, modaliases as a kernel shows them.
#include "firmware/initrd/driver_table.h"

#include <gtest/gtest.h>

namespace stele::initrd {
namespace {

using Files = std::vector<std::string>;

constexpr std::string_view kTable =
    "pci:v*d*sv*sd*bc01sc08i02* nvme-core.ko nvme.ko\n"
    "pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e.ko\n"
    "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb-common.ko usbcore.ko usb-storage.ko\n"
    "usb:v*p*d*dc*dsc*dp*ic08isc06ip[56]0in* uas.ko\n"
    "scsi:t-0x00* sd_mod.ko\n";

TEST(DriverTable, ADeviceGetsItsDriverAndWhatThatNeedsInThisOrder) {
  const auto table = DriverTable::Parse(kTable);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->FilesFor("pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"),
            (Files{"nvme-core.ko", "nvme.ko"}));
  EXPECT_EQ(table->FilesFor("pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00"), Files{"e1000e.ko"});
  EXPECT_EQ(table->FilesFor("scsi:t-0x00"), Files{"sd_mod.ko"});
}

TEST(DriverTable, ADeviceThatSeveralDriversKnowGetsAllOfThem) {
  const auto table = DriverTable::Parse(kTable);
  EXPECT_EQ(table->FilesFor("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00"),
            (Files{"usb-common.ko", "usbcore.ko", "usb-storage.ko", "uas.ko"}));
}

TEST(DriverTable, ADeviceThatNoneKnowsGetsNone) {
  const auto table = DriverTable::Parse(kTable);
  for (const char* modalias : {"", "pci:", "usb:v046DpC31Cd6402dc00dsc00dp00ic03isc01ip01in00", "scsi:t-0x05",
                               "pci:v00008086d000010D4sv00008086sd00000000bc02sc00i00"})
    EXPECT_TRUE(table->FilesFor(modalias).empty()) << modalias;
}

TEST(DriverTable, NoTableIsATableOfNothing) {
  const auto table = DriverTable::Parse("");
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->empty());
}

TEST(DriverTable, ALineWithoutAFileOrWithAPathIsRefused) {
  for (const char* wrong : {"pci:*", "pci:* a.ko\nusb:*\n", "pci:* ../a.ko", "pci:* a/b.ko", " \n"})
    EXPECT_FALSE(DriverTable::Parse(wrong)) << wrong;
}

}  // namespace
}  // namespace stele::initrd
