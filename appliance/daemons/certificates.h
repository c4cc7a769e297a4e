// The embedded certificate authority of one installation, offline and small: made by `stele up` on its first run.
//
//   keys/                                      0700
//     ca.pem ca.key                            the authority, 10 years, signs nothing but the files below
//     viewer.pem viewer.key                    the viewer's listener (serverAuth), 397 days
//     ingest.pem ingest.key                    the ingest listeners, likewise; their process is the exposed one
//     ingest-ZONE.pem .key                     of each zone that is listed: one zone's key opens no other's connections
//     auditor.pem .key .p12 .password          a person (clientAuth), 2 years
//     security-officer.pem .key .p12 .password
//     metrics.pem .key .p12 .password          likewise, for a program that reads /metrics
//
// P-256 with SHA-256, random 127-bit serial numbers. Keys, .p12 and .password files are 0600. A file that is missing,
// does not fit its key or its authority, or ends within 30 days (the authority: 400 days, with everything it signed) is
// made again; otherwise nothing is touched, so that pinned fingerprints stay. One supervisor per directory (it holds
// the lock).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/seams.h"

namespace stele::daemons {

struct ServerCertificate {
  std::string certificate_pem;
  std::string key_pem;
  Hash sha256{};  // of the certificate as DER: what browsers and openssl show
};

struct PersonCertificate {
  std::string name;  // subject CN: "auditor", "security-officer", "metrics"
  Hash sha256{};
  std::filesystem::path pkcs12;  // for a browser
  std::string password;          // of the PKCS#12; also kept beside it
  bool made_now = false;         // show the password this once
};

struct Certificates {
  std::string ca_pem;
  Hash ca_sha256{};
  ServerCertificate viewer;
  ServerCertificate ingest;
  std::vector<PersonCertificate> people;
  std::vector<std::string> made;  // what was made now, for the log: "ca", "viewer", ... Empty on an ordinary start
};

// `extra_names`: further DNS names and addresses of the listeners, beside localhost, 127.0.0.1 and ::1; a name that the
// present certificate lacks makes a new one. kInvalid: not a name. kDenied: the authority's key can be read by others.
[[nodiscard]] Result<Certificates> EnsureCertificates(const std::filesystem::path& keys_dir,
                                                      const std::vector<std::string>& extra_names, Clock& clock);

// The certificate of one zone's ingest listeners, under the same rules; after EnsureCertificates().
[[nodiscard]] Result<ServerCertificate> EnsureZoneCertificate(const std::filesystem::path& keys_dir,
                                                              const std::string& zone,
                                                              const std::vector<std::string>& extra_names,
                                                              Clock& clock);

// SHA-256 of the first certificate of a PEM text, as DER. kInvalid when there is none.
[[nodiscard]] Result<Hash> CertificateFingerprint(std::string_view pem);

}  // namespace stele::daemons
