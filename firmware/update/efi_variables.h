// The firmware's variables through efivarfs. The init links it too: nothing here throws. Errors: kNotFound, kIo with
// errno.
#pragma once

#include <string>

#include "appliance/base/bytes.h"
#include "firmware/update/boot_variables.h"

namespace stele::update {

inline constexpr const char* kEfiVariables = "/sys/firmware/efi/efivars";

class EfiVariables {
 public:
  explicit EfiVariables(std::string folder = kEfiVariables) : folder_(std::move(folder)) {}

  [[nodiscard]] Result<Bytes> Read(const std::string& name) const;  // without the attributes
  // Non-volatile, for firmware and running system. Whole or not at all: the firmware's own promise.
  [[nodiscard]] Result<void> Write(const std::string& name, ByteView value) const;
  [[nodiscard]] Result<void> Remove(const std::string& name) const;  // that it is not there is no error
  [[nodiscard]] std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

  // What is missing or is not understood reads as not there.
  [[nodiscard]] BootState ReadBootState() const;

 private:
  std::string folder_;
};

}  // namespace stele::update
