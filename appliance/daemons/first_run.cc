#include "appliance/daemons/first_run.h"

#include <filesystem>

#include "appliance/anchor/epoch_files.h"
#include "appliance/anchor/keys.h"
#include "appliance/base/system.h"
#include "appliance/daemons/listeners.h"
#include "appliance/query/users.h"
#include "tpm/swtpm.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
// A TPM with Stele's registers in it, but no record of them and no log: the run that made them was interrupted. Nothing was
// promised to anybody yet, so the embedded one is made anew. A device is never cleared by us: its owner decides.
Result<anchor::SignedRecord> ProvisionOnce(const Home& home, TpmSource& source, const ProvisionChoices& choices,
                                           const SayLine& say) {
  auto record = ProvisionLog(home, source, choices, say);
  if (record || record.error().code != Code::kDenied || !source.embedded() || !choices.exchange.empty()) return record;
  say("An earlier first run was interrupted: making the embedded TPM again ...");
  STELE_TRY_VOID(source.MakeAfresh());
  ProvisionChoices again = choices;
  STELE_TRY(again.ek_authorities_pem, tpm::SwtpmCaPem(home.Tpm()));
  return ProvisionLog(home, source, again, say);
}

Result<anchor::SignedRecord> MakeRecord(const Home& home, const Config& config, TpmSource& source, ProvisionChoices choices,
                                        const SayLine& say) {
  std::error_code ignored;  // an unreadable store is found out later, by its reader
  if (!fs::is_empty(home.Store(), ignored)) {
    return Fail(Code::kCorrupt, home.ProvisioningRecord().string() + " is missing, but there is a log in " + home.Store().string() +
                                    ": put the file back; without it nothing of the log can be verified");
  }
  say("First run: provisioning the " + std::string(source.embedded() ? "embedded TPM" : "TPM") + " ...");
  choices.pcr = static_cast<std::uint32_t>(config.pcr);
  choices.origin = config.origin;
  choices.seal = SealedByDefault(config, source.embedded());
  if (source.embedded() && choices.ek_authorities_pem.empty()) {
    STELE_TRY(choices.ek_authorities_pem, tpm::SwtpmCaPem(home.Tpm()));
  }
  return ProvisionOnce(home, source, choices, say);
}

// What the record pins cannot be configured differently afterwards.
Result<void> CheckAgainstConfig(const anchor::ProvisioningRecord& record, const Config& config) {
  if (!config.origin.empty() && config.origin != record.origin) {
    return Fail(Code::kInvalid, "log.origin is \"" + config.origin + "\", but this log was provisioned " +
                                    (record.origin.empty() ? "without one" : "as \"" + record.origin + "\""));
  }
  if (static_cast<std::uint32_t>(config.pcr) != record.pcr) {
    return Fail(Code::kInvalid, "anchor.pcr is " + std::to_string(config.pcr) + ", but this log was provisioned with PCR " +
                                    std::to_string(record.pcr));
  }
  return {};
}

// Names the listeners are reached by, beside those every certificate has. A host name that no certificate can carry (an
// underscore) must not keep the appliance from starting, so only configured names may fail.
std::vector<std::string> ExtraNames(std::vector<std::string> names, const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    for (std::string& name : NamesOf(address)) {
      if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-") == std::string::npos) {
        names.push_back(std::move(name));
      }
    }
  }
  return names;
}

// The passwords of the first users exist in no other place than here: shown once, kept in keys/first-passwords.
Result<std::vector<query::FirstUser>> MakeUsers(const Home& home) {
  std::error_code ignored;  // an unreadable folder is found out by the reader
  if (fs::exists(home.State() / "users.json", ignored)) return std::vector<query::FirstUser>{};
  SystemEntropy entropy;
  STELE_TRY(auto users, query::CreateFirstUsers(home.State(),
                                                {{"auditor", query::Role::kAuditor},
                                                 {"security-officer", query::Role::kSecurityOfficer}},
                                                entropy));
  std::string kept;
  for (const auto& user : users) kept += user.name + " " + user.password + "\n";
  STELE_TRY_VOID(WriteFileDurably(home.Keys() / "first-passwords", AsBytes(kept), 0600));
  return users;
}

// Only new certificates are entered: one that the security officer has taken out stays out.
Result<void> EnterCertificates(const Home& home, const Certificates& certificates) {
  std::error_code ignored;
  const bool none_yet = !fs::exists(home.State() / "certificates.json", ignored);
  for (const PersonCertificate& person : certificates.people) {
    const auto role = query::ParseRole(person.name);
    if (!role || (!person.made_now && !none_yet)) continue;
    STELE_TRY_VOID(query::AddCertificate(home.State(), HexOf(person.sha256), person.name, *role));
  }
  return {};
}

void DescribeSignIn(const Home& home, const std::vector<query::FirstUser>& users, Identity& identity) {
  for (const auto& user : users) {
    identity.sign_in.push_back("  user " + user.name + "  password " + user.password + "  (shown once; kept in " +
                               (home.Keys() / "first-passwords").string() + ")");
  }
  if (users.empty()) identity.sign_in.push_back("  users: auditor, security-officer (first passwords in " +
                                                (home.Keys() / "first-passwords").string() + ")");
  for (const PersonCertificate& person : identity.certificates.people) {
    identity.sign_in.push_back("  certificate of the " + person.name + ": " + person.pkcs12.string() +
                               (person.made_now ? "  password " + person.password : ""));
  }
  identity.sign_in.push_back("  trust this authority in the browser: " + (home.Keys() / "ca.pem").string() + "  SHA-256 " +
                             HexOf(identity.certificates.ca_sha256));
}

}  // namespace

Result<Identity> MakeOrLoadIdentity(const Home& home, const Config& config, TpmSource& source, const ProvisionChoices& choices,
                                    const SayLine& say) {
  Identity identity;
  auto epochs = anchor::LoadEpochs(home.State());
  if (!epochs && epochs.error().code == Code::kNotFound) {
    identity.fresh = true;
    STELE_TRY(anchor::SignedRecord made, MakeRecord(home, config, source, choices, say));
    epochs = anchor::EpochChain::Begin(std::move(made));
  }
  if (!epochs) return tl::unexpected(std::move(epochs.error()));
  const anchor::ProvisioningRecord& record = epochs->current().record;
  if (!identity.fresh) STELE_TRY_VOID(CheckAgainstConfig(record, config));
  // Behind a device or a socket there may be either; the anchor compares the pinned key.
  if (!record.software_tpm && source.embedded()) {
    return Fail(Code::kInvalid, "this log was provisioned with a hardware TPM: see anchor.tpm");
  }
  if (record.software_tpm && source.kind() == TpmKind::kDevice && config.tpm.kind == TpmKind::kAuto) {
    return Fail(Code::kInvalid, "this log was provisioned with a software TPM that is not here: see anchor.tpm");
  }
  identity.log_id = HexOf(epochs->log_id());
  identity.origin = epochs->Origin();
  identity.provisioning_public_pem = epochs->genesis().signed_record.public_key_pem;
  identity.record = anchor::RecordPath(home.State(), epochs->number());
  if (record.epoch) {
    identity.epoch = {record.epoch->number, record.epoch->log_size, record.epoch->log_root, {}};
    STELE_TRY(identity.epoch.payload, anchor::EpochPayload(epochs->current().signed_record));
  }
  STELE_TRY(const anchor::Secret seed, LoadSeed(home, record, [&source] { return source.Connect(); }));
  STELE_TRY(const auto key, anchor::VerifyKeyOf(seed, identity.origin));
  if (!record.checkpoint_key.empty() && !SameBytes(record.checkpoint_key, key.public_key)) {
    return Fail(Code::kCorrupt, (record.key_sealed() ? home.SealedSeedFile(record.epoch_number()) : home.SeedFile(record.epoch_number())).string() +
                                    " is not the seed this log was provisioned with");
  }
  STELE_TRY(identity.seed, anchor::SeedMemory::Make(seed));
  identity.verification_key = key.Vkey();
  STELE_TRY(identity.genesis_payload, anchor::EpochPayload(epochs->genesis().signed_record));
  STELE_TRY(identity.certificates, RenewCertificates(home, config));
  STELE_TRY(const auto users, MakeUsers(home));
  DescribeSignIn(home, users, identity);
  return identity;
}

Result<Certificates> RenewCertificates(const Home& home, const Config& config) {
  SystemClock clock;
  std::vector<std::string> hosts = config.hosts;
  std::vector<std::string> addresses = {config.viewer_address};
  if (!config.zones_listed) {  // else each zone has a certificate of its own
    const IngestZone& zone = config.zones.front();
    hosts.insert(hosts.end(), zone.hosts.begin(), zone.hosts.end());
    addresses.insert(addresses.begin(), zone.addresses.begin(), zone.addresses.end());
  }
  STELE_TRY(Certificates certificates, EnsureCertificates(home.Keys(), ExtraNames(std::move(hosts), addresses), clock));
  STELE_TRY_VOID(EnterCertificates(home, certificates));
  return certificates;
}

Result<ServerCertificate> IngestCertificate(const Home& home, const Config& config, const IngestZone& zone,
                                            const Certificates& certificates) {
  if (!config.zones_listed) return certificates.ingest;
  SystemClock clock;
  return EnsureZoneCertificate(home.Keys(), zone.name, ExtraNames(zone.hosts, zone.addresses), clock);
}

}  // namespace stele::daemons
