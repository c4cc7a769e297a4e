#include "appliance/daemons/ingest_tls.h"

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/ingest/tls.h"

namespace stele::daemons {
namespace {

constexpr std::size_t kPemBytesMax = std::size_t{32} * 1024;

Result<std::string> ReadPem(const std::filesystem::path& dir, const std::string& name, const char* key) {
  auto text = ReadFile(dir / name, kPemBytesMax);  // an absolute name stands for itself
  if (!text) return Fail(Code::kInvalid, std::string(key) + ": " + Describe(text.error()));
  return std::string(AsText(*text));
}

Result<void> CheckPrivate(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return Fail(Code::kInvalid, "tls_key: cannot look at " + path.string());
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Fail(Code::kInvalid, "tls_key: " + path.string() + " can be read by others");
  }
  return {};
}

ingest::ClientAuth ClientAuthOf(const std::string& word) {
  if (word == "request") return ingest::ClientAuth::kRequest;
  return word == "require" ? ingest::ClientAuth::kRequire : ingest::ClientAuth::kNone;
}

}  // namespace

Result<std::string> IngestTlsJson(const std::filesystem::path& dir, const IngestZone& zone,
                                  const ServerCertificate& own) {
  ingest::TlsOptions options;
  options.certificate_pem = own.certificate_pem;
  options.key_pem = own.key_pem;
  if (!zone.tls_certificate.empty()) {
    STELE_TRY_VOID(CheckPrivate(dir / zone.tls_key));
    STELE_TRY(options.certificate_pem, ReadPem(dir, zone.tls_certificate, "tls_certificate"));
    STELE_TRY(options.key_pem, ReadPem(dir, zone.tls_key, "tls_key"));
  }
  options.allow_tls12 = zone.tls_min == "1.2";
  options.client_auth = ClientAuthOf(zone.tls_client_auth);
  for (const std::string& name : zone.tls_client_ca) {
    STELE_TRY(const std::string pem, ReadPem(dir, name, "tls_client_ca"));
    options.client_ca_pem += pem + "\n";
  }
  for (const std::string& text : zone.tls_client_fingerprints) {
    const auto fingerprint = ingest::ParseFingerprint(text);
    if (!fingerprint) return Fail(Code::kInvalid, "tls_client_fingerprints: not a fingerprint: " + text);
    options.client_fingerprints.push_back(*fingerprint);
  }
  // Tried here: an error now is the operator's to read, in the receiver it would be a process that does not start.
  if (const auto tried = ingest::TlsContext::Make(options); !tried) {
    return Fail(Code::kInvalid, "TLS of zone " + zone.name + ": " + tried.error().context);
  }
  std::string text = nlohmann::json{{"certificate_pem", options.certificate_pem},
                                    {"key_pem", options.key_pem},
                                    {"min", zone.tls_min},
                                    {"client_auth", zone.tls_client_auth},
                                    {"client_ca_pem", options.client_ca_pem},
                                    {"client_fingerprints", zone.tls_client_fingerprints}}
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > limits::kIngestTlsBytes) {
    return Fail(Code::kInvalid, "certificates, authorities and fingerprints of zone " + zone.name + " take " +
                                    std::to_string(text.size()) + " bytes, more than " +
                                    std::to_string(limits::kIngestTlsBytes));
  }
  return text;
}

}  // namespace stele::daemons
