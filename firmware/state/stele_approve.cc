// stele-approve: what the owner of an appliance signs with the PCR key so that an image may open the state partition.
//
//   stele-approve --uki FILE --key PCR_PUBLIC.pem --version N >policy      32 bytes; approval.h
//   openssl dgst -sha256 -sign PCR.key -out signature policy
//
// The image is the one before its approval is put in (section .pcrsig is not measured), signed for Secure Boot or not.
// Exit status: 0 done, 2 wrong usage or input, 3 cannot read or write.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "appliance/base/system.h"
#include "firmware/measure/predict.h"
#include "firmware/state/approval.h"
#include "tpm/names.h"

namespace {

using namespace stele;

constexpr std::size_t kImageBytesMax = std::size_t{1} << 30U;
constexpr std::size_t kKeyBytesMax = 65536;

Result<Hash> PolicyOf(const std::string& uki, const std::string& key, std::uint64_t version) {
  STELE_TRY(const Bytes image, ReadFile(uki, kImageBytesMax));
  STELE_TRY(const Bytes pem, ReadFile(key, kKeyBytesMax));
  STELE_TRY(const Hash pcr_11, measure::ImageRegisterOf(image));
  STELE_TRY(const Bytes area, state::RsaPublicArea(AsText(pem)));
  return state::ApprovedPolicy(pcr_11, version, tpm::NameOfPublicArea(area));
}

}  // namespace

int main(int argc, char** argv) {
  std::string uki;
  std::string key;
  std::uint64_t version = 0;
  CLI::App app{"What the PCR key signs so that an image may open the state partition"};
  app.add_option("--uki", uki, "the unified kernel image")->required();
  app.add_option("--key", key, "the PCR key's public half, PEM")->required();
  app.add_option("--version", version, "the image's version; older ones are refused once it has been confirmed")
      ->required();
  try {
    app.parse(argc, argv);
    const auto policy = PolicyOf(uki, key, version);
    if (policy) return std::fwrite(policy->data(), policy->size(), 1, stdout) == 1 && std::fflush(stdout) == 0 ? 0 : 3;
    std::fprintf(stderr, "stele-approve: %s\n", Describe(policy.error()).c_str());
    return policy.error().code == Code::kInvalid ? 2 : 3;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stele-approve: %s\n", error.what());
    return 3;
  }
}
