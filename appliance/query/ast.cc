#include "appliance/query/ast.h"

#include <array>
#include <charconv>

namespace stele::query {
namespace {

constexpr std::array<std::string_view, 8> kSeverities = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};
constexpr std::array<std::string_view, 24> kFacilities = {
    "kern",   "user",   "mail",   "daemon", "auth",   "syslog", "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
    "ntp",    "audit",  "alert",  "clock",  "local0", "local1", "local2", "local3", "local4", "local5", "local6",   "local7"};

const char* OpText(Op op) {
  switch (op) {
    case Op::kIs: return ":";
    case Op::kExact: return "=";
    case Op::kNot: return "!=";
    case Op::kLess: return "<";
    case Op::kLessEqual: return "<=";
    case Op::kGreater: return ">";
    case Op::kGreaterEqual: return ">=";
  }
  return ":";
}

// May the text stand without quotes and still be read as this very text?
bool IsPlainWord(std::string_view text) {
  if (text.empty() || text == "AND" || text == "OR" || text == "NOT") return false;
  bool letter = false;
  for (const char c : text) {
    const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    if (!alpha && !other) return false;
    letter = letter || alpha;
  }
  return letter && text.front() != '-';  // digits and dots alone could be an address or a number
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string NumberText(double number) {
  std::array<char, 400> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  return {text.data(), end.ptr};
}

std::string LevelText(Field field, double number) {
  if (field == Field::kSeverity && number >= 0 && number < 8) return std::string(SeverityName(static_cast<unsigned>(number)));
  if (field == Field::kFacility && number >= 0 && number < 24) return std::string(FacilityName(static_cast<unsigned>(number)));
  return NumberText(number);
}

std::string RegexText(const Value& value) {
  std::string out = "/";
  for (std::size_t i = 0; i < value.text.size(); ++i) {
    if (value.text[i] == '\\' && i + 1 < value.text.size()) {
      out += value.text[i++];
    } else if (value.text[i] == '/') {
      out += '\\';
    }
    out += value.text[i];
  }
  return out + (value.ignore_case ? "/i" : "/");
}

std::string ValueText(Field field, const Value& value) {
  switch (value.kind) {
    case Value::Kind::kText: return IsPlainWord(value.text) ? value.text : Quoted(value.text);
    case Value::Kind::kGlob:
      if (field == Field::kAny || field == Field::kMsg) return "*" + value.text + "*";  // found anywhere: same meaning
      return value.text.starts_with('/') ? "(" + value.text + ")" : value.text;  // so that no later / makes it a regex
    case Value::Kind::kRegex: return RegexText(value);
    case Value::Kind::kNumber: return LevelText(field, value.low);
    case Value::Kind::kRange: return LevelText(field, value.low) + ".." + LevelText(field, value.high);
    case Value::Kind::kNetwork: return NetworkText(value.network);
  }
  return "\"\"";
}

void PrintTo(const Node& node, std::string& out) {
  const auto child = [&out](const Node& inner, bool parentheses) {
    if (parentheses) out += '(';
    PrintTo(inner, out);
    if (parentheses) out += ')';
  };
  switch (node.kind) {
    case Node::Kind::kAll: out += '*'; return;
    case Node::Kind::kNot:
      out += "NOT ";
      child(node.children[0], node.children[0].kind == Node::Kind::kAnd || node.children[0].kind == Node::Kind::kOr);
      return;
    case Node::Kind::kAnd:
    case Node::Kind::kOr: {
      const bool is_or = node.kind == Node::Kind::kOr;
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        if (i > 0) out += is_or ? " OR " : " ";
        const auto inner = node.children[i].kind;
        child(node.children[i], inner == Node::Kind::kOr || (inner == Node::Kind::kAnd && !is_or));
      }
      return;
    }
    case Node::Kind::kTerm: break;
  }
  if (node.field != Field::kAny) {
    out += FieldName(node.field);
    if (!node.path.empty()) out += "." + node.path;
    out += OpText(node.op);
  }
  out += ValueText(node.field, node.value);
}

Node Joined(Node::Kind kind, Node a, Node b) {
  Node node;
  node.kind = kind;
  node.children.push_back(std::move(a));
  node.children.push_back(std::move(b));
  return node;
}

}  // namespace

bool operator==(const Value& a, const Value& b) {
  return a.kind == b.kind && a.text == b.text && a.ignore_case == b.ignore_case && a.low == b.low && a.high == b.high &&
         a.network == b.network;
}

bool operator==(const Node& a, const Node& b) {
  return a.kind == b.kind && a.children == b.children && a.field == b.field && a.path == b.path && a.op == b.op &&
         a.value == b.value;
}

const char* FieldName(Field field) {
  switch (field) {
    case Field::kAny: return "";
    case Field::kHost: return "host";
    case Field::kApp: return "app";
    case Field::kPid: return "pid";
    case Field::kMsgid: return "msgid";
    case Field::kMsg: return "msg";
    case Field::kFacility: return "facility";
    case Field::kSeverity: return "severity";
    case Field::kKind: return "kind";
    case Field::kFlag: return "flag";
    case Field::kSource: return "source";
    case Field::kPeer: return "peer";
    case Field::kSeq: return "seq";
    case Field::kSize: return "size";
    case Field::kJson: return "json";
    case Field::kSd: return "sd";
  }
  return "";
}

std::string_view SeverityName(unsigned severity) { return kSeverities.at(severity); }
std::string_view FacilityName(unsigned facility) { return kFacilities.at(facility); }

std::string Print(const Node& node) {
  std::string out;
  PrintTo(node, out);
  return out;
}

Node And(Node a, Node b) {
  if (a.kind == Node::Kind::kAll) return b;
  if (b.kind == Node::Kind::kAll) return a;
  return Joined(Node::Kind::kAnd, std::move(a), std::move(b));
}

Node Or(Node a, Node b) { return Joined(Node::Kind::kOr, std::move(a), std::move(b)); }

Node Not(Node a) {
  Node node;
  node.kind = Node::Kind::kNot;
  node.children.push_back(std::move(a));
  return node;
}

Node TextTerm(Field field, std::string text, Op op, std::string path) {
  Node node;
  node.kind = Node::Kind::kTerm;
  node.field = field;
  node.op = op;
  node.path = std::move(path);
  node.value.text = std::move(text);
  return node;
}

bool HasGlobChars(std::string_view text) { return text.find_first_of("*?") != std::string_view::npos; }

}  // namespace stele::query
