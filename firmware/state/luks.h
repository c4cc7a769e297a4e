// The state partition as a LUKS2 container, by libcryptsetup. Slot 0 opens with the secret in the TPM, slot 1 with the
// recovery key, also on any other Linux machine (`cryptsetup open`). Both are random and long: their derivation need
// not be slow. AES-256-XTS, sectors of 4,096 bytes.
//
// A container carries the label "stele-state-new" until Finish(): whoever finds it so knows that nothing was ever kept
// in it. Errors: kIo with libcryptsetup's errno, kDenied when no slot opens with what was given, kCorrupt for a header
// without our token.
#pragma once

#include <libcryptsetup.h>

#include <memory>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "firmware/state/approval.h"

namespace stele::state {

inline constexpr const char* kMapped = "stele-state";  // /dev/mapper/stele-state once open

enum class Content {
  kBlank,       // zeros as far as a header or a file system would show
  kUnfinished,  // a container of ours in which nothing was ever kept
  kOurs,
  kForeign,  // anything else: never written to
};
[[nodiscard]] Result<Content> ContentOf(const std::string& device);

class Container {
 public:
  // Destroys what is on the device.
  [[nodiscard]] static Result<Container> Format(const std::string& device, const Hash& secret, const SealedKey& sealed,
                                                std::string_view recovery_key);
  // Also looks whether data and key slots are encrypted as Format() does it: a header that opens with any key is not
  // ours.
  [[nodiscard]] static Result<Container> Load(const std::string& device);

  [[nodiscard]] Content Label() const;  // kUnfinished, kOurs or kForeign
  [[nodiscard]] Result<SealedKey> Token() const;
  [[nodiscard]] Result<void> Recovers(std::string_view recovery_key) const;  // whether this is its recovery key
  // The secret's slot and its token anew, by the recovery key.
  [[nodiscard]] Result<void> Reseal(std::string_view recovery_key, const Hash& secret, const SealedKey& sealed);
  [[nodiscard]] Result<void> Open(const Hash& secret);
  [[nodiscard]] Result<void> Finish();

 private:
  struct Free {
    void operator()(crypt_device* device) const noexcept { crypt_free(device); }
  };
  explicit Container(std::unique_ptr<crypt_device, Free> device) : device_(std::move(device)) {}
  [[nodiscard]] static Result<Container> At(const std::string& device);
  [[nodiscard]] Result<void> CheckCiphers() const;
  [[nodiscard]] Result<void> AddSecret(const Hash& secret, const SealedKey& sealed);

  std::unique_ptr<crypt_device, Free> device_;
};

}  // namespace stele::state
