// A query made ready to test records. What is cheap is asked first; a payload is taken apart only when a term needs it.
#pragma once

#include <vector>

#include "appliance/query/ast.h"
#include "appliance/query/record_fields.h"
#include "appliance/query/text_test.h"

namespace stele::query {

// Bit 1 << kind.
using KindSet = std::uint32_t;
[[nodiscard]] constexpr KindSet KindBit(record::Kind kind) { return KindSet{1} << static_cast<unsigned>(kind); }
// Left out unless a kind: term of the query names them: the log talking about itself.
inline constexpr KindSet kQuietKinds = KindBit(record::Kind::kAccess) | KindBit(record::Kind::kCheckpoint) |
                                       KindBit(record::Kind::kAnchor) | KindBit(record::Kind::kClock);
// The kinds that the kind: terms of a query name.
[[nodiscard]] KindSet KindsNamedBy(const Node& query);

// Thread safety: const, but each thread should have its own: regular expressions keep a shared cache behind a lock.
class Matcher {
 public:
  // Matches `query` as it stands, and nothing of the kinds in `left_out`.
  explicit Matcher(const Node& query, KindSet left_out = 0);
  [[nodiscard]] bool Matches(RecordFields& fields) const;

 private:
  struct Test {
    Node::Kind kind = Node::Kind::kAll;
    std::vector<Test> children;
    Field field = Field::kAny;
    Op op = Op::kIs;
    std::string path;
    Value value;
    KindSet kinds = 0;
    std::uint16_t flags = 0;
    std::vector<TextTest> text;  // one or none
    std::optional<double> number;  // json: the value's text read as a number
    int cost = 0;
  };
  static Test Make(const Node& node);
  static void Prepare(Test& test);
  static bool Holds(const Test& test, RecordFields& fields);
  static bool TermHolds(const Test& test, RecordFields& fields);
  static bool JsonHolds(const Test& test, RecordFields& fields);
  static bool JsonPathHolds(const Test& test, const simdjson::dom::element& element, std::string_view path, int depth);
  static bool JsonValueHolds(const Test& test, const simdjson::dom::element& element);
  static bool SdHolds(const Test& test, RecordFields& fields);

  Test root_;
  KindSet left_out_ = 0;
};

}  // namespace stele::query
