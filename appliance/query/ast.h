// A query as a tree, and its printed form. The tree is canonical: what is written in two ways with one meaning is one tree
// (ip:x is the bare address, a quoted word is a word, /8 clears host bits), so that Parse(Print(tree)) == tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/query/address.h"

namespace stele::query {

enum class Field : std::uint8_t {
  kAny,  // no field: the raw payload
  kHost,
  kApp,
  kPid,
  kMsgid,
  kMsg,
  kFacility,
  kSeverity,
  kKind,
  kFlag,  // any of the record's flags
  kSource,
  kPeer,
  kSeq,
  kSize,
  kJson,  // path: members with dots between them
  kSd,    // path: <id>.<name>; the name is what follows the last dot
};

enum class Op : std::uint8_t { kIs, kExact, kNot, kLess, kLessEqual, kGreater, kGreaterEqual };

struct Value {
  enum class Kind : std::uint8_t { kText, kGlob, kRegex, kNumber, kRange, kNetwork };
  Kind kind = Kind::kText;
  std::string text;          // kText, kGlob, kRegex
  bool ignore_case = false;  // kRegex
  double low = 0;            // kNumber, kRange: whole numbers below 2^53 are exact, and sequence numbers stay below it
  double high = 0;           // kRange, inclusive
  Network network;           // kNetwork
};

struct Node {
  enum class Kind : std::uint8_t { kAll, kAnd, kOr, kNot, kTerm };
  Kind kind = Kind::kAll;
  std::vector<Node> children;  // kAnd, kOr: two or more; kNot: one
  Field field = Field::kAny;   // kTerm, here and below
  std::string path;
  Op op = Op::kIs;
  Value value;
};

[[nodiscard]] bool operator==(const Value& a, const Value& b);
[[nodiscard]] bool operator==(const Node& a, const Node& b);

[[nodiscard]] const char* FieldName(Field field);  // "json" and "sd" without their path
[[nodiscard]] std::string_view SeverityName(unsigned severity);  // 0-7
[[nodiscard]] std::string_view FacilityName(unsigned facility);  // 0-23

// The canonical text of a query: what the access log keeps.
[[nodiscard]] std::string Print(const Node& node);

// kAll is neutral: And(kAll, x) = x.
[[nodiscard]] Node And(Node a, Node b);
[[nodiscard]] Node Or(Node a, Node b);
[[nodiscard]] Node Not(Node a);
[[nodiscard]] Node TextTerm(Field field, std::string text, Op op = Op::kIs, std::string path = {});

// How deep parentheses, value groups and NOT nest in the printed form; the limit is limits::kQueryDepth.
[[nodiscard]] bool HasGlobChars(std::string_view text);  // * or ?

}  // namespace stele::query
