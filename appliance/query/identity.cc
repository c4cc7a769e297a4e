#include "appliance/query/identity.h"

#include <array>

namespace stele::query {
namespace {

constexpr std::array<Role, 6> kRoles = {Role::kViewer, Role::kOperator, Role::kAuditor, Role::kSecurityOfficer, Role::kMetrics,
                                        Role::kLocalOperator};
constexpr std::array<Permission, 6> kPermissions = {Permission::kSearch, Permission::kExport,    Permission::kProof,
                                                    Permission::kBundle, Permission::kAccessAll, Permission::kSourcesAll};

}  // namespace

const char* RoleName(Role role) {
  switch (role) {
    case Role::kViewer: return "viewer";
    case Role::kOperator: return "operator";
    case Role::kAuditor: return "auditor";
    case Role::kSecurityOfficer: return "security-officer";
    case Role::kMetrics: return "metrics";
    case Role::kLocalOperator: return "local-operator";
  }
  return "viewer";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const Role role : kRoles) {
    if (role != Role::kLocalOperator && name == RoleName(role)) return role;
  }
  return std::nullopt;
}

const char* PermissionName(Permission permission) {
  switch (permission) {
    case Permission::kSearch: return "search";
    case Permission::kExport: return "export";
    case Permission::kProof: return "proof";
    case Permission::kBundle: return "bundle";
    case Permission::kAccessAll: return "access_all";
    case Permission::kSourcesAll: return "sources_all";
  }
  return "";
}

bool Allows(Role role, Permission permission) {
  switch (role) {
    case Role::kViewer: return permission == Permission::kSearch || permission == Permission::kProof;
    case Role::kOperator: return permission != Permission::kBundle && permission != Permission::kAccessAll;
    case Role::kSecurityOfficer:
      return permission == Permission::kProof || permission == Permission::kAccessAll || permission == Permission::kSourcesAll;
    case Role::kMetrics: return false;
    case Role::kAuditor:
    case Role::kLocalOperator: return true;
  }
  return false;
}

std::vector<std::string> PermissionNames(Role role) {
  std::vector<std::string> names;
  for (const Permission permission : kPermissions) {
    if (Allows(role, permission)) names.emplace_back(PermissionName(permission));
  }
  return names;
}

Scope ScopeOf(const Identity& identity) {
  Scope scope;
  const auto access_term = [] { return TextTerm(Field::kKind, record::KindName(record::Kind::kAccess)); };
  if (!Allows(identity.role, Permission::kSearch)) {
    scope.must = access_term();
    scope.named = KindBit(record::Kind::kAccess);
  } else if (!identity.sources.empty()) {
    std::vector<Node> sources;
    for (const std::string& glob : identity.sources) {
      Node term = TextTerm(Field::kSource, glob);
      if (HasGlobChars(glob)) term.value.kind = Value::Kind::kGlob;
      sources.push_back(std::move(term));
    }
    // Access entries have no source; the rule below says which of them may be seen.
    scope.must = access_term();
    for (Node& term : sources) scope.must = Or(std::move(scope.must), std::move(term));
  }
  if (!Allows(identity.role, Permission::kAccessAll)) {
    Node own = TextTerm(Field::kJson, identity.user, Op::kExact, "user");
    scope.must = And(std::move(scope.must), Or(Not(access_term()), std::move(own)));
  }
  scope.sources_all = Allows(identity.role, Permission::kSourcesAll) || identity.sources.empty();
  return scope;
}

}  // namespace stele::query
