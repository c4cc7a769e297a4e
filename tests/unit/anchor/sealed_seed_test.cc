// Goal: the sealed seed's file survives and damage to it is named; the seed in memory cannot be altered by whom it is
// handed to. Method: the golden file, every truncation of it, each member missing; a memfd's seals tried.
#include "appliance/anchor/sealed_seed.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "tests/unit/golden.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

// A public area as a TPM makes it, without a TPM: the parser looks at every octet of it but the last 32.
tpm::SealedSecret Example() {
  tpm::SealedSecret sealed;
  sealed.policy.registers = {{7, Sha256Of(AsBytes("seven"))}, {14, Hash{}}};
  sealed.public_area = *ParseHex("004e0008000b000004120020" + HexOf(PolicyDigestOf(sealed.policy)) + "00100020" +
                                 HexOf(Sha256Of(AsBytes("unique"))));
  sealed.private_area = *ParseHex("0004deadbeef");
  return sealed;
}

TEST(SealedSeed, RoundTripsAndIsTheGoldenFile) {
  const std::string text = EncodeSealedSeed(Example());
  const auto back = DecodeSealedSeed(text);
  ASSERT_TRUE(back.has_value()) << Describe(back.error());
  EXPECT_EQ(*back, Example());
  ExpectGolden("sealed_seed.json", AsBytes(text));
}

TEST(SealedSeed, EveryDamageIsRefused) {
  const std::string text = EncodeSealedSeed(Example());
  for (std::size_t size = 0; size + 2 < text.size(); ++size) {
    EXPECT_FALSE(DecodeSealedSeed(std::string_view(text).substr(0, size))) << size;
  }
  const json good = json::parse(text);
  for (const auto& [name, value] : good.items()) {
    json bad = good;
    bad.erase(name);
    EXPECT_FALSE(DecodeSealedSeed(bad.dump())) << name;
    bad[name] = 7;
    EXPECT_FALSE(DecodeSealedSeed(bad.dump())) << name;
  }
  for (const char* registers :
       {"{}", "{\"24\":\"00\"}", "{\"014\":\"00\"}", "{\"-1\":\"00\"}", "[]", "{\"14\":\"zz\"}"}) {
    json bad = good;
    bad["registers"] = json::parse(registers);
    EXPECT_FALSE(DecodeSealedSeed(bad.dump())) << registers;
  }
  // A weaker policy than the one in the object's Name.
  json weaker = good;
  weaker["registers"].erase("7");
  EXPECT_EQ(DecodeSealedSeed(weaker.dump()).error().code, Code::kInvalid);
}

TEST(SeedMemory, IsReadByWhomItIsHandedToAndWrittenByNobody) {
  const Hash value = Sha256Of(AsBytes("a seed"));
  auto memory = SeedMemory::Make(Secret(value));
  ASSERT_TRUE(memory.has_value()) << Describe(memory.error());
  EXPECT_TRUE(memory->locked());
  const UniqueFd handed(::fcntl(memory->fd(), F_DUPFD_CLOEXEC, 3));
  for (int start = 0; start < 3; ++start) {  // every start of the anchor reads it anew
    const auto seed = ReadSeedMemory(handed.get());
    ASSERT_TRUE(seed.has_value()) << Describe(seed.error());
    EXPECT_TRUE(SameBytes(seed->view(), value));
  }
  EXPECT_EQ(::pwrite(handed.get(), "x", 1, 0), -1);
  EXPECT_EQ(::ftruncate(handed.get(), 0), -1);
  EXPECT_EQ(::mmap(nullptr, 32, PROT_READ | PROT_WRITE, MAP_SHARED, handed.get(), 0), MAP_FAILED);
  SeedMemory moved = std::move(*memory);
  EXPECT_TRUE(ReadSeedMemory(moved.fd()));
}

TEST(SeedMemory, AnythingElseIsRefused) {
  const UniqueFd plain(::memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(plain.get(), 32), 0);
  EXPECT_EQ(ReadSeedMemory(plain.get()).error().code, Code::kCorrupt);  // could still change under us
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(ReadSeedMemory(null.get()).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace stele::anchor
