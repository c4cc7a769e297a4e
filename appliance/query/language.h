// The query language: filters only. docs/query.md explains it to its users; tests/data/query_vectors.ndjson is the shared
// set of examples.
//
//   query = [ or ] ;  or = and { "OR" and } ;  and = unary { ["AND"] unary } ;
//   unary = ( "NOT" | "-" | "!" ) unary | "(" or ")" | term ;
//   term  = field op value | field ":" "(" value { ["OR"] value } ")" | phrase | regex | address | glob | word ;
//   op    = ":" | "=" | "!=" | "<" | "<=" | ">" | ">=" ;  value = phrase | regex | glob | word | number [ ".." number ] ;
//   regex = "/" RE2 "/" ["i"] ;
//
// A "/" opens a regular expression only when the next unescaped "/" is followed by a blank, ")" or the end (an "i" between)
// and no ")" closes more than was opened inside: /var/log/x is a word. Blanks never stand around an operator.
// Whatever is not understood is an error with its place and, where there is one, the right way to say it: never zero hits.
// Bounds: limits::kQueryBytes, kQueryTerms, kQueryDepth (parentheses, value groups, NOT), kRegexBytes.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "appliance/query/ast.h"

namespace stele::query {

struct QueryError {
  std::string message;     // one clause for a person
  std::string hint;        // what to write instead, empty when there is no single answer
  std::size_t column = 1;  // from 1, counted in code points
};

// Total: any bytes give a tree or an error. Empty or blank text is kAll.
[[nodiscard]] tl::expected<Node, QueryError> ParseQuery(std::string_view text);

// A decimal number as the language and the JSON comparison read it: an optional minus, digits, an optional fraction.
[[nodiscard]] std::optional<double> ParseNumber(std::string_view text);

}  // namespace stele::query
