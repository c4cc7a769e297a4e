// Who asks, and what that person may do and see. Roles and permissions: docs/query.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/query/ast.h"
#include "appliance/query/matcher.h"

namespace stele::query {

enum class Role : std::uint8_t { kViewer, kOperator, kAuditor, kSecurityOfficer, kMetrics, kLocalOperator };
[[nodiscard]] const char* RoleName(Role role);  // viewer operator auditor security-officer metrics local-operator
// metrics may read /metrics and nothing else: a program's, not a person's.
// local-operator is nobody's to give: it belongs to the local socket.
[[nodiscard]] std::optional<Role> ParseRole(std::string_view name);

enum class Permission : std::uint8_t { kSearch, kExport, kProof, kBundle, kAccessAll, kSourcesAll };
[[nodiscard]] const char* PermissionName(Permission permission);  // search export proof bundle access_all sources_all
[[nodiscard]] bool Allows(Role role, Permission permission);
[[nodiscard]] std::vector<std::string> PermissionNames(Role role);

struct Identity {
  std::string user;
  Role role = Role::kViewer;
  std::string via;                  // certificate, password, socket
  std::vector<std::string> sources;  // globs of the sources in scope; empty = all
};

// What every query of this person is joined with, by AND, on the parsed tree.
struct Scope {
  Node must;           // kAll: everything
  KindSet named = 0;   // kinds that `must` is about, so that default searches do not leave them out
  bool sources_all = true;
};
// Source globs; one's own access entries unless access_all; nothing but access entries for who may not search.
[[nodiscard]] Scope ScopeOf(const Identity& identity);

}  // namespace stele::query
