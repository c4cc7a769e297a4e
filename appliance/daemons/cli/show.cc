// stele show SEQ: one record, its raw bytes, or its evidence as plain files.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Pairs = std::vector<std::pair<std::string, std::string>>;

Result<json> GetJson(Client& client, const std::string& path, const Query& query = {}) {
  STELE_TRY(const Answer answer, client.Get(path, query));
  if (!answer.ok()) {
    const bool absent = answer.status == 404 || answer.status == 403 || answer.status == 401;
    return Fail(absent ? Code::kNotFound : answer.status < 500 ? Code::kInvalid : Code::kUnavailable, answer.ErrorText());
  }
  return answer.Json();
}

Bytes BytesOf(const json& object, const char* name) {
  const auto bytes = ParseBase64(TextOf(object, name), limits::kMiB);
  return bytes ? *bytes : Bytes{};
}

std::uint64_t PayloadSize(const json& answer) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, NumberOf(answer, "payload_size")));
}

// The payload, page by page, to a function that may stop it.
Result<void> EachPage(Client& client, std::uint64_t sequence, std::uint64_t payload_size_bytes,
                      const std::function<Result<void>(std::string_view)>& take) {
  const std::string path = "/api/v1/record/" + std::to_string(sequence) + "/payload";
  for (std::uint64_t offset = 0; offset < payload_size_bytes;) {
    STELE_TRY(const Answer page, client.Get(path, {{"offset", std::to_string(offset)},
                                                   {"length", std::to_string(limits::kPayloadPageBytes)}}));
    if (!page.ok()) return Fail(page.status == 404 ? Code::kNotFound : Code::kUnavailable, page.ErrorText());
    if (page.body.empty()) return Fail(Code::kUnavailable, "the payload ends early");
    STELE_TRY_VOID(take(page.body));
    offset += page.body.size();
  }
  return {};
}

void PrintRecord(const json& answer) {
  const json& row = ObjectOf(answer, "row");
  const json& source = ObjectOf(row, "source");
  Pairs pairs{{"sequence", TextOf(row, "seq")},
              {"received", TextOf(row, "time")},
              {"kind", TextOf(row, "kind")},
              {"from", TextOf(row, "peer")},
              {"source", fmt::format("{} {} {} zone {}", TextOf(source, "id"), TextOf(source, "listener"),
                                     TextOf(source, "transport"), TextOf(source, "zone"))}};
  for (const char* name : {"format", "facility", "severity", "host", "app", "pid", "msgid", "claimed_time", "size"}) {
    if (const std::string text = TextOf(row, name); !text.empty()) pairs.emplace_back(name, text);
  }
  if (const std::string flags = FlagsText(row); !flags.empty()) pairs.emplace_back("flags", flags);
  const json& checkpoint = ObjectOf(answer, "checkpoint");
  pairs.emplace_back("checkpoint", fmt::format("{} records, {}", NumberOf(checkpoint, "size"), TextOf(checkpoint, "time")));
  PrintPairs(pairs);
  if (const json& fields = ObjectOf(answer, "fields"); !fields.empty()) {
    Print("\nfields\n");
    for (const auto& [name, value] : fields.items()) Print("  " + Safe(name) + " = " + Safe(value.is_string() ? value.get<std::string>() : value.dump()) + "\n");
  }
  Print("\npayload\n");
  const Bytes payload = BytesOf(answer, "payload_b64");
  Print(Safe(AsText(payload)) + "\n");
  const auto size = NumberOf(answer, "payload_size");
  if (size > static_cast<std::int64_t>(payload.size())) {
    Print(fmt::format("... the first {} of {} bytes; all of them: stele show {} --raw\n", payload.size(), size, TextOf(row, "seq")));
  }
}

// https://c2sp.org/tlog-proof: the inclusion proof with the checkpoint it leads to, as one text file.
std::string TlogProof(std::uint64_t sequence, const json& hashes, const std::string& note) {
  std::string text = "c2sp.org/tlog-proof@v1\nindex " + std::to_string(sequence) + "\n";
  for (const auto& hash : hashes) {
    const auto bytes = ParseHex(hash.is_string() ? hash.get<std::string>() : "");
    if (bytes) text += Base64Of(*bytes) + "\n";
  }
  return text + "\n" + note;
}

std::string ProofReadme(std::uint64_t sequence, const json& anchor) {
  std::string text = fmt::format(
      "Evidence for record {0}\n\n"
      "entry.bin          the 92-byte entry; SHA-256(0x00 || entry.bin) is the leaf\n"
      "payload.bin        the raw message\n"
      "salt.bin, peer.bin SHA-256(\"stele/payload/v1\" || salt || peer || payload) stands at byte 56 of the entry\n"
      "checkpoint         the signed note (C2SP tlog-checkpoint); log.vkey is the key it is signed with\n"
      "record.tlog-proof  inclusion proof of the entry in the checkpoint (C2SP tlog-proof)\n",
      sequence);
  if (anchor.empty()) return text + "\nNo TPM anchor covers this record yet.\n";
  return text + fmt::format(
                    "anchor.json        the receipt of anchor {0}: quote and certifications with their qualifying data\n"
                    "quote.attest, quote.signature, ak.pem   the TPM's quote (TPMS_ATTEST, TPMT_SIGNATURE) and its key:\n"
                    "    tpm2_checkquote -u ak.pem -m quote.attest -s quote.signature -g sha256 -q {1}\n",
                    NumberOf(anchor, "number"), TextOf(ObjectOf(anchor, "qualifying"), "quote"));
}

// The oldest anchor in the answer that covers the record; an empty object when none does.
json CoveringAnchor(const json& integrity, std::uint64_t sequence) {
  json covering = json::object();
  for (const auto& anchor : integrity.value("anchors", json::array())) {
    const auto size = NumberOf(anchor, "size");
    if (size > static_cast<std::int64_t>(sequence) && (covering.empty() || size < NumberOf(covering, "size"))) covering = anchor;
  }
  return covering;
}

Result<void> WriteEvidence(Client& client, std::uint64_t sequence, const json& answer, const fs::path& folder) {
  STELE_TRY(const json integrity, GetJson(client, "/api/v1/integrity"));
  const json& row = ObjectOf(answer, "row");
  const json& checkpoint = ObjectOf(answer, "checkpoint");
  const std::string note = checkpoint.value("note", std::string());
  const json anchor = CoveringAnchor(integrity, sequence);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Fail(Code::kIo, "make directory " + folder.string(), static_cast<std::uint32_t>(error.value()));
  const auto write = [&folder](const char* name, ByteView data) { return WriteFileDurably(folder / name, data, 0644); };
  Bytes payload;
  STELE_TRY_VOID(EachPage(client, sequence, PayloadSize(answer), [&payload](std::string_view page) -> Result<void> {
    Append(payload, AsBytes(page));
    return {};
  }));
  STELE_TRY_VOID(write("payload.bin", payload));
  STELE_TRY_VOID(write("entry.bin", BytesOf(row, "entry_b64")));
  STELE_TRY_VOID(write("salt.bin", BytesOf(row, "salt_b64")));
  STELE_TRY_VOID(write("peer.bin", BytesOf(row, "peer_b64")));
  STELE_TRY_VOID(write("checkpoint", AsBytes(note)));
  STELE_TRY_VOID(write("log.vkey", AsBytes(integrity.value("vkey", std::string()) + "\n")));
  STELE_TRY_VOID(write("record.tlog-proof", AsBytes(TlogProof(sequence, row.value("proof", json::array()), note))));
  if (!anchor.empty()) {
    const json& quote = ObjectOf(anchor, "quote");
    STELE_TRY_VOID(write("anchor.json", AsBytes(anchor.dump(2) + "\n")));
    STELE_TRY_VOID(write("quote.attest", BytesOf(quote, "attest_b64")));
    STELE_TRY_VOID(write("quote.signature", BytesOf(quote, "signature_b64")));
    STELE_TRY_VOID(write("ak.pem", AsBytes(ObjectOf(integrity, "provisioning").value("ak_public_pem", std::string()))));
  }
  return write("README", AsBytes(ProofReadme(sequence, anchor)));
}

void PrintProof(const json& answer) {
  const json& row = ObjectOf(answer, "row");
  const json& checkpoint = ObjectOf(answer, "checkpoint");
  Print("\nproof\n");
  PrintPairs({{"  entry", TextOf(row, "entry_b64")},
              {"  salt", TextOf(row, "salt_b64")},
              {"  tree size", TextOf(checkpoint, "size")},
              {"  root", TextOf(checkpoint, "root")}});
  for (const auto& hash : row.value("proof", json::array())) {
    if (hash.is_string()) Print("  " + Safe(hash.get<std::string>()) + "\n");
  }
}

Result<void> Show(Client& client, const ShowOptions& options) {
  STELE_TRY(const json answer, GetJson(client, "/api/v1/record/" + std::to_string(options.sequence)));
  if (options.raw) {
    return EachPage(client, options.sequence, PayloadSize(answer), [](std::string_view page) -> Result<void> {
      if (std::fwrite(page.data(), 1, page.size(), stdout) != page.size()) return FailErrno("write to standard output");
      return {};
    });
  }
  if (!options.output_dir.empty()) {
    STELE_TRY_VOID(WriteEvidence(client, options.sequence, answer, options.output_dir));
    Print("evidence written to " + Safe(options.output_dir) + "\n");
    return {};
  }
  if (options.json) {
    PrintJson(answer);
    return {};
  }
  PrintRecord(answer);
  if (options.proof) PrintProof(answer);
  return {};
}

}  // namespace

int RunShow(const Home& home, const ShowOptions& options) {
  auto client = Client::Connect(home);
  if (!client) return Complain(client.error());
  const auto shown = Show(*client, options);
  return shown ? kExitYes : Complain(shown.error());
}

}  // namespace stele::daemons::cli
