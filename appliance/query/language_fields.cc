#include "appliance/query/language_fields.h"

#include <algorithm>
#include <array>

#include "appliance/base/limits.h"
#include "appliance/query/glob.h"
#include "appliance/query/language.h"
#include "appliance/query/regex.h"
#include "appliance/record/entry.h"

namespace stele::query {
namespace {

using Made = tl::expected<Node, FieldError>;

struct KnownField {
  std::string_view name;
  Field field;
};
constexpr std::array<KnownField, 13> kFields = {{{"host", Field::kHost},
                                                 {"app", Field::kApp},
                                                 {"pid", Field::kPid},
                                                 {"msgid", Field::kMsgid},
                                                 {"msg", Field::kMsg},
                                                 {"facility", Field::kFacility},
                                                 {"severity", Field::kSeverity},
                                                 {"kind", Field::kKind},
                                                 {"flag", Field::kFlag},
                                                 {"source", Field::kSource},
                                                 {"peer", Field::kPeer},
                                                 {"seq", Field::kSeq},
                                                 {"size", Field::kSize}}};

struct Alias {
  std::string_view written;
  std::string_view meant;
};
constexpr std::array<Alias, 24> kAliases = {
    {{"hostname", "host"},  {"device", "host"},    {"program", "app"},  {"prog", "app"},    {"tag", "app"},
     {"appname", "app"},    {"application", "app"}, {"procid", "pid"},  {"sev", "severity"}, {"level", "severity"},
     {"priority", "severity"}, {"fac", "facility"}, {"message", "msg"}, {"text", "msg"},    {"src", "source"},
     {"listener", "source"}, {"zone", "source"},   {"client", "peer"},  {"type", "kind"},   {"sequence", "seq"},
     {"length", "size"},    {"flags", "flag"},    {"address", "ip"},     {"cidr", "ip"}}};
constexpr std::string_view kFieldList = "host app pid msgid msg facility severity kind flag source peer ip seq size json.<path> sd.<id>.<name>";

tl::unexpected<FieldError> Error(std::string message, std::string hint = {}) {
  return tl::unexpected(FieldError{std::move(message), std::move(hint)});
}

std::string InQuotes(std::string_view word) {
  std::string out = "\"";
  for (const char c : word) {
    if (c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view MeantBy(std::string_view name) {
  const std::string lower = Lower(name);
  for (const KnownField& known : kFields) {
    if (known.name == lower) return known.name;
  }
  for (const Alias& alias : kAliases) {
    if (alias.written == lower) return alias.meant;
  }
  return {};
}

Node BareTerm(Op op, Value value) {
  Node node;
  node.kind = Node::Kind::kTerm;
  node.op = op;
  node.value = std::move(value);
  return node;
}

Node FieldTerm(const FieldStart& field, Value value) {
  Node node = BareTerm(field.op, std::move(value));
  node.field = field.field;
  node.path = field.path;
  return node;
}

Made RegexTerm(const FieldStart& field, const RawValue& raw) {
  if (raw.text.size() > limits::kRegexBytes) return Error("the regular expression is longer than 256 bytes");
  if (field.op != Op::kIs) return Error("a regular expression goes with : only", field.name + ":/" + raw.text + "/");
  if (const auto problem = RegexProblem(raw.text, raw.ignore_case)) return Error("not an RE2 regular expression: " + *problem);
  Value value;
  value.kind = Value::Kind::kRegex;
  value.text = raw.text;
  value.ignore_case = raw.ignore_case;
  return FieldTerm(field, std::move(value));
}

Value TextValue(std::string text) {
  Value value;
  value.text = std::move(text);
  return value;
}

Value NetworkValue(const Network& network) {
  Value value;
  value.kind = Value::Kind::kNetwork;
  value.network = network;
  return value;
}

// A glob that is found anywhere in running text: stars at its ends say nothing.
Value FloatingGlob(std::string_view text) {
  while (text.starts_with('*')) text.remove_prefix(1);
  while (text.ends_with('*')) text.remove_suffix(1);
  Value value = TextValue(std::string(text));
  if (HasGlobChars(text)) value.kind = Value::Kind::kGlob;
  return value;
}

// "1.2.3.4/33": clearly meant as a network.
bool IsBrokenNetwork(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || !ParseAddress(text.substr(0, slash))) return false;
  const std::string_view bits = text.substr(slash + 1);
  return bits.find_first_not_of("0123456789") == std::string_view::npos;
}

Made BareValue(const FieldStart& field, const RawValue& raw) {
  if (raw.form == RawValue::Form::kPhrase) {
    if (raw.text.empty()) return Error("empty quotation marks");
    return FieldTerm(field, TextValue(raw.text));
  }
  if (field.field == Field::kAny) {
    if (const auto network = ParseNetwork(raw.text)) return FieldTerm(field, NetworkValue(*network));
    if (IsBrokenNetwork(raw.text)) return Error("a prefix length is 0 to 32 for IPv4, 0 to 128 for IPv6");
  }
  if (!HasGlobChars(raw.text)) return FieldTerm(field, TextValue(raw.text));
  Value value = FloatingGlob(raw.text);
  if (value.text.empty()) return field.field == Field::kAny ? Node{} : Made(Error("this pattern matches every message"));
  return FieldTerm(field, std::move(value));
}

Made IpTerm(const FieldStart& field, const RawValue& raw) {
  const auto network = ParseNetwork(raw.text);
  if (!network) return Error("ip needs an address or a network", "ip:192.0.2.7, ip:10.0.0.0/8 or ip:2001:db8::/32");
  if (field.op == Op::kIs || field.op == Op::kExact) return BareTerm(Op::kIs, NetworkValue(*network));
  if (field.op == Op::kNot) return Not(BareTerm(Op::kIs, NetworkValue(*network)));
  return Error("ip goes with :, = and != only", "ip:" + NetworkText(*network));
}

std::optional<double> LevelNumber(Field field, std::string_view text) {
  const std::string name = Lower(text);
  if (field == Field::kSeverity) {
    constexpr std::array<Alias, 5> kOther = {
        {{"error", "err"}, {"warn", "warning"}, {"panic", "emerg"}, {"critical", "crit"}, {"emergency", "emerg"}}};
    std::string_view meant = name;
    for (const Alias& alias : kOther) {
      if (alias.written == name) meant = alias.meant;
    }
    for (unsigned i = 0; i < 8; ++i) {
      if (SeverityName(i) == meant) return i;
    }
  } else {
    for (unsigned i = 0; i < 24; ++i) {
      if (FacilityName(i) == name) return i;
    }
  }
  const auto number = ParseNumber(text);
  const double number_max = field == Field::kSeverity ? 7 : 23;
  if (!number || *number < 0 || *number > number_max || *number != static_cast<int>(*number)) return std::nullopt;
  return number;
}

std::optional<double> WholeNumber(std::string_view text) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  const auto number = ParseNumber(text);
  if (!number || *number < 0 || *number > kExactMax || text.find('.') != std::string_view::npos) return std::nullopt;
  return number;
}

// seq, size, severity, facility: numbers, names of numbers, and ranges of them.
Made NumberTerm(const FieldStart& field, const RawValue& raw) {
  const bool level = field.field == Field::kSeverity || field.field == Field::kFacility;
  const auto read = [&](std::string_view text) { return level ? LevelNumber(field.field, text) : WholeNumber(text); };
  const std::size_t dots = raw.text.find("..");
  Value value;
  value.kind = dots == std::string::npos ? Value::Kind::kNumber : Value::Kind::kRange;
  const auto low = read(std::string_view(raw.text).substr(0, dots));
  const auto high = dots == std::string::npos ? low : read(std::string_view(raw.text).substr(dots + 2));
  if (!low || !high) {
    if (field.field == Field::kSeverity) {
      return Error("not a severity: " + raw.text, "emerg alert crit err warning notice info debug, or 0 to 7");
    }
    if (field.field == Field::kFacility) {
      return Error("not a facility: " + raw.text, "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 to local7, or 0 to 23");
    }
    return Error(field.name + " needs a whole number or a range", field.name + ":100..200");
  }
  value.low = *low;
  if (value.kind == Value::Kind::kRange) {
    if (field.op != Op::kIs) return Error("a range goes with : only", field.name + ":" + raw.text);
    if (*low > *high) return Error("the range runs backwards");
    value.high = *high;
  }
  return FieldTerm(field, std::move(value));
}

Made KindTerm(const FieldStart& field, const RawValue& raw) {
  if (field.op != Op::kIs && field.op != Op::kExact && field.op != Op::kNot) return Error("kind goes with :, = and != only");
  const std::string name = Lower(raw.text);
  const bool glob = field.op == Op::kIs && raw.form == RawValue::Form::kWord && HasGlobChars(name);
  std::string all;
  for (std::uint8_t i = 1; i <= record::kKindMax; ++i) {
    const std::string_view known = record::KindName(static_cast<record::Kind>(i));
    if (glob ? GlobMatches(name, known) : name == known) {
      Value value = TextValue(name);
      if (glob) value.kind = Value::Kind::kGlob;
      return FieldTerm(field, std::move(value));
    }
    all += (all.empty() ? "" : " ") + std::string(known);
  }
  return Error("not a kind: " + raw.text, all);
}

Made FlagTerm(const FieldStart& field, const RawValue& raw) {
  if (field.op != Op::kIs && field.op != Op::kExact && field.op != Op::kNot) return Error("flag goes with :, = and != only");
  const std::string name = Lower(raw.text);
  if (name.empty()) return FieldTerm(field, TextValue(name));  // no flag at all
  const bool glob = field.op == Op::kIs && raw.form == RawValue::Form::kWord && HasGlobChars(name);
  std::string all;
  for (unsigned bit = 0; bit < 16; ++bit) {
    const std::string known = record::FlagNames(static_cast<std::uint16_t>(1U << bit));
    if (known.empty()) continue;
    if (glob ? GlobMatches(name, known) : name == known) {
      Value value = TextValue(name);
      if (glob) value.kind = Value::Kind::kGlob;
      return FieldTerm(field, std::move(value));
    }
    all += (all.empty() ? "" : " ") + known;
  }
  return Error("not a flag: " + raw.text, all);
}

// host, app, pid, msgid, source, peer, sd.*, json.*: a whole value.
Made WholeValueTerm(const FieldStart& field, const RawValue& raw) {
  const bool word = raw.form == RawValue::Form::kWord;
  const std::size_t dots = raw.text.find("..");
  if (field.field == Field::kPeer && word && (field.op == Op::kIs || field.op == Op::kExact || field.op == Op::kNot)) {
    if (const auto network = ParseNetwork(raw.text)) return FieldTerm(field, NetworkValue(*network));
    if (IsBrokenNetwork(raw.text)) return Error("a prefix length is 0 to 32 for IPv4, 0 to 128 for IPv6");
  }
  if (field.op == Op::kIs && word) {
    if (field.field == Field::kJson && dots != std::string::npos) {
      const auto low = ParseNumber(std::string_view(raw.text).substr(0, dots));
      const auto high = ParseNumber(std::string_view(raw.text).substr(dots + 2));
      if (low && high) {
        if (*low > *high) return Error("the range runs backwards");
        Value value;
        value.kind = Value::Kind::kRange;
        value.low = *low;
        value.high = *high;
        return FieldTerm(field, std::move(value));
      }
    }
    Value value = TextValue(raw.text);
    if (HasGlobChars(raw.text)) value.kind = Value::Kind::kGlob;
    return FieldTerm(field, std::move(value));
  }
  if (field.op == Op::kIs || field.op == Op::kExact || field.op == Op::kNot) {
    if (word && HasGlobChars(raw.text)) {
      return Error("= and != compare exactly; patterns go with :", field.name + ":" + raw.text + ", or " + field.name + "=\"" + raw.text + "\"");
    }
    return FieldTerm(field, TextValue(raw.text));
  }
  if (field.field != Field::kJson) return Error(field.name + " is text: it goes with :, = and != only");
  const auto number = ParseNumber(raw.text);
  if (!number) return Error("< <= > >= need a number");
  Value value;
  value.kind = Value::Kind::kNumber;
  value.low = *number;
  return FieldTerm(field, std::move(value));
}

Made MsgTerm(const FieldStart& field, const RawValue& raw) {
  if (field.op == Op::kIs) return BareValue(field, raw);
  if (field.op == Op::kExact || field.op == Op::kNot) return WholeValueTerm(field, raw);
  return Error("msg is text: it goes with :, = and != only");
}

bool PathIsWhole(std::string_view path) {
  return !path.empty() && path.front() != '.' && path.back() != '.' && path.find("..") == std::string_view::npos;
}

}  // namespace

bool LooksLikeField(std::string_view name) {
  if (name.empty()) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (!letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [&letter](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '@' || c == '-' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80;
  });
}

std::size_t TakeOperator(std::string_view text, Op& op) {
  const bool equals = text.size() > 1 && text[1] == '=';
  switch (text.front()) {
    case ':': op = Op::kIs; return 1;
    case '=': op = Op::kExact; return 1;
    case '!': op = Op::kNot; return 2;
    case '<': op = equals ? Op::kLessEqual : Op::kLess; break;
    default: op = equals ? Op::kGreaterEqual : Op::kGreater; break;
  }
  return equals ? 2 : 1;
}

tl::expected<FieldStart, FieldError> ResolveField(FieldStart start, std::string_view word) {
  for (const KnownField& known : kFields) {
    if (known.name == start.name) {
      start.field = known.field;
      return start;
    }
  }
  if (start.name == "ip") {
    start.is_ip = true;
    return start;
  }
  if (start.name.starts_with("json.")) {
    start.field = Field::kJson;
    start.path = start.name.substr(5);
    if (!PathIsWhole(start.path)) return Error("json needs the path of a member", "json.user.name:anna");
    return start;
  }
  if (start.name.starts_with("sd.")) {
    start.field = Field::kSd;
    start.path = start.name.substr(3);
    if (!PathIsWhole(start.path) || start.path.find('.') == std::string::npos) {
      return Error("sd needs an element and a parameter", "sd.origin.ip:192.0.2.7");
    }
    return start;
  }
  if (start.name == "json" || start.name == "sd") {
    return Error(start.name + " needs a path", start.name == "sd" ? "sd.<id>.<name>:value" : "json.<path>:value");
  }
  if (start.name == "time" || start.name == "from" || start.name == "to" || start.name == "since") {
    return Error("the time range is not part of the query: choose it beside it", InQuotes(word));
  }
  const std::string_view meant = MeantBy(start.name);
  std::string hint = "for the text itself write " + InQuotes(word);
  if (!meant.empty()) hint = "did you mean " + std::string(meant) + "? " + hint;
  return Error("unknown field " + start.name + " (fields: " + std::string(kFieldList) + ")", std::move(hint));
}

tl::expected<Node, FieldError> MakeTerm(const FieldStart& field, const RawValue& raw) {
  constexpr std::ptrdiff_t kWildcardsMax = 16;
  std::string_view pattern = raw.text;  // a * at each end is how "found anywhere" is written
  if (pattern.starts_with('*')) pattern.remove_prefix(1);
  if (pattern.ends_with('*')) pattern.remove_suffix(1);
  if (raw.form == RawValue::Form::kWord && field.op == Op::kIs &&
      std::count_if(pattern.begin(), pattern.end(), [](char c) { return c == '*' || c == '?'; }) > kWildcardsMax) {
    return Error("more than 16 * and ? in one pattern", InQuotes(raw.text));
  }
  if (field.is_ip) return IpTerm(field, raw);
  if (raw.form == RawValue::Form::kRegex) {
    const bool text = field.field != Field::kSeq && field.field != Field::kSize && field.field != Field::kKind && field.field != Field::kFlag &&
                      field.field != Field::kSeverity && field.field != Field::kFacility;
    if (!text) return Error(field.name + " does not go with a regular expression");
    return RegexTerm(field, raw);
  }
  switch (field.field) {
    case Field::kAny: return BareValue(field, raw);
    case Field::kMsg: return MsgTerm(field, raw);
    case Field::kSeq:
    case Field::kSize:
    case Field::kSeverity:
    case Field::kFacility: return NumberTerm(field, raw);
    case Field::kKind: return KindTerm(field, raw);
    case Field::kFlag: return FlagTerm(field, raw);
    default: return WholeValueTerm(field, raw);
  }
}

}  // namespace stele::query
