// What a Stele needs before its first record, made once and loaded ever after: seed, provisioning key, TPM registers and
// provisioning record, certificates, users. Nothing that exists is overwritten.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "appliance/daemons/certificates.h"
#include "appliance/daemons/config.h"
#include "appliance/anchor/sealed_seed.h"
#include "appliance/daemons/home.h"
#include "appliance/daemons/provisioning.h"
#include "appliance/daemons/tpm_source.h"

namespace stele::daemons {

struct Identity {
  bool fresh = false;               // made just now
  std::string log_id;               // hexadecimal
  std::string origin;               // first line of every checkpoint
  std::string verification_key;     // C2SP vkey of the checkpoint key
  std::string genesis_payload;      // of entry 0
  std::filesystem::path record;     // of the newest epoch
  struct Epoch {                    // how that one began; number 0: with the log
    std::uint64_t number = 0;
    std::uint64_t size = 0;         // of the log before its entry
    Hash root{};
    std::string payload;            // of its entry
  };
  Epoch epoch;
  std::string provisioning_public_pem;  // the pin
  anchor::SeedMemory seed;          // for every start of stele-anchor
  Certificates certificates;
  std::vector<std::string> sign_in;  // lines for the operator: where the certificates lie, the first password (once)
};

// `say` gets a line of progress before each step that takes time.
[[nodiscard]] Result<Identity> MakeOrLoadIdentity(const Home& home, const Config& config, TpmSource& tpm,
                                                  const ProvisionChoices& choices, const SayLine& say);

// The certificates alone, once more: what ends soon is made again, what was put into keys/ is taken.
[[nodiscard]] Result<Certificates> RenewCertificates(const Home& home, const Config& config);
// The one that `stele up` makes for the listeners of a zone: of its own where zones are listed.
[[nodiscard]] Result<ServerCertificate> IngestCertificate(const Home& home, const Config& config,
                                                          const IngestZone& zone, const Certificates& certificates);

}  // namespace stele::daemons
