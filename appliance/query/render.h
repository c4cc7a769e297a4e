// Records, checkpoints and the rest as the JSON of docs/api.md. Hostile bytes become U+FFFD in parsed members; payload_b64
// is the truth.
#pragma once

#include <nlohmann/json.hpp>

#include "appliance/query/record_fields.h"
#include "appliance/query/search.h"

namespace stele::query {

inline constexpr std::size_t kMemberBytesMax = 1'024;   // of one parsed member in a row
inline constexpr std::size_t kFlattenedMax = 1'000;     // JSON members and structured-data parameters of one record
inline constexpr int kFlattenedDepthMax = 16;

struct CheckpointInfo {
  std::uint64_t size = 0;
  std::string root;  // hex
  std::string note;
  std::uint64_t sequence = 0;
  std::int64_t time_ns = 0;
  nlohmann::json intent;  // the whole payload
};

// What makes a row provable.
struct RowProof {
  record::EntryBytes entry{};
  record::Salt salt{};
  std::vector<Hash> path;
};

// "identity": the client certificate's object, or what else the source entry holds; nothing when it holds nothing.
void PutIdentity(const SourceNames& source, nlohmann::json& out);
[[nodiscard]] nlohmann::json RowJson(RecordFields& fields, const RowProof* proof);
// The `fields` of /record: parsed members, structured data, JSON members by their path.
[[nodiscard]] nlohmann::json FieldsJson(RecordFields& fields);
[[nodiscard]] nlohmann::json CheckpointJson(const CheckpointInfo* checkpoint);  // null when there is none
[[nodiscard]] nlohmann::json HashesJson(const std::vector<Hash>& hashes);
[[nodiscard]] nlohmann::json ErrorJson(std::string_view code, std::string_view message);
[[nodiscard]] std::string Dump(const nlohmann::json& value);

}  // namespace stele::query
