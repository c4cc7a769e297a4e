// stele policy approve: a person signs that a policy may replace the one in force (netfilter/approval.h). Needs no
// running appliance when it is told what is in force.
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <cstdio>
#include <memory>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/policy_change.h"
#include "appliance/daemons/cli/policy_load.h"
#include "netfilter/approval.h"
#include "netfilter/guard/requests.h"
#include "netfilter/matrix.h"
#include "netfilter/policy_text.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

constexpr std::int64_t kDayNs = 86'400'000'000'000;
constexpr std::size_t kKeyBytesMax = 16 * limits::kKiB;

Result<Bytes> Sign(const std::string& key_file, std::string_view statement) {
  STELE_TRY(const Bytes pem, ReadFile(key_file, kKeyBytesMax));
  const std::unique_ptr<BIO, decltype(&::BIO_free)> in(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                       &::BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key(
      in ? ::PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr, &::EVP_PKEY_free);
  if (!key || ::EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519)
    return Fail(Code::kInvalid, key_file + " is no Ed25519 private key (openssl genpkey -algorithm ed25519)");
  const std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
  Bytes signature(64);
  std::size_t size_bytes = signature.size();
  const auto* message = reinterpret_cast<const unsigned char*>(statement.data());
  if (!context || ::EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      ::EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size_bytes, message,
                       statement.size()) != 1 ||
      size_bytes != signature.size()) {
    return Fail(Code::kUnavailable, "cannot sign with " + key_file);
  }
  return signature;
}

Result<json> InForceOf(const Home& home, const std::string& file) {
  if (file.empty()) return AskGuard(home, {{"op", "show"}});
  STELE_TRY(const Bytes text, ReadFile(file, limits::kPolicyRequestBytes));
  auto parsed = json::parse(AsText(text), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Fail(Code::kInvalid, file + " is not what stele policy show --json says");
  return parsed;
}

// What would change, for whoever signs.
void PrintDiff(const json& in_force, const netfilter::Policy& newer) {
  const auto older = netfilter::ParsePolicyText(in_force.value("policy", ""));
  if (!older) return;
  const auto clauses = netfilter::DiffTexts(netfilter::DiffOf(*older, newer));
  for (const std::string& clause : clauses) Print(Safe(clause) + "\n");
  if (clauses.empty()) Print("nothing opens and nothing closes\n");
}

}  // namespace

int RunPolicyApprove(const Home& home, const PolicyChangeOptions& options) {
  int status = kExitYes;
  const auto named = LoadPolicy(options.file, status);
  if (!named) return status;
  if (SayErrors(*named)) return kExitUsage;
  if (!netfilter::IsApproverName(options.name))
    return Complain(Error{Code::kInvalid, "--name: not the name of an approver"});
  const auto in_force = InForceOf(home, options.in_force);
  if (!in_force) return Complain(in_force.error());
  netfilter::ApprovalSubject subject;
  subject.log = TextOf(*in_force, "log");
  subject.replaces = TextOf(*in_force, "digest");
  subject.entry = static_cast<std::uint64_t>(NumberOf(*in_force, "entry"));
  subject.policy = netfilter::PolicyDigest(netfilter::PolicyText(named->policy));
  SystemClock clock;
  const std::string statement =
      netfilter::ApprovalStatement(subject, options.name, clock.WallNs() + options.days * kDayNs);
  const auto signature = Sign(options.key, statement);
  if (!signature) return Complain(signature.error());
  const std::string text = netfilter::ApprovalText(statement, *signature);
  if (!netfilter::ParseApproval(text)) return Complain(Error{Code::kInvalid, "what is in force is not understood"});
  PrintDiff(*in_force, named->policy);
  if (const auto written = WriteFileDurably(options.output, AsBytes(text), 0644); !written)
    return Complain(written.error());
  return kExitYes;
}

}  // namespace stele::daemons::cli
