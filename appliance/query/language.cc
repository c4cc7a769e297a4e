#include "appliance/query/language.h"

#include <charconv>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"
#include "appliance/query/language_fields.h"

namespace stele::query {
namespace {

template <typename T>
using Parsed = tl::expected<T, QueryError>;

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsOperatorChar(char c) { return c == ':' || c == '=' || c == '<' || c == '>'; }
bool EndsWord(char c) { return IsBlank(c) || c == '(' || c == ')' || c == '"'; }

// Where the operator of field op value begins, npos when the word has none.
std::size_t FindOperator(std::string_view word) {
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (IsOperatorChar(word[i]) || (word[i] == '!' && i + 1 < word.size() && word[i + 1] == '=')) return i;
  }
  return std::string_view::npos;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Parsed<Node> Run() {
    if (text_.size() > limits::kQueryBytes) return Error(limits::kQueryBytes, "the query is longer than 2,048 bytes");
    bool lossy = false;
    (void)ToUtf8(AsBytes(text_), &lossy);
    if (lossy) return tl::unexpected(QueryError{"the query is not valid UTF-8", "", 1});
    SkipBlanks();
    if (AtEnd()) return Node{};
    STELE_TRY(Node node, ParseOr(0));
    if (!AtEnd()) return Error(at_, "this ) closes nothing");
    return node;
  }

 private:
  [[nodiscard]] bool AtEnd() const { return at_ >= text_.size(); }
  [[nodiscard]] char Peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void SkipBlanks() {
    while (!AtEnd() && IsBlank(text_[at_])) ++at_;
  }
  // At an operator word? Upper case only, followed by a blank, a parenthesis or the end.
  [[nodiscard]] bool AtKeyword(std::string_view keyword) const {
    if (text_.substr(at_, keyword.size()) != keyword) return false;
    const std::size_t behind = at_ + keyword.size();
    return behind >= text_.size() || (EndsWord(text_[behind]) && text_[behind] != '"');
  }
  [[nodiscard]] tl::unexpected<QueryError> Error(std::size_t at, std::string message, std::string hint = {}) const {
    std::size_t column = 1;
    for (const char c : text_.substr(0, at)) column += (static_cast<unsigned char>(c) & 0xc0U) != 0x80U ? 1 : 0;
    return tl::unexpected(QueryError{std::move(message), std::move(hint), column});
  }
  [[nodiscard]] Parsed<std::size_t> Deeper(std::size_t depth) const {
    if (depth >= limits::kQueryDepth) return Error(at_, "nested deeper than 16 levels");
    return depth + 1;
  }

  Parsed<Node> ParseOr(std::size_t depth);
  Parsed<Node> ParseAnd(std::size_t depth);
  Parsed<Node> ParseUnary(std::size_t depth);
  Parsed<Node> ParseTerm(std::size_t depth);
  Parsed<Node> ParseWord(std::size_t depth);
  Parsed<Node> ParseFieldTerm(const FieldStart& field, std::size_t depth);
  Parsed<Node> ParseGroup(const FieldStart& field, std::size_t depth);
  Parsed<RawValue> ReadValue();
  Parsed<std::string> ReadPhrase();
  [[nodiscard]] bool TryRegex(RawValue& value);
  std::string_view ReadWord();
  [[nodiscard]] Parsed<Node> Term(const FieldStart& field, const RawValue& value, std::size_t depth) const;

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t terms_ = 0;
};

Parsed<Node> Parser::ParseOr(std::size_t depth) {
  std::vector<Node> alternatives;
  for (;;) {
    STELE_TRY(Node node, ParseAnd(depth));
    alternatives.push_back(std::move(node));
    if (!AtKeyword("OR")) break;
    at_ += 2;
  }
  if (alternatives.size() == 1) return std::move(alternatives.front());
  Node node;
  node.kind = Node::Kind::kOr;
  node.children = std::move(alternatives);
  return node;
}

Parsed<Node> Parser::ParseAnd(std::size_t depth) {
  std::vector<Node> parts;
  std::size_t and_at = std::string_view::npos;  // an AND still waiting for its right side
  for (;;) {
    SkipBlanks();
    if (AtEnd() || Peek() == ')' || AtKeyword("OR")) break;
    if (AtKeyword("AND")) {
      if (parts.empty() || and_at != std::string_view::npos) return Error(at_, "AND needs something before it");
      and_at = at_;
      at_ += 3;
      continue;
    }
    STELE_TRY(Node node, ParseUnary(depth));
    parts.push_back(std::move(node));
    and_at = std::string_view::npos;
  }
  if (and_at != std::string_view::npos) return Error(and_at, "AND needs something after it");
  if (parts.empty()) {
    if (AtKeyword("OR")) return Error(at_, "OR needs something before it", "to search for the word write \"OR\"");
    if (text_.substr(0, at_).find_last_not_of(" \t\r\n(") != std::string_view::npos) {
      return Error(at_, AtEnd() ? "the query ends where a term is missing" : "a term is missing before this )");
    }
    return Error(at_, AtEnd() ? "the query ends where a term is missing" : "empty parentheses");
  }
  if (parts.size() == 1) return std::move(parts.front());
  Node node;
  node.kind = Node::Kind::kAnd;
  node.children = std::move(parts);
  return node;
}

Parsed<Node> Parser::ParseUnary(std::size_t depth) {
  const std::size_t begin = at_;
  if (AtKeyword("NOT")) {
    at_ += 3;
    SkipBlanks();
    if (AtEnd() || Peek() == ')' || AtKeyword("AND") || AtKeyword("OR")) return Error(begin, "NOT needs something after it");
    STELE_TRY(const std::size_t inner, Deeper(depth));
    STELE_TRY(Node node, ParseUnary(inner));
    return Not(std::move(node));
  }
  if ((Peek() == '-' || Peek() == '!') && Peek(1) != '=') {
    const char sign = Peek();
    if (Peek(1) == sign) {
      std::size_t end = at_;
      while (end < text_.size() && !EndsWord(text_[end])) ++end;
      return Error(begin, "a term cannot begin with two signs", "write \"" + std::string(text_.substr(begin, end - begin)) + "\"");
    }
    if (at_ + 1 >= text_.size() || IsBlank(Peek(1)) || Peek(1) == ')') {
      return Error(begin, std::string(1, sign) + " needs a term right after it", "to search for it write \"" + std::string(1, sign) + "\"");
    }
    ++at_;
    STELE_TRY(const std::size_t inner, Deeper(depth));
    STELE_TRY(Node node, ParseUnary(inner));
    return Not(std::move(node));
  }
  if (Peek() == '(') {
    STELE_TRY(const std::size_t inner, Deeper(depth));
    ++at_;
    STELE_TRY(Node node, ParseOr(inner));
    if (Peek() != ')' || AtEnd()) return Error(begin, "this ( is never closed");
    ++at_;
    return node;
  }
  return ParseTerm(depth);
}

Parsed<Node> Parser::ParseTerm(std::size_t depth) {
  if (++terms_ > limits::kQueryTerms) return Error(at_, "more than 64 terms");
  RawValue value;
  value.begin = at_;
  if (Peek() == '"') {
    STELE_TRY(value.text, ReadPhrase());
    value.form = RawValue::Form::kPhrase;
    return Term(FieldStart{}, value, depth);
  }
  if (Peek() == '/' && TryRegex(value)) return Term(FieldStart{}, value, depth);
  return ParseWord(depth);
}

Parsed<Node> Parser::ParseWord(std::size_t depth) {
  RawValue value;
  value.begin = at_;
  const std::string_view word = ReadWord();
  value.text = std::string(word);
  const bool address = ParseNetwork(word).has_value();
  const std::size_t op_at = address ? std::string_view::npos : FindOperator(word);
  if (op_at != std::string_view::npos) {
    if (word.find_first_not_of(":=<>!") == std::string_view::npos) {
      return Error(value.begin, "an operator needs a field before it and a value after it, without blanks", "severity<=warning");
    }
    FieldStart field;
    field.begin = value.begin;
    field.name = std::string(word.substr(0, op_at));
    if (LooksLikeField(field.name)) {
      const std::size_t op_length = TakeOperator(word.substr(op_at), field.op);
      const auto known = ResolveField(field, word);
      if (!known) return Error(value.begin, known.error().message, known.error().hint);
      at_ = value.begin + op_at + op_length;
      return ParseFieldTerm(*known, depth);
    }
  }
  if (Peek() == '"' && !AtEnd()) return Error(at_, "a quotation mark inside a word", "put the whole text in quotes, with \\\" for \"");
  if (Peek() == '(' && !AtEnd()) return Error(at_, "a parenthesis inside a word", "put the whole text in quotes, or a blank before the (");
  return Term(FieldStart{}, value, depth);
}

Parsed<Node> Parser::ParseFieldTerm(const FieldStart& field, std::size_t depth) {
  if (Peek() == '(' && !AtEnd()) {
    if (field.op != Op::kIs) return Error(at_, "a list of values goes with : only", field.name + ":(a OR b)");
    return ParseGroup(field, depth);
  }
  STELE_TRY(const RawValue value, ReadValue());
  if (value.form == RawValue::Form::kWord && value.text.empty()) {
    return Error(at_, field.name + " needs a value right after the operator", "no blank between them; for an empty value write \"\"");
  }
  return Term(field, value, depth);
}

// field:(a b OR c): any of the values.
Parsed<Node> Parser::ParseGroup(const FieldStart& field, std::size_t depth) {
  const std::size_t begin = at_;
  STELE_TRY(const std::size_t inner, Deeper(depth));
  ++at_;
  std::vector<Node> alternatives;
  bool need_value = true;
  for (;;) {
    SkipBlanks();
    if (AtEnd()) return Error(begin, "this ( is never closed");
    if (Peek() == ')') break;
    if (AtKeyword("OR")) {
      if (need_value) return Error(at_, "OR needs a value before it");
      need_value = true;
      at_ += 2;
      continue;
    }
    if (AtKeyword("AND") || AtKeyword("NOT") || Peek() == '(') {
      return Error(at_, "a list of values holds values and OR only", "(" + field.name + ":a AND " + field.name + ":b)");
    }
    if (!alternatives.empty() && ++terms_ > limits::kQueryTerms) return Error(at_, "more than 64 terms");
    STELE_TRY(const RawValue value, ReadValue());
    STELE_TRY(Node node, Term(field, value, inner));
    alternatives.push_back(std::move(node));
    need_value = false;
  }
  if (need_value) return Error(at_, "a value is missing before this )");
  ++at_;
  if (alternatives.size() == 1) return std::move(alternatives.front());
  Node node;
  node.kind = Node::Kind::kOr;
  node.children = std::move(alternatives);
  return node;
}

Parsed<RawValue> Parser::ReadValue() {
  RawValue value;
  value.begin = at_;
  if (Peek() == '"' && !AtEnd()) {
    value.form = RawValue::Form::kPhrase;
    STELE_TRY(value.text, ReadPhrase());
    return value;
  }
  if (Peek() == '/' && TryRegex(value)) return value;
  value.text = std::string(ReadWord());
  if (!AtEnd() && (Peek() == '"' || Peek() == '(') && !value.text.empty()) {
    return Error(at_, "a quotation mark or parenthesis inside a value", "put the whole value in quotes, with \\\" for \"");
  }
  return value;
}

std::string_view Parser::ReadWord() {
  const std::size_t begin = at_;
  while (!AtEnd() && !EndsWord(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

Parsed<std::string> Parser::ReadPhrase() {
  const std::size_t begin = at_++;
  std::string out;
  for (; !AtEnd(); ++at_) {
    if (text_[at_] == '"') {
      ++at_;
      if (!AtEnd() && !IsBlank(Peek()) && Peek() != ')') return Error(at_, "a blank is missing after the closing quotation mark");
      return out;
    }
    if (text_[at_] == '\\' && (Peek(1) == '"' || Peek(1) == '\\')) ++at_;  // any other backslash stands for itself
    out += text_[at_];
  }
  return Error(begin, "this quotation mark is never closed");
}

bool Parser::TryRegex(RawValue& value) {
  std::string pattern;
  std::size_t open = 0;
  for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
    if (text_[i] == '\\' && i + 1 < text_.size()) {
      if (text_[i + 1] != '/') pattern += '\\';
      pattern += text_[++i];
      continue;
    }
    if (text_[i] == '(') ++open;
    if (text_[i] == ')' && open-- == 0) return false;
    if (text_[i] == '/') {
      std::size_t end = i + 1;
      value.ignore_case = end < text_.size() && text_[end] == 'i';
      if (value.ignore_case) ++end;
      if (pattern.empty() || (end < text_.size() && !IsBlank(text_[end]) && text_[end] != ')')) return false;
      at_ = end;
      value.form = RawValue::Form::kRegex;
      value.text = std::move(pattern);
      return true;
    }
    pattern += text_[i];
  }
  return false;
}

Parsed<Node> Parser::Term(const FieldStart& field, const RawValue& value, std::size_t depth) const {
  auto term = MakeTerm(field, value);
  if (!term) return Error(value.begin, term.error().message, term.error().hint);
  // Two terms print one level deeper than they are written; see ast.cc.
  const bool deeper = term->kind == Node::Kind::kNot ||
                      (term->field != Field::kAny && term->value.kind == Value::Kind::kGlob && term->value.text.starts_with('/'));
  if (deeper) STELE_TRY_VOID(Deeper(depth).map([](std::size_t) {}));
  return std::move(*term);
}

}  // namespace

tl::expected<Node, QueryError> ParseQuery(std::string_view text) { return Parser(text).Run(); }

std::optional<double> ParseNumber(std::string_view text) {
  constexpr std::size_t kDigitsMax = 24;
  std::string_view rest = text;
  if (rest.starts_with('-')) rest.remove_prefix(1);
  const std::size_t dot = rest.find('.');
  const auto digits = [](std::string_view part) {
    return !part.empty() && part.size() <= kDigitsMax && part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (!digits(rest.substr(0, dot))) return std::nullopt;
  if (dot != std::string_view::npos && !digits(rest.substr(dot + 1))) return std::nullopt;
  double number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace stele::query
