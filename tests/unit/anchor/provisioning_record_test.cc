// Goal: the provisioning record survives its file, its signature binds it, and damage is named.
// Method: round trips, a missing member each, altered bytes.
#include "appliance/anchor/provisioning_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tpm/signing.h"

namespace stele::anchor {
namespace {

using nlohmann::json;

ProvisioningRecord Example() {
  ProvisioningRecord record;
  record.created_ns = 1'700'000'000'000'000'000;
  record.ek_certificate = ToBytes(AsBytes("certificate"));
  record.identity = {ToBytes(AsBytes("ek")), ToBytes(AsBytes("ak")), ToBytes(AsBytes("counter")),
                     ToBytes(AsBytes("index"))};
  record.ak_public_pem = "-----BEGIN PUBLIC KEY-----\n";
  record.ak_public = ToBytes(AsBytes("ak public"));
  record.counter_start = 12;
  record.index_start = Sha256Of(AsBytes("X0"));
  record.reset_count = 3;
  record.firmware_version = 0x2019102300163636ULL;
  record.software_tpm = true;
  record.checkpoint_key = Bytes(32, std::byte{7});
  record.genesis_random = Sha256Of(AsBytes("random"));
  record.manufacturer = "IBM";
  return record;
}

TEST(ProvisioningRecord, RoundTrips) {
  const Bytes bytes = EncodeRecord(Example());
  const auto back = DecodeRecord(bytes);
  ASSERT_TRUE(back.has_value()) << Describe(back.error());
  EXPECT_EQ(EncodeRecord(*back), bytes);
  EXPECT_EQ(back->identity.index_name, Example().identity.index_name);
  EXPECT_EQ(back->firmware_version, Example().firmware_version);
  EXPECT_EQ(back->pcr_baseline, Hash{});
  const Hash log_id = LogIdOf(bytes);
  EXPECT_EQ(OriginOf(*back, log_id), "stele.invalid/log/" + HexOf(log_id).substr(0, 16));
  const Pins pins = PinsOf(*back, log_id);
  EXPECT_EQ(pins.receipt.counter_start, 12U);
  EXPECT_EQ(pins.receipt.log_id, log_id);
}

TEST(ProvisioningRecord, EveryMissingMemberIsNamed) {
  const json good = json::parse(AsText(EncodeRecord(Example())));
  for (const char* name : {"created_ns", "ek_certificate_b64", "ek_name", "ak_name", "ak_public_pem", "ak_public_b64",
                           "counter_name", "index_name", "counter_start", "index_start", "pcr", "reset_count",
                           "firmware_version", "software_tpm", "handles", "log", "version"}) {
    json bad = good;
    bad.erase(name);
    EXPECT_FALSE(DecodeRecord(AsBytes(bad.dump())).has_value()) << name;
    bad[name] = nullptr;
    EXPECT_FALSE(DecodeRecord(AsBytes(bad.dump())).has_value()) << name;
  }
  for (const char* bad : {"", "[]", "{}", "null"}) EXPECT_FALSE(DecodeRecord(AsBytes(bad)).has_value());
}

TEST(ProvisioningRecord, TheSignatureBindsTheBytes) {
  const auto key = tpm::MakeSigningKey();
  ASSERT_TRUE(key.has_value());
  const auto made = SignRecord(EncodeRecord(Example()), *key);
  ASSERT_TRUE(made.has_value());
  const auto read = DecodeSignedRecord(EncodeSignedRecord(*made));
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(VerifySignedRecord(*read).has_value());
  for (std::size_t i = 0; i < read->record.size(); i += 7) {
    SignedRecord altered = *read;
    altered.record[i] ^= std::byte{1};
    EXPECT_FALSE(VerifySignedRecord(altered).has_value()) << i;
  }
  const auto genesis = EpochPayload(*read);
  ASSERT_TRUE(genesis.has_value());
  const json object = json::parse(*genesis);
  EXPECT_EQ(object["type"], "genesis");
  EXPECT_EQ(object["record"]["counter_start"], 12);
  EXPECT_EQ(LogIdOf(*ParseBase64(object["record_b64"].get<std::string>(), 1 << 20)), LogIdOf(read->record));
  EXPECT_TRUE(ParseBase64(object["public_key_b64"].get<std::string>(), 1 << 10).has_value());
}

}  // namespace
}  // namespace stele::anchor
