#include "appliance/ingest/bulk_body.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <iterator>

#include "appliance/ingest/http_answer.h"
#include "appliance/ingest/json_walk.h"
#include "appliance/ingest/jws.h"

namespace stele::ingest {
namespace {

using Action = BulkBody::Action;
constexpr std::array<std::string_view, 4> kActionNames = {"create", "index", "update", "delete"};
constexpr std::size_t kIndexShownBytes = 128;  // a longer one is stored with its action, and left out of the answer

std::optional<Action> ActionNamed(std::string_view name) {
  for (std::size_t i = 0; i < kActionNames.size(); ++i) {
    if (kActionNames[i] == name) return static_cast<Action>(i);
  }
  return std::nullopt;
}

bool IsStored(Action action) { return action == Action::kCreate || action == Action::kIndex; }

}  // namespace

BulkBody::BulkBody(std::string_view default_index, JsonChecker& checker, std::size_t actions_max)
    : checker_(checker), actions_max_(actions_max) {
  std::string literal;
  if (!default_index.empty()) AppendQuoted(literal, default_index.substr(0, kIndexShownBytes));
  index_literals_.push_back(std::move(literal));
}

Result<void> BulkBody::Append(ByteView part) {
  stele::Append(body_, part);
  while (scanned_ < body_.size()) {
    const void* found = std::memchr(body_.data() + scanned_, '\n', body_.size() - scanned_);
    if (found == nullptr) {
      scanned_ = body_.size();
      break;
    }
    const auto end = static_cast<std::size_t>(static_cast<const std::byte*>(found) - body_.data());
    STELE_TRY_VOID(TakeLine(line_start_, end));
    line_start_ = end + 1;
    scanned_ = end + 1;
    ++line_;
  }
  return {};
}

Result<void> BulkBody::Finish() {
  if (line_start_ < body_.size()) STELE_TRY_VOID(TakeLine(line_start_, body_.size()));
  if (wants_document_) return Fail(Code::kInvalid, "the last action has no document");
  if (items_.empty()) return Fail(Code::kInvalid, "a body of actions and documents is required");
  return {};
}

Result<void> BulkBody::TakeLine(std::size_t start, std::size_t end) {
  const ByteView text = EventOfLine(ByteView(body_).subspan(start, end - start));
  if (!wants_document_) return text.empty() ? Result<void>() : TakeAction(start, start + text.size());
  if (text.empty())
    return Fail(Code::kInvalid, "line " + std::to_string(line_) + ": an empty line where a document should be");
  TakeDocument(start, start + text.size());
  return {};
}

Result<void> BulkBody::TakeAction(std::size_t start, std::size_t end) {
  const std::string_view line = AsText(ByteView(body_).subspan(start, end - start));
  if (items_.size() == actions_max_) return Fail(Code::kUnavailable, "too many actions in one body");
  if (line != last_action_ || items_.empty()) {
    STELE_TRY_VOID(ReadAction(line));
    last_action_ = line;
  }
  action_start_ = start;
  wants_document_ = current_.action != Action::kDelete;
  if (wants_document_) return {};
  ++refused_;
  items_.push_back(current_);
  return {};
}

// Into current_.
Result<void> BulkBody::ReadAction(std::string_view line) {
  const auto malformed = [this](const char* why) {
    return Fail(Code::kInvalid, "line " + std::to_string(line_) + ": " + why);
  };
  if (!checker_.IsJson(AsBytes(line))) return malformed("an action must be one JSON object");
  std::size_t members = 0;
  bool well_formed = true;
  std::optional<Action> action;
  std::string_view index;
  const bool walked = WalkObject(line, [&](std::string_view name, std::string_view value) {
    ++members;
    action = ActionNamed(name);
    well_formed = WalkObject(value, [&index](std::string_view inner, std::string_view literal) {
      if (inner == "_index" && literal.starts_with('"')) index = literal;
      return true;
    });
    return true;
  });
  if (!walked || members != 1 || !well_formed)
    return malformed("an action is an object with one member, itself an object");
  if (!action) return malformed("not an action: create, index, update or delete");
  current_ = Item{0, *action, true};
  if (index.empty() || index.size() > kIndexShownBytes) {
    if (!index.empty()) current_.index = static_cast<std::uint32_t>(index_literals_.size());
    if (!index.empty()) index_literals_.emplace_back();
    return {};
  }
  if (index_literals_.back() != index) index_literals_.emplace_back(index);
  current_.index = static_cast<std::uint32_t>(index_literals_.size() - 1);
  return {};
}

void BulkBody::TakeDocument(std::size_t start, std::size_t end) {
  wants_document_ = false;
  Item item = current_;
  if (IsStored(item.action)) {
    const ByteView document = ByteView(body_).subspan(start, end - start);
    item.parsed = checker_.IsJson(document);
    events_.push_back(JsonSlice{static_cast<std::uint32_t>(action_start_),
                                static_cast<std::uint32_t>(end - action_start_), line_, item.parsed,
                                SignatureFlags(document, checker_.keys())});
  } else {
    ++refused_;
  }
  items_.push_back(item);
}

std::string_view BulkDocumentOf(std::string_view payload) {
  const std::size_t line = payload.find('\n');
  if (line == std::string_view::npos || !payload.starts_with('{')) return payload;
  const std::string_view action = payload.substr(0, line);
  if (action.find("\"create\"") == std::string_view::npos && action.find("\"index\"") == std::string_view::npos)
    return payload;
  std::size_t members = 0;
  const bool walked = WalkObject(action, [&members](std::string_view name, std::string_view value) {
    const auto named = ActionNamed(name);
    return ++members == 1 && named && IsStored(*named) && value.starts_with('{') && value.ends_with('}');
  });
  return walked && members == 1 ? payload.substr(line + 1) : payload;
}

std::string BulkBody::Answer(const JsonOutcome& outcome, std::int64_t took_ms) const {
  std::string text = fmt::format("{{\"took\":{},\"errors\":{},\"items\":[", took_ms, refused_ > 0);
  SequenceNumbers numbers(outcome);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    const std::string& index = index_literals_[item.index];
    fmt::format_to(std::back_inserter(text), "{}{{\"{}\":{{", i == 0 ? "" : ",",
                   kActionNames[static_cast<std::size_t>(item.action)]);
    if (!index.empty()) fmt::format_to(std::back_inserter(text), "\"_index\":{},", index);
    if (IsStored(item.action)) {
      const std::uint64_t sequence = numbers.Next();
      fmt::format_to(std::back_inserter(text),
                     "\"_id\":\"{}\",\"_version\":1,\"result\":\"created\",\"_seq_no\":{},\"status\":201{}}}}}",
                     sequence, sequence, item.parsed ? "" : ",\"unparsed\":true");
    } else {
      text +=
          R"("status":405,"error":{"type":"action_not_allowed","reason":"a log takes create and index only; nothing was changed"}}})";
    }
  }
  return text + "]}";
}

}  // namespace stele::ingest
