#include "appliance/daemons/cli/tree_reads.h"

#include <algorithm>

#include "appliance/daemons/cli/output.h"

namespace stele::daemons::cli {
namespace {

Result<std::string> BodyOf(Client& client, const std::string& path, const Query& query) {
  STELE_TRY(Answer answer, client.Get(path, query));
  if (answer.ok()) return std::move(answer.body);
  return Fail(answer.status == 404   ? Code::kNotFound
              : answer.status == 403 ? Code::kDenied
                                     : Code::kUnavailable,
              answer.ErrorText());
}

}  // namespace

Result<TreeReads> TreeReads::Open(const Home& home) {
  STELE_TRY(Client client, Client::Connect(home));
  STELE_TRY(const std::string body, BodyOf(client, "/api/v1/integrity", {}));
  const auto integrity = nlohmann::json::parse(body, nullptr, false);
  STELE_TRY(ledger::VerifyKey log,
            ledger::ParseVkey(integrity.is_object() ? TextOf(integrity, "vkey") : std::string()));
  return TreeReads(std::move(client), std::move(log));
}

Result<std::string> TreeReads::Get(const std::string& path, const Query& query) { return BodyOf(client_, path, query); }

Result<std::string> TreeReads::Checkpoint(bool newest) {
  return Get("/log/checkpoint", newest ? Query{{"newest", "1"}} : Query{});
}

Result<std::vector<Hash>> TreeReads::Consistency(std::uint64_t from, std::uint64_t to) {
  std::vector<Hash> proof;
  if (from == 0 || from == to) return proof;
  STELE_TRY(const std::string body,
            Get("/api/v1/consistency", {{"from", std::to_string(from)}, {"to", std::to_string(to)}}));
  const auto answer = nlohmann::json::parse(body, nullptr, false);
  const auto list = answer.is_object() ? answer.find("proof") : answer.end();
  if (list == answer.end() || !list->is_array()) return Fail(Code::kUnavailable, "the answer has no proof");
  for (const auto& text : *list) {
    const auto hash = text.is_string() ? ParseHash(text.get_ref<const std::string&>()) : std::nullopt;
    if (!hash) return Fail(Code::kUnavailable, "the answer's proof is none");
    proof.push_back(*hash);
  }
  return proof;
}

Result<std::string> TreeReads::Tile(const std::string& path) { return Get("/log/" + path, {}); }

}  // namespace stele::daemons::cli
