#include "appliance/evidence/bundle_format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <tuple>

#include "appliance/evidence/tree_walk.h"

namespace stele::evidence {
namespace {

using limits::kKiB;
using limits::kMiB;
using nlohmann::json;

struct Row {
  std::string_view name;
  std::uint64_t size_bytes_max;
  bool optional;
};
// Of the parts that come once, in the order of Part.
constexpr std::array<Row, static_cast<std::size_t>(Part::kProof)> kRows = {{
    {"README", 64 * kKiB, false},
    {"bundle.json", 64 * kKiB, false},
    {"provisioning/record.json", 256 * kKiB, false},
    {"provisioning/record.sig", 1 * kKiB, false},
    {"provisioning/key.pem", 4 * kKiB, false},
    {"provisioning/epochs.json", 16 * kMiB, true},
    {"tpm/ak.pem", 4 * kKiB, false},
    {"tpm/ak.tpm2b", 4 * kKiB, false},
    {"tpm/ek.der", 16 * kKiB, true},
    {"tpm/ek-chain.pem", 64 * kKiB, true},
    {"log.vkey", 1 * kKiB, false},
    {"checkpoint", 64 * kKiB, false},
    {"attest.json", 64 * kKiB, false},
    {"quote.attest", 4 * kKiB, false},
    {"quote.signature", 4 * kKiB, false},
    {"quote.der", 4 * kKiB, false},
    {"quote.pcrs", 4 * kKiB, false},
    {"quote.pcrs.tpm2-tools", 16 * kKiB, false},
    {"counter.attest", 4 * kKiB, false},
    {"counter.signature", 4 * kKiB, false},
    {"counter.der", 4 * kKiB, false},
    {"index.attest", 4 * kKiB, false},
    {"index.signature", 4 * kKiB, false},
    {"index.der", 4 * kKiB, false},
    {"receipt.json", 64 * kKiB, true},
    {"receipt-before.json", 64 * kKiB, true},
    {"anchors.cel", 16 * kMiB, false},
    {"checkpoints.tcg", 64 * kMiB, false},
    {"checkpoints.cel", 64 * kMiB, false},
    {"boot.tcg", 4 * kMiB, true},
    {"witnesses/cosigned.note", 64 * kKiB, true},
    {"witnesses/policy", 256 * kKiB, true},
}};
constexpr std::string_view kProofFolder = "proofs/";
constexpr std::string_view kProofSuffix = ".tlog-proof";
constexpr std::string_view kRecordFolder = "records/";
constexpr std::size_t kChunkDigits = 6;
constexpr std::string_view kEndTreeName = "records/end.tree";
constexpr std::string_view kVerifyPageName = "verify.html";
constexpr std::string_view kManifestName = "manifest.json";
constexpr std::array<std::string_view, 5> kChunkSuffixes = {".entries", ".tree", ".salts", ".peers", ".payloads"};

bool IsOfChunk(Part part) { return part >= Part::kEntries && part <= Part::kPayloads; }

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string NameOf(const Member& member) {
  if (member.part < Part::kProof) return std::string(kRows[static_cast<std::size_t>(member.part)].name);
  if (member.part == Part::kEndTree) return std::string(kEndTreeName);
  if (member.part == Part::kVerifyPage) return std::string(kVerifyPageName);
  if (member.part == Part::kManifest) return std::string(kManifestName);
  const std::string number = std::to_string(member.number);
  if (member.part == Part::kProof) return std::string(kProofFolder) + number + std::string(kProofSuffix);
  STELE_CHECK(member.number < kChunksMax);
  const auto suffix = static_cast<std::size_t>(member.part) - static_cast<std::size_t>(Part::kEntries);
  return std::string(kRecordFolder) + std::string(kChunkDigits - number.size(), '0') + number +
         std::string(kChunkSuffixes[suffix]);
}

std::optional<Member> ParseName(std::string_view name) {
  Member member;
  if (name == kManifestName) return Member{Part::kManifest, 0};
  if (name == kEndTreeName) return Member{Part::kEndTree, 0};
  if (name == kVerifyPageName) return Member{Part::kVerifyPage, 0};
  if (name.starts_with(kProofFolder) && name.ends_with(kProofSuffix)) {
    name.remove_prefix(kProofFolder.size());
    name.remove_suffix(kProofSuffix.size());
    const auto sequence = ParseNumber(name);
    if (!sequence || std::to_string(*sequence) != name) return std::nullopt;
    return Member{Part::kProof, *sequence};
  }
  if (name.starts_with(kRecordFolder) && name.size() > kRecordFolder.size() + kChunkDigits) {
    const auto chunk = ParseNumber(name.substr(kRecordFolder.size(), kChunkDigits));
    const auto suffix =
        std::find(kChunkSuffixes.begin(), kChunkSuffixes.end(), name.substr(kRecordFolder.size() + kChunkDigits));
    if (!chunk || suffix == kChunkSuffixes.end()) return std::nullopt;
    member.part = static_cast<Part>(static_cast<std::size_t>(Part::kEntries) +
                                    static_cast<std::size_t>(suffix - kChunkSuffixes.begin()));
    member.number = *chunk;
    return member;
  }
  const auto row = std::find_if(kRows.begin(), kRows.end(), [name](const Row& one) { return one.name == name; });
  if (row == kRows.end()) return std::nullopt;
  return Member{static_cast<Part>(row - kRows.begin()), 0};
}

std::uint64_t BoundOf(Part part) {
  if (part < Part::kProof) return kRows[static_cast<std::size_t>(part)].size_bytes_max;
  switch (part) {
    case Part::kProof: return 64 * kKiB;
    case Part::kEntries: return kChunkRecords * record::kEntryBytes;
    // Each gap before an entry holds at most 2 x 53 subtrees, each mark cuts at most one more such list.
    case Part::kTree: return (kChunkRecords + kMarksMax + 1) * 2 * 53 * kHashBytes;
    case Part::kSalts: return kChunkRecords * record::kSaltBytes;
    case Part::kPeers: return kChunkRecords * record::kPeerBytes;
    case Part::kPayloads: return std::max<std::uint64_t>(kChunkPayloadBytes, limits::kMessageBytesCeiling);
    case Part::kEndTree: return kMiB;
    default: return 4 * kMiB;
  }
}

bool IsOptional(Part part) {
  return part < Part::kProof ? kRows[static_cast<std::size_t>(part)].optional : part != Part::kManifest && part != Part::kEndTree;
}

bool ComesBefore(const Member& a, const Member& b) {
  const auto place = [](const Member& member) {
    const Part group = IsOfChunk(member.part) ? Part::kEntries : member.part;
    return std::tuple(group, member.number, member.part);
  };
  return place(a) < place(b);
}

std::string EncodeBundleInfo(const BundleInfo& info) {
  const json object = {{"bundle", "stele"},
                       {"version", kBundleVersion},
                       {"log_id", HexOf(info.log_id)},
                       {"origin", info.origin},
                       {"nonce", HexOf(info.nonce)},
                       {"created_ns", info.created_ns},
                       {"software", info.software},
                       {"selection", {{"kind", info.selection_kind}, {"text", info.selection_text}}},
                       {"scope", info.scope_limited ? "limited" : "all"},
                       {"records", info.records},
                       {"payloads", info.payloads},
                       {"log_size", info.log_size},
                       {"marks", info.marks},
                       {"anchors", {{"first", info.anchors_first}, {"count", info.anchors_count}}},
                       {"pcr_log",
                        {{"pcr", info.pcr},
                         {"start", info.pcr_from_baseline ? "baseline" : "receipt"},
                         {"events", info.pcr_events}}}};
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

namespace {

// Total access to members; the first that is missing or of another form is remembered.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {}
  [[nodiscard]] std::string Text(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_string()) return Bad<std::string>(name);
    return member->get<std::string>();
  }
  [[nodiscard]] std::uint64_t Number(const char* name, std::uint64_t number_max) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_number_unsigned() || member->get<std::uint64_t>() > number_max) {
      return Bad<std::uint64_t>(name);
    }
    return member->get<std::uint64_t>();
  }
  [[nodiscard]] bool Boolean(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_boolean()) return Bad<bool>(name);
    return member->get<bool>();
  }
  [[nodiscard]] Hash Digest(const char* name) {
    const auto hash = ParseHash(Text(name));
    return hash ? *hash : Bad<Hash>(name);
  }
  // One of two words: true for the first.
  [[nodiscard]] bool Either(const char* name, std::string_view first, std::string_view second) {
    const std::string text = Text(name);
    return text == first || text == second ? text == first : Bad<bool>(name);
  }
  [[nodiscard]] Members Object(const char* name) {
    static const json kNothing;
    const json* member = Find(name);
    return Members(member == nullptr ? kNothing : *member);
  }
  [[nodiscard]] std::vector<std::uint64_t> Ascending(const char* name, std::size_t count_max, std::uint64_t number_max) {
    const json* member = Find(name);
    std::vector<std::uint64_t> numbers;
    if (member == nullptr || !member->is_array() || member->size() > count_max) return Bad<std::vector<std::uint64_t>>(name);
    for (const json& element : *member) {
      const std::uint64_t last = numbers.empty() ? 0 : numbers.back();
      if (!element.is_number_unsigned() || element.get<std::uint64_t>() <= last || element.get<std::uint64_t>() > number_max) {
        return Bad<std::vector<std::uint64_t>>(name);
      }
      numbers.push_back(element.get<std::uint64_t>());
    }
    return numbers;
  }
  void Take(const Members& other) {
    if (fault_.empty()) fault_ = other.fault_;
  }
  void Require(bool condition, const char* name) {
    if (!condition) (void)Bad<bool>(name);
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  const json* Find(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto member = object_.find(name);
    return member == object_.end() ? nullptr : &*member;
  }
  template <typename T>
  T Bad(const char* name) {
    if (fault_.empty()) fault_ = name;
    return T{};
  }
  const json& object_;
  std::string fault_;
};

}  // namespace

Result<BundleInfo> DecodeBundleInfo(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  Members in(object);
  BundleInfo info;
  in.Require(in.Text("bundle") == "stele", "bundle");
  in.Require(in.Number("version", ~std::uint64_t{0}) == kBundleVersion, "version");
  info.log_id = in.Digest("log_id");
  info.origin = in.Text("origin");
  info.nonce = in.Digest("nonce");
  info.created_ns = static_cast<std::int64_t>(in.Number("created_ns", INT64_MAX));
  info.software = in.Text("software");
  Members selection = in.Object("selection");
  info.selection_kind = selection.Text("kind");
  info.selection_text = selection.Text("text");
  in.Take(selection);
  info.scope_limited = in.Either("scope", "limited", "all");
  info.records = in.Number("records", kTreeSizeMax);
  info.payloads = in.Boolean("payloads");
  info.log_size = in.Number("log_size", kTreeSizeMax);
  info.marks = in.Ascending("marks", kMarksMax, kTreeSizeMax);
  Members anchors = in.Object("anchors");
  info.anchors_first = anchors.Number("first", kTreeSizeMax);
  info.anchors_count = anchors.Number("count", kTreeSizeMax);
  in.Take(anchors);
  Members pcr_log = in.Object("pcr_log");
  info.pcr = static_cast<std::uint32_t>(pcr_log.Number("pcr", 23));
  info.pcr_from_baseline = pcr_log.Either("start", "baseline", "receipt");
  info.pcr_events = pcr_log.Number("events", kTreeSizeMax);
  in.Take(pcr_log);
  if (!in.fault().empty()) return Fail(Code::kInvalid, "bundle.json: member " + in.fault());
  return info;
}

}  // namespace stele::evidence
