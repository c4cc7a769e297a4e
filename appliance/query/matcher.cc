#include "appliance/query/matcher.h"

#include <algorithm>

#include "appliance/query/glob.h"
#include "appliance/query/language.h"

namespace stele::query {
namespace {

constexpr int kJsonPathDepthMax = 32;

bool Compare(Op op, const Value& value, double number) {
  if (value.kind == Value::Kind::kRange) return value.low <= number && number <= value.high;
  switch (op) {
    case Op::kIs:
    case Op::kExact:
    case Op::kNot: return number == value.low;  // kNot is turned round by the caller
    case Op::kLess: return number < value.low;
    case Op::kLessEqual: return number <= value.low;
    case Op::kGreater: return number > value.low;
    case Op::kGreaterEqual: return number >= value.low;
  }
  return false;
}

// What a test costs, roughly, in nanoseconds on a record of ordinary length; it decides speed only.
int CostOf(Field field, Value::Kind kind) {
  switch (field) {
    case Field::kSeq:
    case Field::kSize:
    case Field::kFlag:
    case Field::kKind: return 1;
    case Field::kSeverity:
    case Field::kFacility:
    case Field::kPeer: return 5;
    case Field::kSource: return 30;
    case Field::kAny: return kind == Value::Kind::kText ? 20 : 200;
    case Field::kJson: return 400;
    default: return 150;
  }
}

// The bits of the flags a value names; none: the value is empty and asks for records without flags.
std::uint16_t FlagsNamedBy(const Value& value) {
  std::uint16_t named = 0;
  for (unsigned bit = 0; bit < 16; ++bit) {
    const auto flag = static_cast<std::uint16_t>(1U << bit);
    const std::string name = record::FlagNames(flag);
    if (name.empty()) continue;
    if (value.kind == Value::Kind::kGlob ? GlobMatches(value.text, name) : value.text == name) named |= flag;
  }
  return named;
}

}  // namespace

KindSet KindsNamedBy(const Node& query) {
  KindSet named = 0;
  for (const Node& child : query.children) named |= KindsNamedBy(child);
  if (query.kind != Node::Kind::kTerm || query.field != Field::kKind) return named;
  for (std::uint8_t i = 1; i <= record::kKindMax; ++i) {
    const auto kind = static_cast<record::Kind>(i);
    const std::string_view name = record::KindName(kind);
    const bool glob = query.value.kind == Value::Kind::kGlob;
    if (glob ? GlobMatches(query.value.text, name) : query.value.text == name) named |= KindBit(kind);
  }
  return named;
}

Matcher::Matcher(const Node& query, KindSet left_out) : root_(Make(query)), left_out_(left_out) {}

Matcher::Test Matcher::Make(const Node& node) {
  Test test;
  test.kind = node.kind;
  test.field = node.field;
  test.op = node.op;
  test.path = node.path;
  test.value = node.value;
  for (const Node& child : node.children) {
    test.children.push_back(Make(child));
    test.cost += test.children.back().cost;
  }
  if (node.kind == Node::Kind::kTerm) {
    if (node.field == Field::kKind) test.kinds = KindsNamedBy(node);
    if (node.field == Field::kFlag) test.flags = FlagsNamedBy(node.value);
    Prepare(test);
  }
  std::stable_sort(test.children.begin(), test.children.end(), [](const Test& a, const Test& b) { return a.cost < b.cost; });
  return test;
}

void Matcher::Prepare(Test& test) {
  test.cost = CostOf(test.field, test.value.kind);
  const bool textual = test.value.kind == Value::Kind::kText || test.value.kind == Value::Kind::kGlob ||
                       test.value.kind == Value::Kind::kRegex;
  if (!textual || test.field == Field::kKind || test.field == Field::kFlag) return;
  const bool floating = test.field == Field::kAny || (test.field == Field::kMsg && test.op == Op::kIs);
  if (floating) {
    test.text.push_back(TextTest::Floating(test.value));
    return;
  }
  test.text.push_back(TextTest::Whole(test.value, test.op != Op::kIs));
  if (test.value.kind == Value::Kind::kText) test.number = ParseNumber(test.value.text);
}

bool Matcher::Matches(RecordFields& fields) const {
  if ((KindBit(fields.record().kind) & left_out_) != 0) return false;
  return Holds(root_, fields);
}

bool Matcher::Holds(const Test& test, RecordFields& fields) {
  const auto holds = [&fields](const Test& child) { return Holds(child, fields); };
  switch (test.kind) {
    case Node::Kind::kAll: return true;
    case Node::Kind::kAnd: return std::all_of(test.children.begin(), test.children.end(), holds);
    case Node::Kind::kOr: return std::any_of(test.children.begin(), test.children.end(), holds);
    case Node::Kind::kNot: return !Holds(test.children.front(), fields);
    case Node::Kind::kTerm: return TermHolds(test, fields) != (test.op == Op::kNot);
  }
  return false;
}

// The term without its "!": != is the exact opposite of =, so a record without the field has it.
bool Matcher::TermHolds(const Test& test, RecordFields& fields) {
  const RecordView& record = fields.record();
  const auto text = [&test](std::string_view value) { return test.text.front()(value); };
  const auto level = [&test](std::optional<unsigned> value) { return value && Compare(test.op, test.value, *value); };
  switch (test.field) {
    case Field::kAny:
      if (test.value.kind == Value::Kind::kNetwork) return TextHoldsAddressIn(fields.payload(), test.value.network);
      return text(fields.payload());
    case Field::kSeq: return Compare(test.op, test.value, static_cast<double>(record.sequence));
    case Field::kSize: return Compare(test.op, test.value, static_cast<double>(record.payload.size()));
    case Field::kKind: return (test.kinds & KindBit(record.kind)) != 0;
    case Field::kFlag: return test.flags == 0 ? record.flags == 0 : (record.flags & test.flags) != 0;
    case Field::kSeverity: return level(fields.severity());
    case Field::kFacility: return level(fields.facility());
    case Field::kHost: return text(fields.host());
    case Field::kApp: return text(fields.app());
    case Field::kPid: return text(fields.pid());
    case Field::kMsgid: return text(fields.msgid());
    case Field::kMsg: return text(fields.message());
    case Field::kPeer: {
      if (test.value.kind == Value::Kind::kNetwork) {
        const auto address = AddressOfPeer(record.peer);
        return address && test.value.network.Contains(*address);
      }
      return text(record::PeerAddressText(record.peer)) || text(record::PeerText(record.peer));
    }
    case Field::kSource: {
      const SourceNames* source = fields.source();
      if (source == nullptr) return text("");
      return text(std::to_string(source->id)) || text(source->listener) || text(source->zone) || text(source->transport) ||
             text(source->peer) || (!source->identity.empty() && text(source->identity)) ||
             (!source->sender.empty() && text(source->sender)) || (!source->target.empty() && text(source->target)) ||
             (!source->name.empty() && text(source->name));
    }
    case Field::kJson: return JsonHolds(test, fields);
    case Field::kSd: return SdHolds(test, fields);
  }
  return false;
}

bool Matcher::SdHolds(const Test& test, RecordFields& fields) {
  const ingest::ParsedMessage* parsed = fields.syslog();
  if (parsed == nullptr) return false;
  const std::size_t dot = test.path.rfind('.');
  const std::string_view id = std::string_view(test.path).substr(0, dot);
  const std::string_view name = std::string_view(test.path).substr(dot + 1);
  for (const ingest::Element& element : parsed->elements) {
    if (element.id != id) continue;
    for (std::uint32_t i = 0; i < element.parameter_count; ++i) {
      const ingest::Parameter& parameter = parsed->parameters[element.parameter_first + i];
      if (parameter.name != name) continue;
      const bool escaped = parameter.value.find('\\') != std::string_view::npos;
      if (escaped ? test.text.front()(ingest::Unescape(parameter.value)) : test.text.front()(parameter.value)) return true;
    }
  }
  return false;
}

bool Matcher::JsonHolds(const Test& test, RecordFields& fields) {
  const auto object = fields.json();
  if (!object) return false;
  return JsonPathHolds(test, *object, test.path, 0);
}

// A member's own name may hold dots ("http.status"): at each object the whole rest of the path is tried first.
bool Matcher::JsonPathHolds(const Test& test, const simdjson::dom::element& element, std::string_view path, int depth) {
  if (depth > kJsonPathDepthMax) return false;
  simdjson::dom::array array;
  if (element.get_array().get(array) == simdjson::SUCCESS) {  // any element of an array
    for (const simdjson::dom::element item : array) {
      if (JsonPathHolds(test, item, path, depth + 1)) return true;
    }
    return false;
  }
  if (path.empty()) return JsonValueHolds(test, element);
  simdjson::dom::object object;
  if (element.get_object().get(object) != simdjson::SUCCESS) return false;
  simdjson::dom::element member;
  if (object.at_key(path).get(member) == simdjson::SUCCESS && JsonPathHolds(test, member, {}, depth + 1)) return true;
  const std::size_t dot = path.find('.');
  if (dot == std::string_view::npos || object.at_key(path.substr(0, dot)).get(member) != simdjson::SUCCESS) return false;
  return JsonPathHolds(test, member, path.substr(dot + 1), depth + 1);
}

bool Matcher::JsonValueHolds(const Test& test, const simdjson::dom::element& element) {
  std::string_view text;
  const bool is_text = element.get_string().get(text) == simdjson::SUCCESS;
  double number = 0;
  bool is_number = !is_text && element.is_number() && element.get_double().get(number) == simdjson::SUCCESS;
  if (is_text && (test.text.empty() || test.number)) {  // numbers that a sender put in quotes count as numbers
    const auto parsed = ParseNumber(text);
    is_number = parsed.has_value();
    number = parsed.value_or(0);
  }
  if (test.text.empty()) return is_number && Compare(test.op, test.value, number);
  if (is_number && test.number && number == *test.number) return true;
  if (is_text) return test.text.front()(text);
  return test.text.front()(simdjson::minify(element));
}

}  // namespace stele::query
