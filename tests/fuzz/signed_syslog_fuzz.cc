// Goal: any bytes are read as a block or not, in bounds; what is read as one says exactly what its text says; and only
// what the registered key signed is valid. Method: the fields of a block are written out again and must be found in the
// message; the signed text is the message without SIGN, cut out naively; a block signed here is valid, and with one
// byte of the input's choice changed it is not. The bytes are also put together as Certificate Blocks in fragments.
#include <algorithm>
#include <cstdint>
#include <string>

#include "appliance/ingest/signed_coverage.h"
#include "appliance/ingest/signed_sessions.h"
#include "tests/unit/syslog_signer.h"

namespace {

using namespace stele;
using namespace stele::ingest;
using Reading = SignedBlockReading::Word;
using Word = BlockVerdict::Word;

struct Source {
  test::SyslogSigner signer{7};
  SyslogKeys keys;
  Source() { STELE_CHECK(keys.Add({"k", "", signer.KeyBlob(), "", "", "", ""}).has_value()); }
};

bool Says(std::string_view message, const std::string& name, std::uint64_t value) {
  const std::size_t at = message.find(" " + name + "=\"");
  if (at == std::string_view::npos) return false;
  return std::stoull(std::string(message.substr(at + name.size() + 3, 10))) == value;
}

void CheckFields(std::string_view message, const SignedBlock& block) {
  STELE_CHECK(Says(message, "RSID", block.session));
  STELE_CHECK(Says(message, "SG", block.group.kind));
  STELE_CHECK(Says(message, "SPRI", block.group.priority));
  const std::size_t sign = message.find(" SIGN=\"");
  const std::size_t end = message.find('"', sign + 7);
  STELE_CHECK(std::string(block.signed_head) + std::string(block.signed_tail) ==
              std::string(message.substr(0, sign)) + std::string(message.substr(end + 1)));
  if (block.is_certificate) {
    STELE_CHECK(block.fragment_first >= 1 && block.fragment_first - 1 + block.fragment.size() <= block.payload_bytes);
    return;
  }
  STELE_CHECK(Says(message, "FMN", block.first_message) && Says(message, "CNT", block.hashes.size()));
  std::string hashes;
  for (const MessageDigest& digest : block.hashes) {
    const std::size_t size = block.hash == BlockHash::kSha1 ? 20 : 32;
    hashes += (hashes.empty() ? "" : " ") + Base64Of(ByteView(digest).first(size));
  }
  STELE_CHECK(message.find(" HB=\"" + hashes + "\"") != std::string_view::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Source source;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  const auto reading = ReadSignedBlock(input);
  STELE_CHECK((*reading.reason != '\0') ==
              (reading.word == Reading::kMalformed || reading.word == Reading::kUnsupported));
  std::size_t payload_bytes = 0;
  {
    SignedSessions sessions(payload_bytes);
    unsigned checks = 8;
    if (reading.word == Reading::kBlock) {
      // A name may stand in another element too: then the naive search would find the wrong one.
      const std::string_view text = AsText(input);
      if (text.find("SIGN=", text.find(" SIGN=\"") + 7) == std::string_view::npos &&
          text.find('[') == text.rfind('[')) {
        CheckFields(text, reading.block);
      }
      (void)sessions.Judge(reading.block, source.keys, 0, checks);
    }
    if (size > 4 && size < 4'000) {
      const std::string payload(AsText(input));
      // A value is UTF-8 (RFC 5424 section 6.3.3), also where a fragment is cut: ASCII alone is that everywhere.
      const bool ascii = std::all_of(payload.begin(), payload.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
      if (ascii && payload.find_first_of("\"\\]") == std::string::npos) {
        for (const std::string& part : source.signer.Certificate({}, payload, 1 + data[0])) {
          const auto fragment = ReadSignedBlock(AsBytes(part));
          STELE_CHECK(fragment.word == Reading::kBlock);
          (void)sessions.Judge(fragment.block, source.keys, 0, checks);
        }
      }
    }
  }
  STELE_CHECK(payload_bytes == 0);
  (void)ReadPayloadBlock(AsText(input));
  (void)DsaSignatureDer(input);
  if (size < 4) return 0;
  test::BlockText text;
  text.ver = (data[0] & 1) != 0 ? "0111" : "0121";
  std::string block = source.signer.Block(text, {std::string(AsText(input.subspan(4)))}, (data[0] & 2) != 0);
  const auto judge = [](const std::string& message) {
    std::size_t bytes = 0;
    SignedSessions sessions(bytes);
    unsigned checks = 8;
    const auto read = ReadSignedBlock(AsBytes(message));
    return read.word == Reading::kBlock ? sessions.Judge(read.block, source.keys, 0, checks).word : Word::kUnknown;
  };
  STELE_CHECK(judge(block) == Word::kValid);
  const std::size_t at = (data[1] | static_cast<std::size_t>(data[2]) << 8U) % block.size();
  if (block[at] == static_cast<char>(data[3])) return 0;
  const bool in_signature = at > block.find(" SIGN=\"") + 6;
  block[at] = static_cast<char>(data[3]);
  // The bit counts of a signature's integers may be written larger than they are: the same numbers, the same signature.
  if (!in_signature) STELE_CHECK(judge(block) != Word::kValid);
  return 0;
}
