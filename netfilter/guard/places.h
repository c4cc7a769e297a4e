// The rules of the policy in one or several network namespaces: the same table in each, since rules go by the name of
// an interface and one that is not there does no harm. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "netfilter/drift.h"
#include "netfilter/nft.h"

namespace stele::guard {

struct Namespace {
  std::string name;  // for people
  UniqueFd descriptor;
};

class Places {
 public:
  // Enters each namespace once, opens what is needed there and comes back: wants CAP_SYS_ADMIN then, and never again.
  // Without any: the namespace this process is in. kDenied, kUnavailable: as Nft::Open().
  [[nodiscard]] static Result<Places> Open(const std::vector<Namespace>& namespaces);

  // All or nothing: where one kernel table refuses, those before get `older` back (empty: no table).
  [[nodiscard]] Result<void> Apply(const std::string& ruleset, const std::string& older);
  [[nodiscard]] Result<std::vector<std::string>> DifferencesFrom(const std::string& ruleset);
  [[nodiscard]] Result<std::vector<std::string>> ForeignTables();
  [[nodiscard]] Result<netfilter::DropCounts> CountDrops();
  // The same of those namespaces alone that have a table of ours: what somebody else has done.
  [[nodiscard]] Result<std::vector<std::string>> ChangesFrom(const std::string& ruleset);

  [[nodiscard]] std::vector<int> watched() const;  // readable: rules changed
  [[nodiscard]] Result<std::vector<netfilter::RulesChange>> ReadChanges();

  // The interfaces of the one namespace this process is in; none where there are others.
  [[nodiscard]] std::optional<std::vector<std::string>> Interfaces() const;
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  struct Place {
    std::string name;             // empty: the only one
    netfilter::RulesWatch watch;  // opened before anything is applied
    netfilter::Nft nft;
  };
  [[nodiscard]] static Result<Place> OpenHere(std::string name);
  [[nodiscard]] static std::string Where(const Place& place);

  std::vector<Place> places_;
};

}  // namespace stele::guard
