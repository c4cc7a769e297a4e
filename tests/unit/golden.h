// Golden files: the exact bytes of an on-disk format, kept in tests/golden so that a change is seen. They are made once, by the
// test itself when STELE_UPDATE_GOLDEN=1 is set, and from then on only compared.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "appliance/base/bytes.h"

namespace stele {

inline std::string GoldenPath(const std::string& name) { return std::string(STELE_SOURCE_DIR) + "/tests/golden/" + name; }

inline Bytes ReadGolden(const std::string& name) {
  std::ifstream in(GoldenPath(name), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return ToBytes(AsBytes(text));
}

inline void WriteGoldenIfAsked(const std::string& name, ByteView bytes) {
  const char* update = std::getenv("STELE_UPDATE_GOLDEN");
  if (update == nullptr || std::string_view(update) != "1") return;
  std::ofstream out(GoldenPath(name), std::ios::binary | std::ios::trunc);
  const std::string_view text = AsText(bytes);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  ASSERT_TRUE(out.good()) << GoldenPath(name);
}

inline void ExpectGolden(const std::string& name, ByteView bytes) {
  WriteGoldenIfAsked(name, bytes);
  const Bytes golden = ReadGolden(name);
  ASSERT_EQ(golden.size(), bytes.size()) << name;
  for (std::size_t i = 0; i < golden.size(); ++i) {
    ASSERT_EQ(golden[i], bytes[i]) << name << ": first difference at offset " << i;
  }
}

}  // namespace stele
