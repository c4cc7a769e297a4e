// Which driver a device wants: the image for hardware brings many, and a start loads those whose device is there.
//
// The table is written by pack.py from the kernel's own (depmod): one line for each pattern of a driver,
//
//   PATTERN FILE...      "pci:v*d*sv*sd*bc01sc08i02* 03-nvme-core.ko 04-nvme.ko": what is to be loaded, in this order
//
// A pattern is one of fnmatch(3) over a device's modalias.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/result.h"

namespace stele::initrd {

class DriverTable {
 public:
  // kInvalid: a line without a file, or a name that is not one of a file.
  [[nodiscard]] static Result<DriverTable> Parse(std::string_view text);
  // Of all drivers that know the device, in the order of the table; a file may be there more than once.
  [[nodiscard]] std::vector<std::string> FilesFor(const std::string& modalias) const;
  [[nodiscard]] bool empty() const { return lines_.empty(); }

 private:
  struct Line {
    std::string pattern;
    std::vector<std::string> files;
  };
  std::vector<Line> lines_;
};

}  // namespace stele::initrd
